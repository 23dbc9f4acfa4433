"""Tokenises tasks into examples: token ids, and which of them are labels.

Prompt and response are tokenised together where the prompt keeps its own ids (pacos/tokenization.py, `encode_rows`).
The end-of-sequence id is appended as an id. Labels are decided by position, never by token identity, so that a pad, BOS
or EOS id inside the text can neither hide nor reveal a token.
"""

import hashlib
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pacos.config import TrainConfig
from pacos.errors import DataError, ModelError
from pacos.progress import bar
from pacos.records import Task
from pacos.templates import template
from pacos.token_ids import Tokenizer
from pacos.tokenization import EncodedRow, encode_prompts, encode_rows

# Rows tokenised at once: enough for all cores, few enough to show progress.
CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Example:
    """One row as token ids: `ids[:prompt_length]` is context, `ids[prompt_length:]` are the labels.

    The labels of a conversation have `gaps` of context, each (start, end) of ids: the turns between the assistant's.
    Without `train.mask_prompt`, `prompt_length` is 1. `truncated`: the response is cut, or the conversation goes on.
    The first `prefix_length` ids are shared with other examples (packing/prefixes.py). `reference_logp` is the
    log-probability (nats) of the labels under the untrained model (dpo).
    """

    row: str
    ids: list[int]
    prompt_length: int
    truncated: bool = False
    prefix_length: int = 0
    reference_logp: float = 0.0
    gaps: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of_spans(cls, row: str, ids: list[int], spans: Sequence[tuple[int, int]]) -> "Example":
        """An example with labels at these spans [start, end) of ids, in order; the ids behind the last are left out."""
        gaps = tuple((end, start) for (_, end), (start, _) in itertools.pairwise(spans) if end < start)
        return cls(row, ids[: spans[-1][1]], spans[0][0], gaps=gaps)

    @property
    def label_spans(self) -> list[tuple[int, int]]:
        """Where the labels are: [start, end) of ids, in order."""
        bounds = [self.prompt_length, *itertools.chain.from_iterable(self.gaps), len(self.ids)]
        return list(zip(bounds[::2], bounds[1::2], strict=True))

    @property
    def response_tokens(self) -> int:
        return len(self.ids) - self.prompt_length - sum(end - start for start, end in self.gaps)


# What must be packed into one row: an example, or the chosen and the rejected response to one prompt.
Unit = tuple[Example, ...]


