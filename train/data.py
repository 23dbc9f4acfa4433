"""Tasks → token ids with a learnt span: what is trained on, and what is not, is decided here and counted.

A prompt is tokenised whole, its response apart, and the ids are joined (pacos/templates.py says why). The
end-of-sequence id is appended as an id. What carries loss is a span of positions, never a test on token
identity, so that a pad, BOS or EOS id inside the text can neither hide nor reveal a token.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacos.config import Config
from pacos.errors import ConfigError, DataError, ModelError
from pacos.records import Task, read_tasks
from pacos.templates import Tokenizer, alpaca_prompt, encode_prompts, encode_responses


@dataclass(frozen=True, slots=True)
class Example:
    """One row as token ids: `ids[:learnt]` is context, `ids[learnt:]` carries loss."""

    row: str
    ids: list[int]
    learnt: int
    truncated: bool = False

    @property
    def response_tokens(self) -> int:
        return len(self.ids) - self.learnt


@dataclass
class Dataset:
    """What one epoch trains on, and how many of the `rows` read were cut, left out, or have an empty output."""

    examples: list[Example]
    rows: int
    truncated: int = 0
    dropped: int = 0
    empty: int = 0
    sources: list[Path] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(len(example.ids) for example in self.examples)

    @property
    def response_tokens(self) -> int:
        return sum(example.response_tokens for example in self.examples)

    @property
    def sha256(self) -> str:
        """Hash of the token ids and learnt spans in order: data, template, tokenizer and truncation at once."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(json.dumps([example.ids, example.learnt]).encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        text = f"{len(self.examples):,} examples, {self.tokens:,} tokens ({self.response_tokens:,} learnt)"
        notes = {
            "responses cut at train.max_length": self.truncated,
            "rows left out, their prompt alone fills train.max_length": self.dropped,
            "rows with an empty output": self.empty,
        }
        return "; ".join([text, *(f"{count:,} {note}" for note, count in notes.items() if count)])


def source_paths(config: Config) -> list[Path]:
    """The files that `load_dataset` reads: `train.data`, or else the run's own dataset."""
    paths = [Path(source.path) for source in config.train.data] or [config.run_dir / "dataset"]
    return [path / "dataset.jsonl" if path.is_dir() or path.suffix == "" else path for path in paths]


def load_tasks(config: Config) -> list[tuple[str, Task]]:
    """(row name, task) of every source in order. Raises DataError for a file that is absent, broken or empty."""
    limits = [source.limit for source in config.train.data] or [None]
    named: list[tuple[str, Task]] = []
    for path, limit in zip(source_paths(config), limits, strict=True):
        if not config.train.data and not path.is_file():
            raise DataError("this run has no dataset yet", where=str(path), todo="generate first, or set train.data")
        tasks = read_tasks(path)[:limit]
        named += [(f"{path.name}:{number}", task) for number, task in enumerate(tasks, 1)]
    return named


def load_dataset(config: Config, tokenizer: Tokenizer) -> Dataset:
    """Read, encode and check what `config.train` asks for.

    Raises DataError: nothing to train on, or a row that breaks a rule of `check_examples`. Raises ConfigError
    where an example could not fit a pass, ModelError for a tokenizer without an end-of-sequence token.
    """
    train = config.train
    if train.max_length > train.pack_tokens:
        raise ConfigError(
            f"an example of train.max_length ({train.max_length}) tokens does not fit in {train.pack_tokens}",
            where="train.pack_tokens",
        )
    dataset = encode_tasks(load_tasks(config), tokenizer, max_length=train.max_length, mask_prompt=train.mask_prompt)
    dataset.sources = source_paths(config)
    if not dataset.examples:
        raise DataError(
            f"every one of the {dataset.rows:,} prompts fills train.max_length = {train.max_length} alone",
            where=", ".join(map(str, dataset.sources)),
            todo="raise train.max_length",
        )
    check_examples(dataset.examples, tokenizer)
    return dataset


def encode_tasks(
    named: Sequence[tuple[str, Task]], tokenizer: Tokenizer, *, max_length: int, mask_prompt: bool = True
) -> Dataset:
    """Tokenise tasks; a response that does not fit with its EOS is cut and gets none, so that the model never
    learns to stop in mid-sentence. A row whose prompt leaves no room for a response is left out."""
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ModelError("the tokenizer has no end-of-sequence token: the model could not learn to stop")
    prompts = encode_prompts(tokenizer, [alpaca_prompt(task.instruction, task.input) for _, task in named])
    responses = encode_responses(tokenizer, [task.output for _, task in named])
    dataset = Dataset([], rows=len(named))
    for (row, _), prompt, response in zip(named, prompts, responses, strict=True):
        room = max_length - len(prompt)
        if room < 1:
            dataset.dropped += 1
            continue
        truncated = len(response) + 1 > room
        ids = prompt + (response[:room] if truncated else [*response, eos])
        dataset.truncated += truncated
        dataset.empty += not response
        # The very first token has no context to be predicted from.
        dataset.examples.append(Example(row, ids, len(prompt) if mask_prompt else 1, truncated))
    return dataset


def check_examples(examples: Sequence[Example], tokenizer: Tokenizer) -> None:
    """The rules that a silent tokenizer change or template slip would break. Raises DataError naming the row.

    Every row learns something; a whole response ends in a learnt EOS; BOS stands first where the tokenizer
    puts one, and nowhere else; no other EOS: text that spells a special token stayed text.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    starts_with_bos = bos is not None and encode_prompts(tokenizer, ["a"])[0][0] == bos
    for example in examples:
        body = example.ids[1:] if starts_with_bos else example.ids
        if not 0 < example.learnt < len(example.ids):
            raise DataError("no token of this row would be learnt", where=example.row)
        if not example.truncated and example.ids[-1] != eos:
            raise DataError("the response does not end in EOS: the model would not learn to stop", where=example.row)
        if starts_with_bos and example.ids[0] != bos:
            raise DataError("the prompt does not start with the tokenizer's BOS", where=example.row)
        inside = body if example.truncated else body[:-1]
        if bos is not None and bos in inside:
            raise DataError("BOS stands inside the row, or twice at its start", where=example.row)
        if eos in inside:
            raise DataError("EOS stands inside the row: text was read as a special token", where=example.row)
