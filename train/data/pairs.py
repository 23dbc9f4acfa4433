"""Parses and tokenises preference pairs: a prompt with a chosen and a rejected response.

A row of `pairs.jsonl` has `instruction` and `input`, which the training template renders, or the complete `prompt`,
which is used as it is. Every pair becomes two examples, the chosen one first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.config import TrainConfig
from pacos.errors import DataError
from pacos.progress import bar
from pacos.records import Task, refuse_conversation
from pacos.templates import Template, template
from pacos.token_ids import Tokenizer
from pacos.tokenization import EncodedRow, encode_rows
from pacos.train.data.examples import CHUNK_ROWS, Dataset, eos_ids, make_example

KEYS = ("instruction", "input", "prompt", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of preferences. `prompt` is the model's complete input, or "" where the template renders one."""

    instruction: str
    input: str
    prompt: str
    chosen: str
    rejected: str

    def texts(self, template: Template, draw: str) -> tuple[str, str, str]:
        """(prompt, chosen response, rejected response); see `Template.render`."""
        if self.prompt:
            return self.prompt, self.chosen, self.rejected
        chosen, rejected = (
            template.render(Task(self.instruction, self.input, answer), draw) for answer in (self.chosen, self.rejected)
        )
        return chosen[0], chosen[1], rejected[1]


def parse_pair(values: Any, *, where: str) -> Pair:
    """A row as a Pair. Raises DataError unless it has both responses, and either `instruction` or `prompt`."""
    if not isinstance(values, dict):
        raise DataError("a preference pair is a JSON object", where=where)
    refuse_conversation(values, where=where)
    texts = {}
    for key in KEYS:
        text = values.get(key) if key in ("chosen", "rejected") else values.get(key) or ""
        if not isinstance(text, str):
            todo = "set train.template=chat" if isinstance(text, list) else None
            raise DataError(f"`{key}` must be text" if key in values else f"`{key}` is missing", where=where, todo=todo)
        texts[key] = text
    if bool(texts["instruction"].strip()) == bool(texts["prompt"]):
        raise DataError("a pair has either an `instruction` or a complete `prompt`", where=where)
    return Pair(**texts)


def encode_pairs(named: Sequence[tuple[str, Pair]], tokenizer: Tokenizer, train: TrainConfig, seed: int = 0) -> Dataset:
    """Tokenise pairs by the rules of `encode_tasks`.

    Both responses of a pair follow the same prompt ids. A pair is dropped as a whole where its prompt leaves no room,
    and where both responses have the same ids.
    """
    end, form = eos_ids(tokenizer, train), template(train.template)
    dataset = Dataset([], rows=len(named), unit="answers (two to a pair)")
    with bar("tokenise", len(named), "pairs", disable=len(named) < CHUNK_ROWS) as progress:
        for start in range(0, len(named), CHUNK_ROWS):
            chunk = named[start : start + CHUNK_ROWS]
            texts = [pair.texts(form, f"{seed}:{row}") for row, pair in chunk]
            answers = [(prompt, response) for prompt, *responses in texts for response in responses]
            encoded = encode_rows(tokenizer, answers)
            for (row, _), chosen, rejected in zip(chunk, encoded[::2], encoded[1::2], strict=True):
                _add_pair(dataset, row, (chosen, rejected), end, train)
            progress.update(len(chunk))
    return dataset


def _add_pair(dataset: Dataset, row: str, answers: Sequence[EncodedRow], end: list[int], train: TrainConfig) -> None:
    examples = [example for answer in answers if (example := make_example(row, answer, end, train))]
    if len(examples) < 2:
        blank = not end and not all(answer.response for answer in answers)
        dataset.unlabelled += blank
        dataset.dropped += not blank
    elif examples[0].ids == examples[1].ids:
        dataset.identical += 1
    else:
        dataset.examples += examples
        dataset.truncated += sum(example.truncated for example in examples)
        dataset.empty += sum(not answer.response for answer in answers)
        dataset.apart += sum(answer.apart for answer in answers)
