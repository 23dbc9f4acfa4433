"""What a step's loss is: cross-entropy of responses (sft), or of preferences (dpo).

Either is a sum over what a pass holds, divided by a count of the whole step, so that packing, the number of passes and
the number of processes do not change it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pacos.config import TrainConfig
from pacos.train.data.examples import Example
from pacos.train.optimization.losses import token_losses
from pacos.train.packing.batch import Batch
from pacos.train.packing.plan import Step

if TYPE_CHECKING:
    import torch


class Objective(Protocol):
    """`figures` name what `sums` gives besides the loss."""

    figures: tuple[str, ...]

    def count(self, step: Step) -> int:
        """By what a step's sums are divided."""
        ...

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        """(loss, [figures] detached), each summed over the batch; `examples` are the batch's, row by row."""
        ...


class Supervised:
    figures: tuple[str, ...] = ()

    def __init__(self, neftune_alpha: float = 0.0) -> None:
        self.neftune_alpha = neftune_alpha

    def count(self, step: Step) -> int:
        return step.response_tokens

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        loss = token_losses(model, batch, self.neftune_alpha).sum()
        return loss, loss.new_zeros(0)


class Preference:
    """DPO (Rafailov et al. 2305.18290, equation 7), with conservative DPO's label smoothing; figures as TRL names them.

    A reward is β times how much more likely an answer has become than it was under the model that training started
    from (`Example.reference`).
    """

    figures: tuple[str, ...] = (
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    )

    def __init__(self, beta: float, label_smoothing: float, neftune_alpha: float = 0.0) -> None:
        self.beta = beta
        self.neftune_alpha = neftune_alpha
        self.smoothing = label_smoothing

    def count(self, step: Step) -> int:
        return len(step.units)

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        logps = answer_logps(model, batch, examples, self.neftune_alpha)
        reference = torch.tensor([example.reference for example in examples], dtype=logps.dtype, device=logps.device)
        rewards = self.beta * (logps - reference)
        margins = rewards[::2] - rewards[1::2]
        log_sigmoid = torch.nn.functional.logsigmoid
        losses = -(1 - self.smoothing) * log_sigmoid(margins) - self.smoothing * log_sigmoid(-margins)
        figures = [rewards[::2], rewards[1::2], margins, (margins > 0).to(margins.dtype), logps[::2], logps[1::2]]
        return losses.sum(), torch.stack([figure.detach().sum() for figure in figures])


def answer_logps(model: Any, batch: Batch, examples: Sequence[Example], neftune_alpha: float = 0.0) -> "torch.Tensor":
    """[examples] log-probability of what each learns, in nats."""
    import torch

    losses = token_losses(model, batch, neftune_alpha).split([example.response_tokens for example in examples])
    return torch.stack([-part.sum() for part in losses])


def objective_of(train: TrainConfig) -> Objective:
    if train.objective == "dpo":
        return Preference(train.dpo.beta, train.dpo.label_smoothing, train.neftune_alpha)
    return Supervised(train.neftune_alpha)
