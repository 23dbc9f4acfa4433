"""LoRA on one GPU at the shape of Llama-3.1-8B: tokens a second, MFU and peak memory, against TRL.

Weights and ids are random, but for the template text that rows share; lengths are those of the Alpaca rows (by a
vocabulary of 32,000), or of a file that `--write-lengths` made where the rows are. Ours: the product's loop as it is by
default, in longer micro-batches, with checkpointing, and with single parts left to transformers, PEFT or FlexAttention;
the checks of a run are made first. TRL: SFTTrainer on FlexAttention in packs, bfloat16 autocast as by default, without
checkpointing, and its best pack with Liger's kernels; left out where it is not installed. Both are trained on the same
labels.

Kernels are compiled and warm before anything is timed: ours has run a step of each width, TRL one of its own. Logical
tokens count a shared prefix in every example, physical ones once per micro-batch. MFU is 4N FLOPs a physical token (N
weights in matrix products; forward, and backward to activations) of the dense bfloat16 peak. `reckoned_gib` is what a
run estimates before it starts, `peak_gib` what it took. What has been measured is kept, whatever comes after it.

    python -m benchmarks.gpu_training --write-lengths lengths.txt           # where the Alpaca rows are
    python -m benchmarks.gpu_training --lengths lengths.txt --save          # where the GPU is
    python -m benchmarks.gpu_training --shape tiny --steps 2 --packs 1024   # the whole path, on a CPU
"""

import argparse
import contextlib
import gc
import importlib.util
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.alpaca import LLAMA_8B, Shape, experiment, write_rows, write_tokenizer
from benchmarks.examples_per_second import STEP, packed_by_trl, rival_settings
from benchmarks.result import report
from pacos.config import LoraConfig, ModelConfig, parse_config
from pacos.models import load_tokenizer
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.plan import plan_run
from pacos.train.packing.prefixes import share_prefixes
from pacos.train.packing.rules import RowRules

