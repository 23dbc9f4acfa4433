"""Checks before training that examples in a micro-batch do not change one another, on the real model and attention.

How rows are made is decided by the model's structure (model/mixing.py). This compares numbers: transformers honours
packed positions only under conditions that have changed between releases and fail silently (a cache left on, an
all-ones mask). So nothing is trained before this check has passed.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pacos.errors import ModelError, PacosError, TrainingError
from pacos.train.attention.dispatch import PACKING, accepted, model_inputs, plain_attention
from pacos.train.data.examples import Example
from pacos.train.model.fsdp import is_sharded
from pacos.train.model.rounding import TOLERANCE, relative_error
from pacos.train.model.structure import causal_model
from pacos.train.model.upcast import in_float32
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import Batch, collate, collate_padded
from pacos.train.packing.bins import BLOCK
from pacos.train.packing.rules import PACKED, RowRules

if TYPE_CHECKING:
    import torch

# Rounding grows with depth: this multiple of the difference between transformers' own attentions is explained too.
ALLOWANCE = 4
LIMIT = 0.3


def check_isolation(model: Any, examples: Sequence[Example], pad_id: int, rules: RowRules = PACKED) -> float:
    """Relative error of the logits of examples in one micro-batch, prefixes shared, against each example alone.

    A bfloat16 model is computed in float32, where less is rounding. Also compares the losses that training computes
    with those of the model's own logits. Raises TrainingError where either differs by more than rounding, or where the
    untrained model's logits are not finite.
    """
    import torch

    # Every token but the first is a label, so that every position is compared.
    probes = [replace(example, prompt_length=1, gaps=()) for example in choose_probes(examples, rules)]
    batch = collate_probes(probes, pad_id, rules).to(model.device)
    was_training = model.training
    model.eval()
    packed, losses, separate, rounding = compute_finely(model, batch, probes)
    model.train(was_training)
    for probe, logits in zip(probes, separate, strict=True):
        if not torch.isfinite(logits).all():
            raise TrainingError(f"gives logits that are not finite on {probe.row}, untrained", where=model.name_or_path)
    alone = torch.cat(separate)
    error = relative_error(packed, alone)
    tolerance = min(max(TOLERANCE[str(alone.dtype).removeprefix("torch.")], ALLOWANCE * rounding), LIMIT)
    where = f"{type(causal_model(model)).__name__} with {model.config._attn_implementation}"
    todo = "this model cannot be trained; please report it with the model's name"
    if not error <= tolerance:
        raise TrainingError(
            f"examples of a micro-batch attend one another, or not all of themselves: logits differ from those of each "
            f"alone by {error:.2%} (rounding explains {tolerance:.2%})",
            where=where,
            todo=todo,
        )
    expected = torch.nn.functional.cross_entropy(packed.to(losses.dtype), batch.labels, reduction="none")
    if not (wrong := relative_error(losses, expected)) <= tolerance:
        raise TrainingError(f"the losses are not those of the model's logits ({wrong:.2%} off)", where=where, todo=todo)
    return error


def check_tuned(model: Any, example: Example) -> None:
    """Raises TrainingError where the tuned model's logits of an example are not finite, as after too large a step."""
    import torch

    with torch.no_grad(), plain_attention(model):
        [logits] = logits_alone(model, [example])
    if not torch.isfinite(logits).all():
        raise TrainingError(
            f"the tuned model gives logits that are not finite on {example.row}; it is not exported",
            where=model.name_or_path,
            todo="remove the run's train/checkpoints, and train again with a lower train.learning_rate",
        )


Computed = tuple[Any, Any, list[Any], float]


def compute_finely(model: Any, batch: Batch, probes: Sequence[Example]) -> Computed:
    """`compute_both` in float32 where that can be had: not for sharded or 4-bit weights, nor where the model's code
    insists on its precision. Raises ModelError where it cannot be run at all.
    """
    import torch

    fixed = is_sharded(model) or any(weight.dtype == torch.uint8 for weight in model.parameters())
    causal = causal_model(model)
    try:
        with torch.no_grad():
            with torch.random.fork_rng():
                token_losses(model.train(), batch)  # In training mode and its own precision it must run as well.
            model.eval()
            if not fixed and (causal.dtype == torch.bfloat16 or "forward" in vars(causal)):
                with contextlib.suppress(Exception), in_float32(model):
                    return compute_both(model, batch, probes)
            return compute_both(model, batch, probes)
    except (PacosError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as failure:  # The code of an architecture can raise anything.
        raise ModelError(
            f"cannot be run on examples of up to {max(len(probe.ids) for probe in probes)} tokens: "
            f"{type(failure).__name__}: {failure}",
            where=model.name_or_path,
        ) from failure


def compute_both(model: Any, batch: Batch, probes: Sequence[Example]) -> Computed:
    """(logits and losses at the batch's labels, logits of each probe alone, error between transformers' attentions)."""
    import torch

    causal = causal_model(model)
    together = model(**model_inputs(causal, batch)).logits.flatten(0, 1)[batch.label_positions]
    losses = token_losses(model, batch)
    with plain_attention(model):
        separate = logits_alone(model, probes)
    rounding = 0.0
    if causal.config._attn_implementation in PACKING:
        with plain_attention(model, "eager"):
            rounding = relative_error(torch.cat(logits_alone(model, probes)), torch.cat(separate))
    return together, losses, separate, rounding


def collate_probes(probes: Sequence[Example], pad_id: int, rules: RowRules) -> Batch:
    """The probes as one micro-batch, with padding."""
    if rules.unpacked:
        return collate_padded(probes, pad_id)
    return collate([probes], sum(len(probe.ids) for probe in probes) // BLOCK * BLOCK + BLOCK, pad_id)


def logits_alone(model: Any, probes: Sequence[Example]) -> "list[torch.Tensor]":
    """Logits [tokens - 1, vocabulary] of each example in a row of its own, without the last position."""
    import torch

    rows = [torch.tensor([probe.ids], device=model.device) for probe in probes]
    causal = causal_model(model)
    return [model(**accepted(causal, {"input_ids": row, "use_cache": False})).logits[0, :-1] for row in rows]


def choose_probes(examples: Sequence[Example], rules: RowRules = PACKED) -> list[Example]:
    """The shortest, the median and the longest example, and another that shares the longest's prefix.

    The longest shows whether a sliding attention window is shorter than it. It alone, where micro-batches have one.
    """
    by_length = sorted(examples, key=lambda example: len(example.ids))
    longest = by_length[-1]
    if rules.single:
        return [longest]
    prefix = longest.ids[: longest.prefix_length]
    same = [example for example in by_length if example.ids[: longest.prefix_length] == prefix]
    return [by_length[0], by_length[len(by_length) // 2], longest, same[0]]
