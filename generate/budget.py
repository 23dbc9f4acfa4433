"""When generation stops, and what it has cost so far."""

from enum import StrEnum

from pacos.config import Config
from pacos.generate.filtering.reasons import Reason
from pacos.generate.journal import Journal
from pacos.generate.pool import RECENT_ITEMS, Tally
from pacos.serving.cost import cost


class StoppedBy(StrEnum):
    TARGET = "target"
    REQUESTS = "requests"
    TOKENS = "tokens"
    SECONDS = "seconds"
    MONEY = "money"
    MIN_ACCEPTANCE = "min_acceptance"


class Budget:
    """Requests, tokens and acceptance are judged on what is committed, so that they stop every run at the same task.

    Seconds and money follow the clock.
    """

    def __init__(self, config: Config, journal: Journal) -> None:
        self._limits = config.generate.budget
        self._target = config.generate.target
        self._journal = journal
        self._config = config

    @property
    def cost(self) -> float:
        journal = self._journal
        return cost(self._config, journal.seconds, journal.prompt_tokens, journal.completion_tokens)

    def stopped_by(self, tally: Tally) -> StoppedBy | None:
        """The first limit that is reached, or None."""
        limits = self._limits
        if tally.instructions >= self._target and not tally.rejected[Reason.PENDING]:
            return StoppedBy.TARGET
        if limits.requests is not None and tally.requests >= limits.requests:
            return StoppedBy.REQUESTS
        if limits.tokens is not None and tally.tokens >= limits.tokens:
            return StoppedBy.TOKENS
        if len(tally.recent) == RECENT_ITEMS and sum(tally.recent) < limits.min_acceptance * RECENT_ITEMS:
            return StoppedBy.MIN_ACCEPTANCE
        return self.clock()

    def may_ask(self, requests: int, tokens: int) -> bool:
        """Whether one more request is within every limit, with so many requests and tokens to be committed before it.

        Answers behind a gap in the journal do not count: they are committed after it, and the gap must be asked for.
        """
        limits = self._limits
        if limits.requests is not None and requests >= limits.requests:
            return False
        if limits.tokens is not None and tokens >= limits.tokens:
            return False
        return self.clock() is None

    def clock(self) -> StoppedBy | None:
        """The limit on time or money that is reached, or None."""
        if self._limits.seconds is not None and self._journal.seconds >= self._limits.seconds:
            return StoppedBy.SECONDS
        if self._limits.money is not None and self.cost >= self._limits.money:
            return StoppedBy.MONEY
        return None
