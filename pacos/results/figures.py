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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindComparison:
    """Blind comparisons of one model with another; a tie counts as half a win.

    `win_rate` is None for n = 0. `standard_error` is that of the mean, in points, as AlpacaEval gives it; None for
    fewer than two comparisons. `sign_test_p` is two-sided and leaves ties out.
    """

    n: int = 0
    wins: int = 0
    ties: int = 0
    losses: int = 0
    win_rate: Rate | None = None
    standard_error: float | None = None
    sign_test_p: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement of two raters over the `n` items that both rated: the share of equal verdicts and Cohen's kappa.

    `kappa` is None where it is undefined (both raters gave one and the same verdict throughout).
    """

    n: int = 0
    agreement: Rate | None = None
    kappa: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeAgreement(Agreement):
    """Agreement on grades A to D. `kappa_binary` joins A with B and C with D; `spearman` is of the grades' order."""

    kappa_binary: float | None = None
    spearman: float | None = None


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How texts were split into words for ROUGE-L: by rouge_score's tokens (a–z, 0–9), or by words of any script.

    `texts` have words; `unicode_texts` of them were split by the latter, and `unmeasured` by rouge_score's although
    these miss most of their words. Files of earlier versions, which knew rouge_score's alone, do not count texts.
    """

    tokenizer: str = "rouge"
    texts: int = 0
    unicode_texts: int = 0
    unmeasured: int = 0

    def __str__(self) -> str:
        """What the figures' reader must know of it; "" where rouge_score's tokens are right for every text."""
        if self.unmeasured:
            return (
                f"{self.unmeasured:,} of {self.texts:,} texts are in scripts of which rouge's tokenizer knows nothing, "
                "and count as unlike any other: measure them with --tokenizer unicode"
            )
        if self.unicode_texts:
            return f"tokenizer unicode (words of any script) for {self.unicode_texts:,} of {self.texts:,} texts"
        return ""
