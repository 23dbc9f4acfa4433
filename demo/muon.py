"""Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon): momentum, made orthogonal, is the update.

torch.optim.Muon multiplies in bfloat16 always. A CPU without bfloat16 arithmetic takes forty times as long for a step
of it as for one here in float32.
"""

from collections.abc import Iterable
from typing import Any

import torch

from pacos.train.model import cpu_multiplies_bfloat16

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the published ones: steep at zero, and within 0.7 to 1.2 after five rounds


class Muon(torch.optim.Optimizer):
    """For matrices alone. An update's root mean square is 0.2, as AdamW's is (Liu et al. 2502.16982)."""

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float = 1e-3) -> None:
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix not in self.state:
                    self.state[matrix]["momentum"] = torch.zeros_like(matrix)
                momentum = self.state[matrix]["momentum"]
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = torch.lerp(matrix.grad, momentum, MOMENTUM)
                matrix.sub_(orthogonal(ahead).to(matrix.dtype), alpha=0.2 * group["lr"] * max(matrix.shape) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with all its singular values brought near 1."""
    linear, cubic, quintic = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = (wide / wide.norm().clamp(min=1e-7)).to(torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