SHAPES = {"8b": LLAMA_8B, "tiny": Shape(64, 128, 2, 2, 1, vocab_size=512)}
OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "long_passes": {"pack_tokens": 16_384},
    "checkpointing": {"checkpointing": True},
    "not_compiled": {"compile": False},
    "peft_layers": {"compile": False, "fused_lora": False},
    "flex": {"attention": "flex_attention"},
}
EOS = 2
# Shared, prompt and response tokens of a row.
Lengths = tuple[int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-lengths", type=Path, help="write the lengths of all Alpaca rows here, and stop")
    parser.add_argument("--lengths", type=Path, help="a file so made, instead of the rows")
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--steps", type=int, default=8, help=f"optimizer steps, of {STEP} examples each")
    parser.add_argument("--pack-tokens", type=int, default=8192, help="most tokens in one of our micro-batches")
    parser.add_argument("--packs", type=int, nargs="*", default=[2048, 4096, 8192], help="TRL's, in tokens")
    parser.add_argument("--settings", choices=OURS, nargs="*", default=list(OURS), help="which of ours")
    parser.add_argument("--peak", type=float, help="the GPU's dense bfloat16 TFLOP/s, where pacos does not know it")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    if options.write_lengths:
        lines = [f"{shared} {prompt} {response}\n" for shared, prompt, response in row_lengths(None)]
        options.write_lengths.write_text("".join(lines), encoding="utf-8")
        return
    rows = options.steps * STEP
    lengths = read_lengths(options.lengths)[:rows] if options.lengths else row_lengths(rows)
    if len(lengths) < rows:
        parser.error(f"{options.steps} steps take {rows:,} rows, and there are {len(lengths):,}")
    # The trainers print what they like.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        figures = Measurement(options, lengths, Path(folder)).run()
    report("gpu_training", figures, settings=settings_of(options), save=options.save)
    if figures["failed"]:
        sys.exit(f"failed: {', '.join(figures['failed'])}")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    return {"steps": options.steps, "pack_tokens": options.pack_tokens, "shape": asdict(SHAPES[options.shape])}


def row_lengths(count: int | None) -> list[Lengths]:
    """Of the first `count` Alpaca rows, or all, as the product tokenises and shares them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tokenizer(folder)
        values = experiment(folder, folder, write_rows(folder / "rows.jsonl", count), "lengths")
        config = parse_config(values, where="benchmark")
        shared = share_prefixes(load_dataset(config, load_tokenizer(name, config.model)).examples, config.train)
    return [(one.prefix_length, one.prompt_length, one.response_tokens) for one in shared]


def read_lengths(path: Path) -> list[Lengths]:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [(int(shared), int(prompt), int(response)) for shared, prompt, response in rows]


def make_examples(lengths: Sequence[Lengths], shape: Shape) -> list[Example]:
    """Random ids; rows that share as many tokens share them."""
    draw = random.Random(0)

    def ids(count: int) -> list[int]:
        return [draw.randrange(3, shape.vocab_size) for _ in range(count)]

    templates = {shared: ids(shared) for shared in sorted({shared for shared, _, _ in lengths})}
    return [
        Example(f"row:{number}", templates[shared] + ids(prompt + response - shared), prompt)
        for number, (shared, prompt, response) in enumerate(lengths, 1)
    ]


class Measurement:
    """Of every setting on the same examples: one model after another, on one device."""

    def __init__(self, options: argparse.Namespace, lengths: Sequence[Lengths], folder: Path) -> None:
        import torch
        from accelerate import Accelerator
        from transformers import LlamaConfig
        from transformers.models.llama import modeling_llama

        from pacos.train.optimization.metrics import peak_flops

        self.options, self.folder, self.shape = options, folder, SHAPES[options.shape]
        self.examples = make_examples(lengths, self.shape)
        self.gpu = torch.cuda.is_available()
        self.accelerator = Accelerator(cpu=not self.gpu, mixed_precision="no")
        self.peak = options.peak * 1e12 if options.peak else peak_flops(self.accelerator)
        self.figures: dict[str, Any] = {"times_best_trl": None, "ours": {}, "trl": {}, "failed": []}
        self.modeling, self.rotary = modeling_llama, modeling_llama.apply_rotary_pos_emb
        self.architecture = LlamaConfig(**asdict(self.shape), max_position_embeddings=4096, dtype="bfloat16")
        self.architecture.save_pretrained(folder)

    def run(self) -> dict[str, Any]:
        for name in self.options.settings:
            self.guarded(self.figures["ours"], name, lambda change=OURS[name]: self.ours(change))
        trl = self.figures["trl"]
        for pack in self.options.packs:
            self.guarded(trl, f"{pack}", lambda pack=pack: self.trl(pack))
        best = max(trl, key=lambda pack: logical(trl[pack]), default=None)
        if best and self.gpu and importlib.util.find_spec("liger_kernel"):
            # Last: Liger puts its kernels into transformers itself.
            self.guarded(trl, f"{best}_liger", lambda: self.trl(int(best), use_liger_kernel=True))
        return self.figures

    def guarded(self, part: dict[str, Any], name: str, run: Callable[[], Any]) -> None:
        """Its figures and the peak of memory, or why there are none: one failure must not lose the others' figures."""
        import torch

        self.accelerator.free_memory()  # It keeps what it has prepared.
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            figures = run()
        except Exception as failure:
            traceback.print_exc()
            self.figures["failed"].append(name)
            figures = f"failed: {type(failure).__name__}: {str(failure).partition(chr(10))[0]}"
        if isinstance(figures, dict):
            figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1) if self.gpu else None
        print(f"{name}: {figures}", flush=True)
        part[name] = figures
        best = [max(map(logical, self.figures[side].values()), default=0) for side in ("ours", "trl")]
        self.figures["times_best_trl"] = round(best[0] / best[1], 2) if self.gpu and all(best) else None
        if self.options.save:
            report("gpu_training", self.figures, settings=settings_of(self.options), save=True)

    def ours(self, change: dict[str, Any]) -> dict[str, Any] | str:
        import torch

        from pacos.files import read_jsonl
        from pacos.train.attention.dispatch import FLEX, attention_for
        from pacos.train.isolation import check_isolation
        from pacos.train.model.load import configure_computation, meta_model
        from pacos.train.model.memory import estimate_memory
        from pacos.train.optimization.loop import Trainer
        from pacos.train.optimization.runtime import Runtime

        settings = {"pack_tokens": self.options.pack_tokens, "epochs": 1, "checkpointing": False} | change
        config = parse_config(experiment(self.folder, self.folder, self.folder, "gpu", **settings), where="benchmark")
        if config.train.attention == FLEX and not self.gpu:
            return "not measured: FlexAttention has no backward pass on a CPU"
        attention = attention_for(config, self.accelerator.device)
        checkpointing = config.train.checkpointing is True
        model = configure_computation(self.model(attention), config.train, checkpointing=checkpointing)
        runtime = Runtime(self.accelerator, EOS, RowRules(static=attention == FLEX))
        plan = plan_run(self.examples, config.train, config.seed, rules=runtime.rules)
        error = check_isolation(model, plan.examples, EOS)
        of_each_width = list({step.layout.width: step for step in plan.steps}.values())
        for steps in (of_each_width, plan.steps):
            with tempfile.TemporaryDirectory(dir=self.folder) as run:
                Trainer(model, config, runtime).run(replace(plan, steps=steps), Path(run), {})
                measured = [values for _, values in read_jsonl(Path(run) / "metrics.jsonl")]
        computed, seconds = (sum(step[name] for step in measured) for name in ("computed_tokens", "seconds"))
        memory = estimate_memory(meta_model(config), config.train, torch.bfloat16, max(plan.widths))
        memory = replace(memory, checkpointing=checkpointing)
        notes = {
            "fill": round(plan.fill, 4),
            "widths": plan.widths,
            "packed_equals_alone_to": error,
            "reckoned_gib": round(memory.total / 2**30, 1),
        }
        return self.speeds(model, computed, seconds) | notes

    def trl(self, pack: int, **options: Any) -> dict[str, Any] | str:
        if importlib.util.find_spec("trl") is None:
            return "not measured: TRL is not installed"
        from tests.support.tiny_llama import build_tiny_llama

        # Its ids are not these; it is asked for the ids of special tokens alone.
        base = str(build_tiny_llama(self.folder / "tokenizer"))
        tokenizer = load_tokenizer(base, ModelConfig(base=base))
        attention = "flex_attention" if self.gpu else "sdpa"
        model = self.model(attention)
        settings = rival_settings(self.folder, "autocast") | {"use_cpu": not self.gpu} | options
        for examples in (self.examples[:STEP], self.examples):
            outcome = packed_by_trl(model, tokenizer, examples, pack, settings)
        labels = sum(example.response_tokens for example in self.examples)
        assert outcome.label_count == labels, f"TRL trained on {outcome.label_count} labels, not {labels}"
        tokens = sum(len(example.ids) for example in self.examples)
        return self.speeds(model, tokens, outcome.seconds) | {"attention": attention}

    def model(self, attention: str) -> Any:
        """A bfloat16 Llama of random weights, made on the device, with adapters in float32."""
        import torch
        from transformers import AutoModelForCausalLM

        from pacos.train.model.lora import add_lora

        torch.manual_seed(0)
        self.modeling.apply_rotary_pos_emb = self.rotary
        options = {"dtype": torch.bfloat16, "attn_implementation": attention}
        with self.accelerator.device:
            base = AutoModelForCausalLM.from_config(self.architecture, **options)
            return add_lora(base, LoraConfig(r=16, alpha=32)).train()

    def speeds(self, model: Any, computed: int, seconds: float) -> dict[str, Any]:
        """`computed` tokens are those that the model saw in these seconds, shared prefixes once per micro-batch."""
        from pacos.train.model.structure import flops_per_token

        flops = computed * flops_per_token(model) / seconds
        return {
            "physical_tokens_per_s": round(computed / seconds),
            "logical_tokens_per_s": round(sum(len(example.ids) for example in self.examples) / seconds),
            "examples_per_s": round(len(self.examples) / seconds, 2),
            "mfu": round(flops / self.peak, 4) if self.peak else None,
        }


def logical(figures: dict[str, Any] | str) -> int:
    """What both sides are compared by: the same examples, whatever each computes of them; 0 for what failed."""
    return figures["logical_tokens_per_s"] if isinstance(figures, dict) else 0


if __name__ == "__main__":
    main()
