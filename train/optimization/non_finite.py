"""Finds the rows behind a loss or gradient that is not finite."""

import contextlib
from collections.abc import Sequence
from typing import Any

from pacos.errors import TrainingError
from pacos.train.interfaces import TrainingLoss
from pacos.train.model.fsdp import full_tensor, is_sharded
from pacos.train.model.structure import trainable_parameters
from pacos.train.optimization.runtime import Runtime
from pacos.train.packing.plan import OptimizerStep


def non_finite_error(
    wrapped: Any, step: OptimizerStep, loss_function: TrainingLoss, runtime: Runtime, what: str
) -> TrainingError:
    """The error that names the rows of `step` whose loss or gradient is not finite when computed alone.

    Processes that share a sharded model compute every row together; others only their own rows.
    """
    from accelerate.utils import gather_object

    layouts = step.layout.micro_batches[runtime.process]
    own = [step.units[index] for rows in layouts for row in rows for index in row]
    together = is_sharded(wrapped)
    model = runtime.unwrap(wrapped)
    with contextlib.nullcontext() if together else runtime.accelerator.no_sync(wrapped):
        broken = [
            unit[0].row
            for unit in (step.units if together else own)
            if not _is_finite(model, unit, step.layout.width, loss_function, runtime)
        ]
    if not together:
        broken = gather_object(broken)
    if len(broken) == len(step.units):
        cause, todo = "every row of the step causes it: the weights are broken", "lower train.learning_rate"
    elif broken:
        cause, todo = f"caused by {first_rows(broken)}", "fix or remove these rows"
    else:
        rows = first_rows([unit[0].row for unit in step.units])
        cause, todo = f"no row causes it alone; the step took {rows}", "lower train.learning_rate"
    return TrainingError(f"not finite at {what}; {cause}", todo=todo)


def _is_finite(model: Any, unit: Sequence[Any], width: int, loss_function: TrainingLoss, runtime: Runtime) -> bool:
    import torch

    model.zero_grad()
    batch = runtime.to_device(runtime.collate([unit], width))
    loss, _ = loss_function.sums(model, batch, unit)
    loss.backward()
    parameters = trainable_parameters(model).values()
    gradients = [full_tensor(parameter.grad) for parameter in parameters if parameter.grad is not None]
    return all(bool(torch.isfinite(tensor).all()) for tensor in [loss, *gradients])


def first_rows(rows: Sequence[str], limit: int = 16) -> str:
    """The rows' names, the first `limit` of them."""
    return ", ".join(rows[:limit]) + (f" and {len(rows) - limit} more" if len(rows) > limit else "")
