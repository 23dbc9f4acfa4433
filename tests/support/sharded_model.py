"""Run by test_fsdp.py in two processes: shards a model, computes, and prints what each process then holds."""

import json
import sys
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator

from pacos.config import load_config
from pacos.train.model import quantization
from pacos.train.model.fsdp import full_tensors, no_sync, reshard, shard, shard_like
from pacos.train.model.load import load_model
from pacos.train.model.structure import causal_model, trainable_parameters


def main(config_file: Path) -> None:
    quantization.check_four_bits = lambda: None  # bitsandbytes works on CPUs as well; pacos offers it where it is fast
    config = load_config(config_file, [])
    accelerator = Accelerator(mixed_precision="no")
    whole, model = load_model(config, "cpu"), load_model(config, "cpu")
    shard(model, causal_model(model), accelerator.device, accelerator.num_processes)
    with torch.no_grad():
        loss(model)
    reshard(model)
    weights = dict(model.named_parameters())
    for name, weight in trainable_parameters(whole).items():
        weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
        weights[name].data.copy_(shard_like(weight.data, weights[name]))
    expected, found = float(loss(whole, backward=2)), float(loss(model, backward=2))
    gradients = {name: gradient(weight) for name, weight in trainable_parameters(model).items()}
    kept = full_tensors(gradients, keep=accelerator.is_main_process)
    held = {
        "shards": {name: [list(weight.shape), list(weight.to_local().shape)] for name, weight in weights.items()},
        "dtypes": {name: str(weight.dtype) for name, weight in weights.items()},
        "losses": [expected, found],
        "gathered": len(kept),
        "worst gradient": max(
            (float((kept[name] - gradient(weight)).abs().max() / gradient(weight).abs().max()))
            for name, weight in trainable_parameters(whole).items()
        )
        if kept
        else None,
    }
    print(f"\nHELD {json.dumps(held)}", flush=True)


def loss(model: Any, *, backward: int = 0) -> torch.Tensor:
    """Of made-up ids; its gradient is accumulated over `backward` backward passes."""
    for number in range(max(1, backward)):
        ids = torch.arange(5 + number, 25 + number, device=model.device)[None]
        value = model(input_ids=ids, use_cache=False).logits.float().logsumexp(-1).mean()
        if backward and number + 1 < backward and hasattr(model, "set_requires_gradient_sync"):
            with no_sync(model):
                value.backward()
        elif backward:
            value.backward()
    detached: torch.Tensor = value.detach()
    return detached


def gradient(weight: torch.nn.Parameter) -> torch.Tensor:
    return cast(torch.Tensor, weight.grad)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
