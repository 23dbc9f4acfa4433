"""Items of an answer, and what a format of list is: how a prompt asks for new items and how the answer is parsed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacos.generate.filtering.reasons import Reason
from pacos.records import Task

# What a list writes for an empty input.
NO_INPUT = "<noinput>"

# NA in capitals alone: "Na" is sodium.
_NO_INPUT = re.compile(
    r"""[\s<(\["'`*\\]*
        (?:no[\s_-]*input(?:\s+(?:is\s+)?(?:needed|required|necessary))?|none|n/a|(?-i:NA)|n\.a\.|not\s+applicable|-+)
        [\s>)\]"'`*.\\]*""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ParsedItem:
    """One item: its raw text, and either the task in it or the reason why there is none."""

    raw: str
    task: Task | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ListFormat:
    """A format of list that the model continues.

    prompt(examples, new) asks for `new` items after the examples and ends inside the first new one.
    stops(last, chat) are the stop strings after item number `last`.
    parse(text, finish_reason) gives the items of an answer, at least one; the last is incomplete where it was cut off.

    `phase` is the requests' phase in the journal. An item is a whole task, or an instruction alone (`whole_tasks`
    false), which follow-up requests turn into tasks. `item_tokens` is the length of an item in estimates.
    """

    phase: str
    whole_tasks: bool
    item_tokens: int
    prompt: Callable[[Sequence[Task], int], str]
    stops: Callable[[int, bool], list[str]]
    parse: Callable[[str, str], list[ParsedItem]]

    @property
    def unit(self) -> str:
        """What the items are, in progress bars."""
        return "tasks" if self.whole_tasks else "instructions"


def is_no_input(text: str) -> bool:
    r"""Whether an input only says that there is none: `<noinput>`, `\<noinput>`, "N/A", "NA", "None.", "-"."""
    return _NO_INPUT.fullmatch(text) is not None
