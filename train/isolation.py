"""The start-up proof that packed examples do not see one another, on the real model and attention.

transformers honours packed positions only under conditions that have changed between releases and fail
without a word (a cache left on, an all-ones mask). So nothing is trained before this has passed.
"""

from collections.abc import Sequence
from typing import Any

from pacos.errors import TrainingError
from pacos.train.batches import collate
from pacos.train.data import Example

# Relative error (root mean square over all logits) that rounding explains. Measured on random Llamas of 2 and
# 12 layers: rounding 1e-6 in float32 and 0.01 in bfloat16; examples that see one another 0.9 to 1.4.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "bfloat16": 5e-2}


def check_isolation(model: Any, examples: Sequence[Example], pad_id: int) -> float:
    """Compare logits of examples packed into one row with those of each alone; returns the relative error.

    The longest example is among those compared, so that a sliding attention window that it would outgrow
    shows. Raises TrainingError when they differ by more than rounding, or are not finite to begin with.
    """
    import torch

    by_length = sorted(examples, key=lambda example: len(example.ids))
    probes = [by_length[0], by_length[len(by_length) // 2], by_length[-1]]
    device = model.device
    width = sum(len(probe.ids) for probe in probes) + 3
    batch = collate([probes], width, pad_id).to(device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        packed = model(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
        ).logits[0, : width - 3]
        apart = [
            model(input_ids=torch.tensor([probe.ids], device=device), use_cache=False).logits[0] for probe in probes
        ]
    model.train(was_training)
    for probe, logits in zip(probes, apart, strict=True):
        if not torch.isfinite(logits).all():
            raise TrainingError(f"gives logits that are not finite on {probe.row}, untrained", where=model.name_or_path)
    alone = torch.cat(apart)
    error = float((packed - alone).float().pow(2).mean().sqrt() / alone.float().pow(2).mean().sqrt())
    tolerance = TOLERANCE[str(alone.dtype).removeprefix("torch.")]
    if not error <= tolerance:
        raise TrainingError(
            f"packed examples see one another, or lose sight of themselves: logits differ from unpacked ones by "
            f"{error:.2%} (rounding explains {tolerance:.2%})",
            where=f"attention of {type(model.get_base_model()).__name__}",
            todo="this model cannot be trained packed; please report it with the model's name",
        )
    return error
