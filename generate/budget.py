"""When generation stops, and what it has cost so far."""

from enum import StrEnum

from pacos.config import EngineConfig, GenerateConfig
from pacos.config.generate import BudgetConfig
from pacos.generate.filtering.reasons import Reason
from pacos.generate.journal import Journal
from pacos.generate.stats import RECENT_ITEMS, Tally
from pacos.serving.cost import cost


class StoppedBy(StrEnum):
    """What ended a run: the target, or a key of `generate.budget`."""

    TARGET = "target"
    REQUESTS = "requests"
    TOKENS = "tokens"
    SECONDS = "seconds"
    MONEY = "money"
    MIN_ACCEPTANCE = "min_acceptance"


class Budget:
    """The limits of `generate.budget`.

    Requests, tokens and acceptance are counted over what is committed, so that they stop every run at the same task.
    Seconds and money depend on the clock.
    """

    def __init__(self, generate: GenerateConfig, engine: EngineConfig, journal: Journal) -> None:
        self._limits = generate.budget
        self._target = generate.target
        self._engine = engine
        self._journal = journal

    @property
    def cost(self) -> float:
        """What the engine has cost so far, over all sessions; 0 without a price."""
        journal = self._journal
        return cost(self._engine, journal.seconds, journal.tokens.prompt, journal.tokens.completion)

    def stopped_by(self, tally: Tally) -> StoppedBy | None:
        """The target or the first limit that is reached, or None."""
        return limit_of(self._limits, self._target, tally) or self.time_or_money()

    def may_ask(self, requests: int, tokens: int) -> bool:
        """Whether every limit allows one more request, with `requests` and `tokens` to be committed before it.

        Answers after a gap in the journal do not count: they are committed after it, and the gap must be filled first.
        """
        limits = self._limits
        if limits.requests is not None and requests >= limits.requests:
            return False
        if limits.tokens is not None and tokens >= limits.tokens:
            return False
        return self.time_or_money() is None

    def time_or_money(self) -> StoppedBy | None:
        """The limit on seconds or money that is reached, or None."""
        if self._limits.seconds is not None and self._journal.seconds >= self._limits.seconds:
            return StoppedBy.SECONDS
        if self._limits.money is not None and self.cost >= self._limits.money:
            return StoppedBy.MONEY
        return None


def limit_of(limits: BudgetConfig, target: int, tally: Tally) -> StoppedBy | None:
    """The target, or the first limit on what is committed, that is reached; None if none is."""
    if tally.instructions >= target and not tally.rejected[Reason.PENDING]:
        return StoppedBy.TARGET
    if limits.requests is not None and tally.requests >= limits.requests:
        return StoppedBy.REQUESTS
    if limits.tokens is not None and tally.tokens >= limits.tokens:
        return StoppedBy.TOKENS
    if len(tally.recent) == RECENT_ITEMS and sum(tally.recent) < limits.min_acceptance * RECENT_ITEMS:
        return StoppedBy.MIN_ACCEPTANCE
    return None
