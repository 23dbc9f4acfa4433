"""Conversations as token ids by a tokenizer's own chat template, and which of them the model itself must give.

No template needs tags for that. An assistant's turn is asked for by the rendering of the turns before it with
`add_generation_prompt`; what the rendering with the turn has behind that, up to the token that ends it, is the answer.
Each turn is rendered as the last, as the model gives it when it is served: whether it reads the same once others follow
is for those who put turns together (train/data/chat_examples.py) to compare.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.chat_text import CLOSE, OPEN, ChatText, render_chats
from pacos.conversations import Message
from pacos.errors import DataError, ModelError
from pacos.stop_tokens import stop_ids
from pacos.templates import Template
from pacos.tokenization import encode_prompts

_ASSISTANT = "assistant"
# A conversation that shows how a template's text is tokenised, and how it ends a turn.
SAMPLE = (Message("user", "Name two fruits."), Message(_ASSISTANT, "An apple, a pear."))


@dataclass(frozen=True, slots=True)
class EncodedTurn:
    """An assistant's turn (message `number`, from 1): the ids that ask for it, and those of the answer.

    The answer ends in the token that ends the turn. `apart`: it was tokenised apart from the prompt, whose last token
    it would change.
    """

    number: int
    prompt: list[int]
    answer: list[int]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a template makes of turns of these roles: what stands behind the last one's text, and the turns it drops."""

    behind: str
    dropped: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _RenderedTurn:
    """An assistant's turn, texts escaped: the text that asks, and the text with the answer up to its end.

    `closed`: the answer ends in a control token of the template; EOS is appended otherwise.
    """

    number: int
    asked: str
    answered: str
    closed: bool


