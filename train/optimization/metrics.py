"""Measures optimizer steps for `metrics.jsonl`: loss, work done, and utilisation of the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacos.files import JsonlWriter, read_jsonl, write_jsonl
from pacos.results.training import TrainingStep
from pacos.train.packing.plan import OptimizerStep

if TYPE_CHECKING:
    from accelerate import Accelerator

# Dense bfloat16 peak of one GPU in FLOP/s, from the vendors' data sheets; the first name that matches is used.
PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures steps; `flops` to train one token, `peak` FLOP/s of all devices together."""

    flops: int
    peak: float
    steps_per_epoch: int

    def measure(
        self, number: int, step: OptimizerStep, seconds: float, *, loss: float, norm: float, rate: float
    ) -> TrainingStep:
        """The metrics of step `number`, counted from 1."""
        layout = step.layout
        return TrainingStep(
            step=number,
            epoch=round(number / self.steps_per_epoch, 4),
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            examples=len(step.units),
            tokens=step.tokens,
            computed_tokens=layout.tokens,
            response_tokens=step.response_tokens,
            fill=round(layout.fill, 4),
            tokens_per_s=round(step.tokens / seconds, 1),
            mfu=round(layout.tokens * self.flops / seconds / self.peak, 4) if self.peak else 0.0,
            seconds=round(seconds, 4),
        )


def peak_flops(accelerator: "Accelerator") -> float:
    """Peak of all devices together in bfloat16; 0.0 where it is unknown."""
    import torch

    if accelerator.device.type != "cuda":
        return 0.0
    name = torch.cuda.get_device_name(accelerator.device)
    peak = next((peak for known, peak in PEAK_FLOPS.items() if known in name), 0.0)
    return peak * int(accelerator.num_processes)


def open_metrics(path: Path, start: int) -> JsonlWriter:
    """Append after step `start`; lines of later steps, whose weights were lost, are removed."""
    lines = read_jsonl(path, torn_tail=True) if start and path.is_file() else ()
    write_jsonl(path, [values for _, values in lines if values["step"] <= start])
    return JsonlWriter(path)
