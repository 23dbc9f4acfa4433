"""Figures with their uncertainty, as several results hold them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A share in per cent and its 95 % interval."""

    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.rate:.1f} % [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """Micro-averaged mean of the paired differences, and its 95 % interval over tasks.

    `p` is two-sided, of no difference. A true difference of `detectable` points would be found with 80 % power. One
    task says nothing about others: its interval is the whole range, [-100, 100].
    """

    difference: float
    low: float
    high: float
    n: int
    tasks: int
    wins: int
    ties: int
    losses: int
    p: float
    detectable: float

    @property
    def is_clear(self) -> bool:
        return self.low > 0 or self.high < 0
