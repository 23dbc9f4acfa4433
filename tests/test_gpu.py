"""What only a GPU shows; skipped where there is none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from pacos.train.attention.dispatch import FLEX, SEGMENTS, VARLEN, attention_arguments
from pacos.train.attention.segments import segment_attention
from pacos.train.attention.varlen import varlen_attention
from pacos.train.isolation import check_isolation
from pacos.train.model.compilation import compile_pointwise
from pacos.train.model.rounding import relative_error
from pacos.train.model.structure import trainable_parameters
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import collate
from pacos.train.packing.bins import Bin, pack
from pacos.train.packing.plan import item_of
from tests.conftest import ROOT
from tests.support.small_training import train_here, training_config, write_tasks
from tests.train.test_batch import one_at_a_time, random_examples, tiny_model, worst

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

ROWS = random_examples(40, longest=120)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks") / "tasks.jsonl", 200)


@pytest.fixture(scope="module")
def expected() -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of each example alone, on the CPU, in float64."""
    return one_at_a_time(tiny_model(), ROWS)


def packed_on_gpu(model: Any) -> tuple[float, list[torch.Tensor]]:
    layout = pack([item_of((example,)) for example in ROWS], Bin(1024, static=True))
    total = 0.0
    for part in layout.micro_batches[0]:
        batch = collate([[ROWS[index] for index in row] for row in part], layout.width, 0)
        loss = token_losses(model, batch.to(torch.device("cuda"))).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total, [
        cast(torch.Tensor, parameter.grad).double().cpu() for parameter in trainable_parameters(model).values()
    ]


@pytest.mark.parametrize("attention", [SEGMENTS, FLEX])
@pytest.mark.parametrize("compiled", [False, True])
def test_packs_on_a_gpu_give_the_losses_and_gradients_of_single_examples_on_a_cpu(
    expected: tuple[float, list[torch.Tensor]], attention: str, compiled: bool
) -> None:
    model = tiny_model().to("cuda", torch.float32)
    model.get_base_model().set_attn_implementation(attention)
    if compiled:
        compile_pointwise(model)
    loss, gradients = packed_on_gpu(model)
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert worst(gradients, expected[1]) < 1e-3
    assert check_isolation(model, ROWS, pad_id=0) < 1e-5


def test_flash_attention_equals_segment_attention_with_all_gradients() -> None:
    batch = collate([ROWS], 2432, 0)
    draw = torch.Generator().manual_seed(0)
    given = [torch.randn(1, heads, 2432, 32, generator=draw) for heads in (4, 2, 2)]
    upstream = torch.randn(1, 2432, 4, 32, generator=draw)
    outcomes = []
    for device, dtype, implementation in (("cpu", torch.float64, SEGMENTS), ("cuda", torch.bfloat16, VARLEN)):
        attend: Callable[..., tuple[torch.Tensor, None]] = {SEGMENTS: segment_attention, VARLEN: varlen_attention}[
            implementation
        ]
        inputs = [tensor.to(device, dtype).requires_grad_() for tensor in given]
        arguments = attention_arguments(batch.to(torch.device(device)), implementation)
        mask = arguments.pop("attention_mask")
        output, _ = attend(SimpleNamespace(num_key_value_groups=2), *inputs, mask, **arguments)
        gradients = torch.autograd.grad(output, inputs, upstream.to(device, dtype))
        outcomes.append([tensor.double().cpu() for tensor in (output, *gradients)])
    for found, wanted in zip(outcomes[1], outcomes[0], strict=True):
        assert relative_error(found, wanted) < 0.01


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        ("float32", {}),
        ("bfloat16", {}),
        ("bfloat16", {"attention": FLEX}),
        ("bfloat16", {"attention": FLEX, "checkpointing": True, "pack_tokens": 1024}),
        ("bfloat16", {"method": "full", "learning_rate": 1e-3}),
        ("bfloat16", {"method": "qlora"}),
    ],
    ids=["segments", "varlen", "flex", "flex-recomputed", "full", "qlora"],
)
def test_a_run_on_a_gpu_trains_and_exports(
    tmp_path: Path, tiny_base: Path, tasks: Path, dtype: str, settings: dict[str, Any]
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, batch_size=32, epochs=3, **settings)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})
    metrics = train_here(config)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert (config.run_dir / "train" / config.train.result / "pacos.json").is_file()


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_model_sharded_over_one_gpu_computes_what_the_full_model_does(
    tmp_path: Path, tiny_base: Path, tasks: Path, method: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(training_config(tmp_path, tiny_base, tasks, method=method).model_dump(mode="json")))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "1", "--master_port", "0"]
    ended = subprocess.run(
        [*command, "-m", "tests.support.sharded_model", str(file)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    lines = [line.removeprefix("HELD ") for line in ended.stdout.splitlines() if line.startswith("HELD ")]
    assert len(lines) == 1, ended.stderr
    held = json.loads(lines[0])
    assert held["losses"][0] == pytest.approx(held["losses"][1], rel=1e-5)
    assert held["worst gradient"] < 1e-3