@dataclass
class Dataset:
    """The examples of one epoch, and how many of the `rows` read were truncated, dropped, or have an empty output.

    A preference pair has two examples, the chosen one first. `identical` counts pairs of equal responses, `apart`
    examples whose response was tokenised apart from the prompt, `unlabelled` rows dropped because nothing follows the
    prompt (an empty output, without EOS). Of conversations, `shortened` end behind an earlier
    turn, `unfinished` are dropped as no answer ends within `train.max_length`, and `split` have several examples.
    """

    examples: list[Example]
    rows: int
    truncated: int = 0
    dropped: int = 0
    empty: int = 0
    identical: int = 0
    apart: int = 0
    unlabelled: int = 0
    shortened: int = 0
    unfinished: int = 0
    split: int = 0
    unit: str = "examples"

    @property
    def tokens(self) -> int:
        return sum(len(example.ids) for example in self.examples)

    @property
    def response_tokens(self) -> int:
        return sum(example.response_tokens for example in self.examples)

    @property
    def sha256(self) -> str:
        """Hash of the token ids and prompt lengths in order: data, template, tokenizer and truncation at once."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(array("q", [len(example.ids), example.prompt_length, *example.ids]).tobytes())
            if example.gaps:
                digest.update(array("q", [len(example.gaps), *itertools.chain(*example.gaps)]).tobytes())
        return digest.hexdigest()

    def __str__(self) -> str:
        text = f"{len(self.examples):,} {self.unit}, {self.tokens:,} tokens ({self.response_tokens:,} supervised)"
        return "; ".join([text, *self.notes])

    @property
    def notes(self) -> list[str]:
        """What was cut, left out or unusual, with how often."""
        notes = {
            "responses cut at train.max_length": self.truncated,
            "rows left out because their prompt alone fills train.max_length": self.dropped,
            "conversations end behind an earlier turn, as the next exceeds train.max_length": self.shortened,
            "rows left out because no answer ends within train.max_length": self.unfinished,
            "conversations have several examples, as the chat template renders earlier turns otherwise": self.split,
            "rows left out because their output is empty and train.append_eos is off": self.unlabelled,
            "empty outputs": self.empty,
            "pairs left out because both answers are the same": self.identical,
            "responses tokenised apart from their prompt, whose last token they would change": self.apart,
        }
        return [f"{count:,} {note}" for note, count in notes.items() if count]


def encode_tasks(named: Sequence[tuple[str, Task]], tokenizer: Tokenizer, train: TrainConfig, seed: int = 0) -> Dataset:
    """Tokenise tasks.

    A response that does not fit with its EOS is truncated and gets none, so that the model never learns to stop in
    mid-sentence. A row whose prompt leaves no room for a response is dropped.
    """
    end, form = eos_ids(tokenizer, train), template(train.template)
    dataset = Dataset([], rows=len(named))
    with bar("tokenise", len(named), "rows", disable=len(named) < CHUNK_ROWS) as progress:
        for start in range(0, len(named), CHUNK_ROWS):
            chunk = named[start : start + CHUNK_ROWS]
            texts = [form.render(task, f"{seed}:{row}") for row, task in chunk]
            for (row, _), encoded in zip(chunk, encode_rows(tokenizer, texts), strict=True):
                example = make_example(row, encoded, end, train)
                if example:
                    dataset.examples.append(example)
                    dataset.truncated += example.truncated
                    dataset.empty += not encoded.response
                    dataset.apart += encoded.apart
                elif encoded.response or end:
                    dataset.dropped += 1
                else:
                    dataset.unlabelled += 1
            progress.update(len(chunk))
    return dataset


def make_example(row: str, encoded: EncodedRow, end: list[int], train: TrainConfig) -> Example | None:
    """Join prompt and response; None where the prompt leaves no room for a response, or the response has no tokens."""
    prompt, response = encoded.prompt, encoded.response
    room = train.max_length - len(prompt)
    if room < 1 or not response + end:
        return None
    truncated = len(response) + len(end) > room
    ids = prompt + (response[:room] if truncated else response + end)
    # The first token has no context to be predicted from.
    return Example(row, ids, len(prompt) if train.mask_prompt else 1, truncated)


def eos_ids(tokenizer: Tokenizer, train: TrainConfig) -> list[int]:
    """The ids that end every complete response: EOS, or none.

    Raises ModelError for a tokenizer without an end-of-sequence token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token: the model could not learn to stop")
    return [tokenizer.eos_token_id] if train.append_eos else []


def check_examples(examples: Sequence[Example], tokenizer: Tokenizer, *, ends_in_eos: bool = True) -> None:
    """Check what a changed tokenizer or template would break silently. Raises DataError naming the row.

    Every example has labels; a complete response ends in EOS, as a label; BOS comes first where the tokenizer adds
    one (or EOS, as XGLM's does), and nowhere else; there is no other EOS, because text that spells a special token must
    stay text.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    first = encode_prompts(tokenizer, ["a"])[0][0]
    for example in examples:
        body = example.ids[1:] if first in (bos, eos) else example.ids
        if not 0 < example.prompt_length < len(example.ids):
            raise DataError("no token of this row would be trained on", where=example.row)
        if ends_in_eos and not example.truncated and example.ids[-1] != eos:
            raise DataError("the response does not end in EOS: the model would not learn to stop", where=example.row)
        if first in (bos, eos) and example.ids[0] != first:
            raise DataError("the prompt does not start with the tokenizer's BOS", where=example.row)
        inside = body[:-1] if ends_in_eos and not example.truncated else body
        if bos is not None and bos in inside:
            raise DataError("BOS appears inside the row, or twice at its start", where=example.row)
        if eos in inside:
            raise DataError("EOS appears inside the row: text was read as a special token", where=example.row)
