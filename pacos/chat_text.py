"""Token ids of rendered chats, in which the template's own control tokens are tokens and those that a message spells
are text.

Messages are rendered with such spellings escaped in private-use characters, so that whatever control token the
rendered text then has is the template's own. The text is cut there, and what lies between is tokenised as text: its ids
do not depend on what lies beyond a control token, which `tokenizers` cuts out first.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from pacos.token_ids import continuation_ids, control_tokens, token_ids

OPEN, CLOSE = "\ue000", "\ue001"
_ESCAPED = re.compile(f"{OPEN}(\\d+){CLOSE}")

# The day that templates print: Llama 3.1's own where it is given none. Ids must not depend on when a run goes on.
THE_DAY = datetime(2024, 7, 26)

log = logging.getLogger("pacos")

Part = str | int
_Way = Callable[[list[str]], list[list[int]]]


def render_chats(tokenizer: Any, chats: Sequence[Sequence[Mapping[str, str]]], *, asks: bool) -> list[str]:
    """The texts of chats in the tokenizer's chat template, with `asks` up to where the model answers.

    A template that prints the date prints `THE_DAY`, and a message says so. Raises whatever the template raises.
    """
    if "strftime_now" in str(tokenizer.chat_template):
        _say_the_day(str(tokenizer.name_or_path))
    texts: list[str] = tokenizer.apply_chat_template(
        chats, tokenize=False, add_generation_prompt=asks, strftime_now=THE_DAY.strftime
    )
    return texts


@cache
def _say_the_day(tokenizer: str) -> None:
    log.info(
        "%s: the chat template prints the date; it gets %s on any day, where other servers print their own",
        tokenizer,
        THE_DAY.date(),
    )


class ChatText:
    """A tokenizer's control tokens, in texts that its chat template rendered."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        controls = control_tokens(tokenizer)
        self.controls = {token.content: id for id, token in controls.items()}
        # The characters of escapes are escaped themselves where a message has them.
        self._escaped = [OPEN, *sorted(self.controls, key=len, reverse=True)]
        self._places = {text: place for place, text in enumerate(self._escaped)}
        self._spelt = re.compile("|".join(map(re.escape, self._escaped)))
        longest_first = sorted(controls.values(), key=lambda token: -len(token.content))
        # Groups make the search slow, and only white space that a token takes with it needs them.
        around = "({})" if any(token.lstrip or token.rstrip for token in longest_first) else "{}"
        patterns = (
            r"\s*" * token.lstrip + around.format(re.escape(token.content)) + r"\s*" * token.rstrip
            for token in longest_first
        )
        self._control = re.compile("|".join(patterns) or "(?!)")
        # Some tokenizers put a space before text that follows a control token, others do not.
        self._ways: tuple[_Way, ...] = (
            partial(token_ids, tokenizer, special=False),
            partial(continuation_ids, tokenizer),
        )
        self._behind: _Way | None = self._ways[1]

    def escape(self, content: str) -> str:
        """A message's text without control tokens; `unescape` gives it back."""
        return self._spelt.sub(lambda found: f"{OPEN}{self._places[found.group()]}{CLOSE}", content)

    def unescape(self, rendered: str) -> str:
        """The text of which `escape` made this."""
        return _ESCAPED.sub(lambda found: self._escaped[int(found.group(1))], rendered)

    def spells(self, content: str) -> bool:
        """Whether a message's text has anything to escape."""
        return bool(self._spelt.search(content))

    def parts(self, rendered: str) -> list[Part]:
        """The text cut at its control tokens: text, id, text, …, maybe empty; escapes are left as they are."""
        parts: list[Part] = []
        at = 0
        for found in self._control.finditer(rendered):
            parts += [rendered[at : found.start()], self.controls[found[found.lastindex or 0]]]
            at = found.end()
        return [*parts, rendered[at:]]

    def behind(self, rendered: str, count: int) -> int:
        """Where the text's `count`-th control token ends, without the white space that it strips."""
        found = list(self._control.finditer(rendered))[count - 1]
        return found.end(found.lastindex or 0)

    def calibrate(self, rendered: str) -> None:
        """Find how this tokenizer tokenises text behind a control token, from a text without escapes."""
        for way in self._ways:
            self._behind = way
            if self.ids([rendered]) == self.whole([rendered]):
                return
        self._behind = None

    @property
    def cuts(self) -> bool:
        """Whether the parts of a text have the ids that they have in the whole."""
        return self._behind is not None

    def whole(self, rendered: Sequence[str]) -> list[list[int]]:
        """Token ids as `apply_chat_template(tokenize=True)` gives them, without regard to who spells control tokens."""
        return token_ids(self.tokenizer, rendered, special=False, control=True)

    def ids(self, rendered: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, each of whose control tokens is the template's own; escapes are text again."""
        if self._behind is None:
            return self.whole(rendered)
        return self._cut(rendered, self._ways[0], self._behind)

    def continued(self, rendered: str) -> list[int]:
        """Token ids of a text that continues another without joining its last token."""
        return self._cut([rendered], self._ways[1], self._behind or self._ways[1])[0]

    def _cut(self, rendered: Sequence[str], at_start: _Way, behind: _Way) -> list[list[int]]:
        """Token ids of texts cut at their control tokens: of what each begins with, and of what lies behind those."""
        cut = [self.parts(text) for text in rendered]
        first = list(dict.fromkeys(str(parts[0]) for parts in cut if parts[0]))
        later = list(dict.fromkeys(part for parts in cut for part in parts[1:] if isinstance(part, str) and part))
        first_ids, later_ids = self._texts(first, at_start), self._texts(later, behind)
        return [_joined(parts, first_ids, later_ids) for parts in cut]

    def _texts(self, texts: list[str], way: _Way) -> dict[str, list[int]]:
        return dict(zip(texts, way([self.unescape(text) for text in texts]), strict=True))


def _joined(parts: Sequence[Part], first: dict[str, list[int]], later: dict[str, list[int]]) -> list[int]:
    ids: list[int] = []
    for number, part in enumerate(parts):
        if isinstance(part, int):
            ids.append(part)
        elif part:
            ids += later[part] if number else first[part]
    return ids
