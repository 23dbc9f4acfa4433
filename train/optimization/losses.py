"""The losses of supervised fine-tuning and of DPO, each summed over a packed micro-batch (see `TrainingLoss`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pacos.train.data.examples import Example, Unit
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch


class SupervisedLoss:
    """Mean cross-entropy of the labels."""

    figures: tuple[str, ...] = ()

    def __init__(self, neftune_alpha: float = 0.0) -> None:
        self.neftune_alpha = neftune_alpha

    def count(self, units: Sequence[Unit]) -> int:
        return sum(example.response_tokens for unit in units for example in unit)

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        loss = token_losses(model, batch, self.neftune_alpha).sum()
        return loss, loss.new_zeros(0)


class DPOLoss:
    """DPO (Rafailov et al. 2305.18290, equation 7) with conservative DPO's label smoothing; figures named as in TRL.

    A reward is β times the increase of a response's log-probability over the untrained model
    (`Example.reference_logp`).
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
        self.label_smoothing = label_smoothing
        self.neftune_alpha = neftune_alpha

    def count(self, units: Sequence[Unit]) -> int:
        return len(units)

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        logps = response_logps(model, batch, examples, self.neftune_alpha)
        reference = logps.new_tensor([example.reference_logp for example in examples])
        rewards = self.beta * (logps - reference)
        margins = rewards[::2] - rewards[1::2]
        log_sigmoid = torch.nn.functional.logsigmoid
        losses = -(1 - self.label_smoothing) * log_sigmoid(margins) - self.label_smoothing * log_sigmoid(-margins)
        figures = [rewards[::2], rewards[1::2], margins, (margins > 0).to(margins.dtype), logps[::2], logps[1::2]]
        return losses.sum(), torch.stack([figure.detach().sum() for figure in figures])


def response_logps(model: Any, batch: Batch, examples: Sequence[Example], neftune_alpha: float = 0.0) -> "torch.Tensor":
    """[examples] log-probability of each example's labels, in nats."""
    import torch

    losses = token_losses(model, batch, neftune_alpha).split([example.response_tokens for example in examples])
    return torch.stack([-part.sum() for part in losses])
