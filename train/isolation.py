"""Checks before training, on the real model and attention, that packed examples do not attend one another.

transformers honours packed positions only under conditions that have changed between releases and fail silently (a
cache left on, an all-ones mask). So nothing is trained before this check has passed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pacos.errors import TrainingError
from pacos.train.attention.dispatch import attention_arguments, plain_attention
from pacos.train.data.examples import Example
from pacos.train.model.rounding import TOLERANCE, relative_error
from pacos.train.model.structure import causal_model
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import collate
from pacos.train.packing.bins import BLOCK

if TYPE_CHECKING:
    import torch

# Rounding grows with depth: this multiple of the difference between transformers' own attentions is explained too.
ALLOWANCE = 4
LIMIT = 0.3


def check_isolation(model: Any, examples: Sequence[Example], pad_id: int) -> float:
    """Relative error of the logits of examples packed into one row, prefixes shared, against each example alone.

    Also compares the losses that training computes with those of the model's own logits. Raises TrainingError where
    either differs by more than rounding, or where the untrained model's logits are not finite.
    """
    import torch

    # Every token but the first is a label, so that every position is compared.
    probes = [replace(example, prompt_length=1) for example in choose_probes(examples)]
    batch = collate([probes], sum(len(probe.ids) for probe in probes) // BLOCK * BLOCK + BLOCK, pad_id)
    batch = batch.to(model.device)
    attention = attention_arguments(batch, model.config._attn_implementation)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        output = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **attention)
        packed = output.logits.flatten(0, 1)[batch.label_positions]
        losses = token_losses(model, batch)
        with plain_attention(model):
            separate = logits_alone(model, probes)
        with plain_attention(model, "eager"):
            rounding = relative_error(torch.cat(logits_alone(model, probes)), torch.cat(separate))
    model.train(was_training)
    for probe, logits in zip(probes, separate, strict=True):
        if not torch.isfinite(logits).all():
            raise TrainingError(f"gives logits that are not finite on {probe.row}, untrained", where=model.name_or_path)
    alone = torch.cat(separate)
    error = relative_error(packed, alone)
    tolerance = min(max(TOLERANCE[str(alone.dtype).removeprefix("torch.")], ALLOWANCE * rounding), LIMIT)
    where = f"{type(causal_model(model)).__name__} with {model.config._attn_implementation}"
    todo = "this model cannot be trained packed; please report it with the model's name"
    if not error <= tolerance:
        raise TrainingError(
            f"packed examples attend one another, or not all of themselves: logits differ from unpacked ones by "
            f"{error:.2%} (rounding explains {tolerance:.2%})",
            where=where,
            todo=todo,
        )
    expected = torch.nn.functional.cross_entropy(packed.to(losses.dtype), batch.labels, reduction="none")
    if not (wrong := relative_error(losses, expected)) <= tolerance:
        raise TrainingError(f"the losses are not those of the model's logits ({wrong:.2%} off)", where=where, todo=todo)
    return error


def logits_alone(model: Any, probes: Sequence[Example]) -> "list[torch.Tensor]":
    """Logits [tokens - 1, vocabulary] of each example in a row of its own, without the last position."""
    import torch

    rows = [torch.tensor([probe.ids], device=model.device) for probe in probes]
    return [model(input_ids=row, use_cache=False).logits[0, :-1] for row in rows]


def choose_probes(examples: Sequence[Example]) -> list[Example]:
    """The shortest, the median and the longest example, and another that shares the longest's prefix.

    The longest shows whether a sliding attention window is shorter than it.
    """
    by_length = sorted(examples, key=lambda example: len(example.ids))
    longest = by_length[-1]
    prefix = longest.ids[: longest.prefix_length]
    same = [example for example in by_length if example.ids[: longest.prefix_length] == prefix]
    return [by_length[0], by_length[len(by_length) // 2], longest, same[0]]