class ChatEncoder:
    """Encodes conversations by the chat template of `tokenizer`. Raises ModelError for a tokenizer without one.

    `stops` are the ids at which the served model stops.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the tokenizer has no chat template",
                where=getattr(tokenizer, "name_or_path", None),
                todo="give one: train.chat_template=chatml, or a Jinja file; or take another train.template",
            )
        self.tokenizer = tokenizer
        self.text = ChatText(tokenizer)
        self.stops = stop_ids(tokenizer)
        self.ends: set[int] = set()
        self._frames: dict[tuple[tuple[str, ...], bool], _Frame] = {}
        self._shared = self._inner_end()
        self.text.calibrate(self.render(SAMPLE, where="the chat template"))

    def turns(self, conversations: Sequence[tuple[str, Sequence[Message]]]) -> list[list[EncodedTurn]]:
        """Every assistant's turn of conversations, given as (place, messages), in order.

        The ids of a prompt and its answer are those of `apply_chat_template(tokenize=True)`, up to the end of the turn,
        but for text of a message that spells a control token, which stays text, and for answers told `apart`. Raises
        ModelError or DataError, naming place and turn, where the template leaves out a text, refuses the roles, begins
        an answer otherwise than it asks for one, or does not end it; where it writes BOS twice.
        """
        rendered = [self._rendered(messages, where) for where, messages in conversations]
        texts = [[text for turn in turns for text in (turn.asked, turn.answered)] for turns in rendered]
        return [
            [self._encoded(turn, ids[turn.asked], ids[turn.answered], where) for turn in turns]
            for (where, _), turns, ids in zip(conversations, rendered, self._ids(texts), strict=True)
        ]

    def prompts(self, conversations: Sequence[tuple[str, Sequence[Message]]]) -> list[list[int]]:
        """Token ids of conversations that end in a user's turn, up to where the model answers. Raises as `turns`."""
        texts = [self._asking(self._escaped(messages), where) for where, messages in conversations]
        return [ids[text] for text, ids in zip(texts, self._ids([[text] for text in texts]), strict=True)]

    def render(self, messages: Sequence[Message], *, where: str, asks: bool = False) -> str:
        """The rendered text, and with `asks` the beginning of an answer. Raises ModelError where the template does."""
        given = [{"role": message.role, "content": message.content} for message in messages]
        try:
            [text] = render_chats(self.tokenizer, [given], asks=asks)
        except Exception as failure:  # A template can raise anything.
            roles = ", ".join(message.role for message in messages)
            raise ModelError(
                f"the chat template refuses turns of {roles}: {type(failure).__name__}: {failure}",
                where=where,
                todo="change these turns, or give another template: train.chat_template",
            ) from failure
        return text

    def _rendered(self, messages: Sequence[Message], where: str) -> list[_RenderedTurn]:
        escaped = self._escaped(messages)
        asked_at = [index for index, one in enumerate(messages) if one.role == _ASSISTANT]
        turns = []
        for index in asked_at:
            asked = self._asking(escaped[:index], where)
            turns.append(self._answer(escaped[: index + 1], asked, f"{where}, turn {index + 1}"))
        last = messages[: asked_at[-1] + 1] if asked_at else []
        if any(self.text.spells(one.content) for one in last):
            self._check_escaping(last, escaped, where)
        return turns

    def _escaped(self, messages: Sequence[Message]) -> list[Message]:
        return [Message(one.role, self.text.escape(one.content)) for one in messages]

    def _asking(self, messages: Sequence[Message], where: str) -> str:
        """The text that asks for the turn behind these escaped ones; checked to have all that was said to the model."""
        text = self.render(messages, where=where, asks=True)
        frame = self._frame(tuple(one.role for one in messages), asks=True, where=where)
        for index, message in enumerate(messages):
            said = message.role != _ASSISTANT  # of answers, templates drop the thinking
            if message.content.strip() and (index in frame.dropped or (said and not _holds(text, message.content))):
                raise ModelError(
                    f"the chat template leaves out the {message.role}'s text, which the model would never see",
                    where=f"{where}, turn {index + 1}",
                    todo="write a system text into the first user's turn, or set train.chat_template",
                )
        return text

    def _answer(self, messages: Sequence[Message], asked: str, where: str) -> _RenderedTurn:
        """The last of these turns as the model must give it."""
        text = self.render(messages, where=where)
        if not text.startswith(asked):
            raise ModelError(
                "the chat template begins this answer otherwise than it asks for one: "
                f"{self.text.unescape(_from_difference(text, asked))!r}, asked for by "
                f"{self.text.unescape(_from_difference(asked, text))!r}",
                where=where,
                todo="give a template without this: train.chat_template",
            )
        frame = self._frame(tuple(one.role for one in messages), asks=False, where=where)
        if not text.endswith(frame.behind) or not _holds(text[len(asked) :], messages[-1].content):
            raise ModelError(
                "the chat template leaves out or changes a part of this answer, which would not be trained on",
                where=where,
                todo="write the answer as the template does (its thinking, for instance), or give another template",
            )
        answered = text[: len(text) - len(frame.behind)]
        end = self._end_of_turn(frame.behind, where)
        return _RenderedTurn(len(messages), asked, answered + end, bool(end))

    def _end_of_turn(self, behind: str, where: str) -> str:
        """What ends a turn, of the text behind it: up to the first control token at which the model stops.

        Only those count that stand there in whatever place the turn is: Phi-3's template adds EOS to the last. "" for
        a template that has none anywhere.
        """
        run = [part for part in self.text.parts(behind) if isinstance(part, int)]
        common = [one for one, other in zip(run, self._shared, strict=False) if one == other]
        candidates = common or run
        if not candidates:
            if behind.strip() or self._shared:
                end = behind.strip() or "nothing"
                raise ModelError(
                    f"the chat template ends this turn with {end!r}, which is no control token of the tokenizer: the "
                    "model would not learn to stop",
                    where=where,
                    todo="give a template that ends turns with one of its tokens, such as EOS: train.chat_template",
                )
            return ""
        place = next((place for place, id in enumerate(candidates) if id in self.stops), len(common or run[:1]) - 1)
        self.ends.add(candidates[place])
        return behind[: self.text.behind(behind, place + 1)]

    def _encoded(self, turn: _RenderedTurn, prompt: list[int], whole: list[int], where: str) -> EncodedTurn:
        place = f"{where}, turn {turn.number}"
        bos = self.tokenizer.bos_token_id
        if bos is not None and prompt[:2] == [bos, bos]:
            raise ModelError("the chat template writes BOS twice", where=place, todo="remove one from the template")
        apart = whole[: len(prompt)] != prompt
        answer = self.text.continued(turn.answered[len(turn.asked) :]) if apart else whole[len(prompt) :]
        if not turn.closed:
            answer = [*answer, self._eos(place)]
        if not prompt:
            raise ModelError("the chat template has nothing before the answer", where=place)
        return EncodedTurn(turn.number, prompt, answer, apart)

    def _eos(self, where: str) -> int:
        """EOS, which ends the only turn that is trained on where the template ends none."""
        eos: int | None = self.tokenizer.eos_token_id
        if eos is None:
            raise ModelError("neither the chat template nor the tokenizer has a token that ends a turn", where=where)
        self.ends.add(eos)
        return eos

    def _ids(self, groups: Sequence[Sequence[str]]) -> list[dict[str, list[int]]]:
        """Token ids, by text, of each group of escaped texts, those of one conversation, the longest last.

        Where nothing is escaped, they are as those of the whole text: of the longest, which is checked, or else of all.
        """
        texts = list(dict.fromkeys(itertools.chain.from_iterable(groups)))
        known = dict(zip(texts, self.text.ids(texts), strict=True))
        escaped = [any(OPEN in text for text in group) for group in groups]
        if any(escaped) and not self.text.cuts:
            raise DataError(
                "a message spells a control token, and this tokenizer cannot tell it from the template's own",
                where=self.tokenizer.name_or_path,
                todo="remove such texts",
            )
        found = [{text: known[text] for text in group} for group in groups]
        pairs = zip(groups, found, escaped, strict=True)
        plain = [(group, ids) for group, ids, has_escapes in pairs if group and not has_escapes]
        wholes = self.text.whole([group[-1] for group, _ in plain])
        for (group, ids), whole in zip(plain, wholes, strict=True):
            if ids[group[-1]] != whole:
                ids |= dict(zip(group, self.text.whole(group), strict=True))
        return found

    def _check_escaping(self, messages: Sequence[Message], escaped: Sequence[Message], where: str) -> None:
        """Raises ModelError where the template looks for control tokens in a message."""
        rendered = self.render(escaped[: len(messages)], where=where)
        if self.text.unescape(rendered) == self.render(messages, where=where):
            return
        turn = next(number for number, one in enumerate(messages, 1) if self.text.spells(one.content))
        raise ModelError(
            "spells a control token that the chat template looks for and changes",
            where=f"{where}, turn {turn}",
            todo="remove it from the text",
        )

    def _frame(self, roles: tuple[str, ...], *, asks: bool, where: str) -> _Frame:
        key = (roles, asks)
        if key not in self._frames:
            text, marks = self._marked(roles, where=where, asks=asks)
            dropped = tuple(index for index, mark in enumerate(marks) if mark not in text)
            self._frames[key] = _Frame(text.rpartition(marks[-1])[2] if marks else text, dropped)
        return self._frames[key]

    def _inner_end(self) -> list[int]:
        """The control tokens that stand behind an assistant's turn which others follow, up to the next text."""
        try:
            text, marks = self._marked(("user", _ASSISTANT) * 2, where="the chat template")
        except ModelError:
            return []
        behind = text.partition(marks[1])[2].partition(marks[2])[0]
        return [part for part in self.text.parts(behind) if isinstance(part, int)]

    def _marked(self, roles: Sequence[str], *, where: str, asks: bool = False) -> tuple[str, list[str]]:
        """The rendered text of turns of these roles, and the marks that stand in it for their texts."""
        marks = [f"{OPEN}mark{index}{CLOSE}" for index in range(len(roles))]
        return self.render([Message(*one) for one in zip(roles, marks, strict=True)], where=where, asks=asks), marks


def form_prompts(tokenizer: Any, form: Template, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of prompts that `form` rendered: in the tokenizer's chat template if it is a chat, else as they are."""
    if not form.is_chat:
        return encode_prompts(tokenizer, prompts)
    chats = [(f"prompt {number}", [Message("user", text)]) for number, text in enumerate(prompts, 1)]
    return ChatEncoder(tokenizer).prompts(chats)


def _holds(text: str, content: str) -> bool:
    """Whether a rendered text contains a message's, whatever its white space."""
    return content.strip() in text or "".join(content.split()) in "".join(text.split())


def _from_difference(text: str, other: str) -> str:
    """The next characters of a text from where it differs from another."""
    pairs = enumerate(zip(text, other, strict=False))
    place = next((place for place, (one, its) in pairs if one != its), min(len(text), len(other)))
    return text[place : place + 40]
