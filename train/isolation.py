"""The start-up proof that packed examples do not see one another, on the real model and attention.

transformers honours packed positions only under conditions that have changed between releases and fail
without a word (a cache left on, an all-ones mask). So nothing is trained before this has passed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pacos.errors import TrainingError
from pacos.train.attention.dispatch import attention_arguments, plain_attention
from pacos.train.data.examples import Example
from pacos.train.model.rounding import TOLERANCE, relative_error
from pacos.train.model.structure import causal_model
from pacos.train.optimization.losses import token_losses
from pacos.train.packing.batch import collate
from pacos.train.packing.bins import BLOCK

if TYPE_CHECKING:
    import torch

# Rounding grows with depth: what transformers' own attentions differ by on this model, so many times, is explained too.
ALLOWANCE = 4
LIMIT = 0.3


def check_isolation(model: Any, examples: Sequence[Example], pad_id: int) -> float:
    """Compare examples packed into one row, prefixes shared, with each alone; returns the logits' relative error.

    Then compares the losses that training computes with those of the model's own logits. Raises TrainingError when
    either differs by more than rounding, or the logits are not finite to begin with.
    """
    import torch

    # Every token but the first is predicted, so that every position is compared.
    probes = [replace(example, learnt=1) for example in choose_probes(examples)]
    batch = collate([probes], sum(len(probe.ids) for probe in probes) // BLOCK * BLOCK + BLOCK, pad_id)
    batch = batch.to(model.device)
    attention = attention_arguments(batch, model.config._attn_implementation)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        output = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **attention)
        packed = output.logits.flatten(0, 1)[batch.learnt]
        losses = token_losses(model, batch)
        with plain_attention(model):
            apart = logits_alone(model, probes)
        with plain_attention(model, "eager"):
            rounding = relative_error(torch.cat(logits_alone(model, probes)), torch.cat(apart))
    model.train(was_training)
    for probe, logits in zip(probes, apart, strict=True):
        if not torch.isfinite(logits).all():
            raise TrainingError(f"gives logits that are not finite on {probe.row}, untrained", where=model.name_or_path)
    alone = torch.cat(apart)
    error = relative_error(packed, alone)
    tolerance = min(max(TOLERANCE[str(alone.dtype).removeprefix("torch.")], ALLOWANCE * rounding), LIMIT)
    where = f"{type(causal_model(model)).__name__} with {model.config._attn_implementation}"
    todo = "this model cannot be trained packed; please report it with the model's name"
    if not error <= tolerance:
        raise TrainingError(
            f"packed examples see one another, or lose sight of themselves: logits differ from unpacked ones by "
            f"{error:.2%} (rounding explains {tolerance:.2%})",
            where=where,
            todo=todo,
        )
    expected = torch.nn.functional.cross_entropy(packed.to(losses.dtype), batch.targets, reduction="none")
    if not (wrong := relative_error(losses, expected)) <= tolerance:
        raise TrainingError(f"the losses are not those of the model's logits ({wrong:.2%} off)", where=where, todo=todo)
    return error


def logits_alone(model: Any, probes: Sequence[Example]) -> "list[torch.Tensor]":
    """Of each example in a row of its own: the logits [tokens - 1, vocabulary] of all that is predicted."""
    import torch

    rows = [torch.tensor([probe.ids], device=model.device) for probe in probes]
    return [model(input_ids=row, use_cache=False).logits[0, :-1] for row in rows]


def choose_probes(examples: Sequence[Example]) -> list[Example]:
    """The shortest, the middling, the longest, and another that shares the longest's prefix.

    A sliding attention window that the longest would outgrow shows.
    """
    by_length = sorted(examples, key=lambda example: len(example.ids))
    longest = by_length[-1]
    same = [example for example in by_length if example.ids[: longest.shared] == longest.ids[: longest.shared]]
    return [by_length[0], by_length[len(by_length) // 2], longest, same[0]]
