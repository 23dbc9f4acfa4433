"""Tokenises conversations into examples: the assistant's turns are labels, whatever stands between them is context.

Turns that read the same in the whole conversation as they did when they were its last share an example. Some templates
render earlier turns otherwise (Qwen3's drops their thinking); there, a turn has an example of its own, in which the
model reads and gives exactly what it does when it is served.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pacos.chat import ChatEncoder, EncodedTurn
from pacos.config import TrainConfig
from pacos.conversations import Conversation
from pacos.errors import DataError, ModelError
from pacos.progress import bar
from pacos.train.data.chat_pairs import ChatPair
from pacos.train.data.examples import CHUNK_ROWS, Dataset, Example

log = logging.getLogger("pacos")


def encode_conversations(named: Sequence[tuple[str, Conversation]], tokenizer: Any, train: TrainConfig) -> Dataset:
    """Tokenise conversations. Raises ModelError and DataError as `ChatEncoder.turns`.

    One that is longer than `train.max_length` ends behind the last turn that fits; it is dropped where none does. An
    answer is never cut, so that the model learns to stop wherever it learns to answer.
    """
    encoder, dataset = ChatEncoder(tokenizer), Dataset([], rows=len(named))
    with bar("tokenise", len(named), "rows", disable=len(named) < CHUNK_ROWS) as progress:
        for start in range(0, len(named), CHUNK_ROWS):
            chunk = named[start : start + CHUNK_ROWS]
            encoded = encoder.turns([(row, conversation.messages) for row, conversation in chunk])
            for (row, conversation), turns in zip(chunk, encoded, strict=True):
                dataset.empty += sum(not conversation.messages[turn.number - 1].content.strip() for turn in turns)
                _add(dataset, row, turns, train)
            progress.update(len(chunk))
    _finish(dataset, encoder)
    return dataset


def encode_chat_pairs(named: Sequence[tuple[str, ChatPair]], tokenizer: Any, train: TrainConfig) -> Dataset:
    """Tokenise pairs of conversations. Both answers' turns behind the shared ones are labels.

    A pair is dropped as a whole where an answer does not fit in `train.max_length`, and where both have the same ids.
    Raises as `encode_conversations`, and ModelError for an answer of several turns that are not one text.
    """
    encoder, dataset = ChatEncoder(tokenizer), Dataset([], rows=len(named), unit="answers (two to a pair)")
    with bar("tokenise", len(named), "pairs", disable=len(named) < CHUNK_ROWS) as progress:
        for start in range(0, len(named), CHUNK_ROWS):
            chunk = named[start : start + CHUNK_ROWS]
            whole = [(row, pair.prompt + answer) for row, pair in chunk for answer in (pair.chosen, pair.rejected)]
            encoded = encoder.turns(whole)
            for (row, pair), *both in zip(chunk, encoded[::2], encoded[1::2], strict=True):
                _add_pair(dataset, row, pair, both, train)
            progress.update(len(chunk))
    _finish(dataset, encoder)
    return dataset


def first_turns(rows: Sequence[tuple[str, Any]], tokenizer: Any) -> list[EncodedTurn]:
    """The first answer of each row, with the ids that ask for it."""
    chats = [(name, row.prompt + row.chosen if isinstance(row, ChatPair) else row.messages) for name, row in rows]
    return [turns[0] for turns in ChatEncoder(tokenizer).turns(chats)]


def merge_turns(row: str, turns: Sequence[EncodedTurn]) -> list[Example]:
    """The fewest examples that have every turn as labels, each behind the ids that ask for it; latest turns first."""
    wholes: list[list[int]] = []
    spans: list[list[tuple[int, int]]] = []
    for turn in reversed(turns):
        start, ids = len(turn.prompt), turn.prompt + turn.answer
        for whole, labels in zip(wholes, spans, strict=True):
            if whole[: len(ids)] == ids:
                labels.insert(0, (start, len(ids)))
                break
        else:
            wholes.append(ids)
            spans.append([(start, len(ids))])
    return [Example.of_spans(row, ids, labels) for ids, labels in zip(wholes, spans, strict=True)]


def _add(dataset: Dataset, row: str, turns: Sequence[EncodedTurn], train: TrainConfig) -> None:
    fitting = [turn for turn in turns if len(turn.prompt) + len(turn.answer) <= train.max_length]
    if not fitting:
        dataset.unfinished += 1
        return
    dataset.shortened += len(fitting) < len(turns)
    supervised = fitting[-1:] if train.learn == "last_turn" else fitting
    latest, *earlier = merge_turns(row, supervised)
    examples = [replace(latest, truncated=len(fitting) < len(turns)), *earlier]
    dataset.examples += examples
    dataset.split += len(examples) > 1
    dataset.apart += sum(turn.apart for turn in supervised)


def _add_pair(
    dataset: Dataset, row: str, pair: ChatPair, both: Sequence[Sequence[EncodedTurn]], train: TrainConfig
) -> None:
    examples: list[Example] = []
    for name, turns in zip(("chosen", "rejected"), both, strict=True):
        answers = [turn for turn in turns if turn.number > len(pair.prompt)]
        merged = merge_turns(row, answers[-1:] if train.learn == "last_turn" else answers)
        if len(merged) > 1:
            raise ModelError(
                "the chat template renders this turn otherwise once others follow it: the answer is no one text",
                where=f"{row}, `{name}`, turn {answers[0].number}",
                todo="set train.learn=last_turn, or end both answers with it",
            )
        examples += merged
        dataset.apart += sum(turn.apart for turn in answers)
    if any(len(example.ids) > train.max_length for example in examples):
        dataset.unfinished += 1
    elif examples[0].ids == examples[1].ids:
        dataset.identical += 1
    else:
        dataset.examples += examples
        dataset.empty += sum(not answer[-1].content.strip() for answer in (pair.chosen, pair.rejected))


def _finish(dataset: Dataset, encoder: ChatEncoder) -> None:
    """Check every example, and warn where the served model would not stop at the token that ends its turns."""
    check_turns(dataset.examples, encoder.ends)
    if unknown := encoder.ends - encoder.stops:
        names = ", ".join(encoder.tokenizer.convert_ids_to_tokens(sorted(unknown)))
        log.warning(
            "train: turns end in %s, which is neither the tokenizer's EOS nor in the model's generation_config.json: a "
            "server stops there only if its requests say so (stop_token_ids)",
            names,
        )


def check_turns(examples: Sequence[Example], ends: set[int]) -> None:
    """Raises DataError unless each example's labels are turns that end, as a label, in a token that ends turns."""
    for example in examples:
        at = 1
        for first, last in example.label_spans:
            if not at <= first < last <= len(example.ids):
                raise DataError("the labels are not turns in order", where=example.row)
            if example.ids[last - 1] not in ends:
                raise DataError("a turn's end is not trained on: the model would not learn to stop", where=example.row)
            at = last
