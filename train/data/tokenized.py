"""Tokenises the training rows once and caches the result: rows ─▶ encode ─▶ check ─▶ `train/tokenized/<hash>`.

The main process tokenises before it joins the others, so that none of them waits in a collective; they then
read its cache. A machine that does not see the cache tokenises for itself, to the same ids.
"""

import hashlib
import itertools
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pacos.chat_templates import template_sha256
from pacos.config import Config
from pacos.errors import ConfigError, DataError
from pacos.stop_tokens import stop_ids
from pacos.templates import template
from pacos.train.data.cache import write_cache
from pacos.train.data.examples import Dataset, Example, check_examples
from pacos.train.data.sources import NamedRow, read_training_rows, source_names
from pacos.train.interfaces import objective_of

log = logging.getLogger("pacos")

# Version of the cache's format and of the rules by which texts become ids; a new one invalidates every cache.
FORMAT = 5
# Dataset's counts, under the same names in the cache.
COUNTS = (
    "rows",
    "truncated",
    "dropped",
    "empty",
    "identical",
    "apart",
    "unlabelled",
    "shortened",
    "unfinished",
    "split",
)


def load_dataset(
    config: Config, tokenizer: Any, rows: Sequence[NamedRow] | None = None, *, keep: bool = False
) -> Dataset:
    """Tokenise and check the training rows, or read the cache of the same content.

    `rows` are those of `read_training_rows`, read here unless given. With `keep` the cache is written. Raises
    DataError: nothing to train on, or a row that breaks a rule of `check_examples`. Raises ConfigError where an
    example could not fit in a micro-batch, ModelError for a tokenizer without an end-of-sequence token.
    """
    train, objective = config.train, objective_of(config.train)
    if train.row_tokens > train.pack_tokens:
        raise ConfigError(
            f"{objective.unit_text} of train.max_length ({train.max_length}) tokens does not fit in "
            f"{train.pack_tokens}",
            where="train.pack_tokens",
        )
    rows = read_training_rows(config) if rows is None else rows
    shared = Path(train.tokenized) if train.tokenized else None
    folder = shared or config.run_dir / "train" / "tokenized"
    path = folder / f"{content_sha256(rows, tokenizer, config)}.safetensors"
    if path.is_file() and (cached := read_dataset(path)):
        return cached
    dataset = objective.encode(rows, tokenizer, train, config.seed)
    if not dataset.examples:
        raise nothing_left(dataset, config)
    if not template(train.template).is_chat:  # whose turns are checked where they are encoded
        check_examples(dataset.examples, tokenizer, ends_in_eos=train.append_eos)
    if keep:
        write_dataset(path, dataset, replaces=shared is None)
    return dataset


def nothing_left(dataset: Dataset, config: Config) -> DataError:
    """The error of a dataset of which no row can be trained on: why, and what to do about the most frequent reason."""
    todos = {
        dataset.dropped + dataset.unfinished: "raise train.max_length",
        dataset.identical: "give pairs whose answers differ",
        dataset.unlabelled: "give rows with outputs, or leave train.append_eos on",
    }
    limit, reasons = config.train.max_length, "; ".join(dataset.notes)
    return DataError(
        f"nothing is left to train on of {dataset.rows:,} rows (train.max_length = {limit}): {reasons}",
        where=source_names(config),
        todo=todos[max(todos)],
    )


def content_sha256(named: Sequence[NamedRow], tokenizer: Any, config: Config) -> str:
    """Hash of all that decides the token ids: every text, the tokenizer, the template and how rows are truncated."""
    train = config.train
    rules = [
        FORMAT,
        train.max_length,
        train.mask_prompt,
        train.append_eos,
        template(train.template).rendering,
        config.seed,
    ]
    if template(train.template).is_chat:
        rules += [template_sha256(template(train.template), tokenizer), sorted(stop_ids(tokenizer)), train.learn]
    digest = hashlib.sha256(json.dumps([tokenizer_sha256(tokenizer), *rules]).encode())
    for row, texts in named:
        digest.update(json.dumps([row, *astuple(texts)]).encode())
    return digest.hexdigest()


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of all that decides how a tokenizer splits text: vocabulary, merges, rules, special tokens."""
    if not hasattr(tokenizer, "backend_tokenizer"):
        return _files_sha256(tokenizer)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for per_call in ("truncation", "padding"):
        rules.pop(per_call, None)
    return hashlib.sha256(json.dumps([rules, tokenizer.special_tokens_map], sort_keys=True).encode()).hexdigest()


def _files_sha256(tokenizer: Any) -> str:
    """Hash of the files of a tokenizer in Python, which has no rules that could be written as text."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes().hex() for path in Path(folder).iterdir()}
    return hashlib.sha256(json.dumps([type(tokenizer).__name__, files], sort_keys=True).encode()).hexdigest()


def write_dataset(path: Path, dataset: Dataset, *, replaces: bool = True) -> None:
    """Cache a dataset, in place of any earlier one if it `replaces`; an interrupted write leaves none."""
    import numpy as np

    examples = dataset.examples
    arrays = {
        "ids": np.fromiter(itertools.chain.from_iterable(example.ids for example in examples), np.int32),
        "lengths": np.array([len(example.ids) for example in examples], np.int32),
        "prompt_lengths": np.array([example.prompt_length for example in examples], np.int32),
        "truncated": np.array([example.truncated for example in examples], np.bool_),
        "gaps": np.array([place for example in examples for gap in example.gaps for place in gap], np.int32),
        "gap_counts": np.array([len(example.gaps) for example in examples], np.int32),
        "rows": np.frombuffer("\n".join(example.row for example in examples).encode(), np.uint8),
    }
    counts = {name: str(getattr(dataset, name)) for name in COUNTS}
    counts |= {"unit": dataset.unit, "sha256": dataset.sha256}
    write_cache(path, arrays, counts, replaces=replaces)


def read_dataset(path: Path) -> Dataset | None:
    """What `write_dataset` wrote; None, with a warning, for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as cache:
            counts = cache.metadata()
            ids, lengths, prompt_lengths, truncated, places, gap_counts = (
                cache.get_tensor(name).tolist()
                for name in ("ids", "lengths", "prompt_lengths", "truncated", "gaps", "gap_counts")
            )
            rows = cache.get_tensor("rows").tobytes().decode().split("\n")
    except SafetensorError as failure:
        log.warning("ignoring the damaged cache %s: %s", path, failure)
        return None
    examples, start = [], 0
    gaps = iter(zip(places[::2], places[1::2], strict=True))
    columns = zip(rows, lengths, prompt_lengths, truncated, gap_counts, strict=True)
    for row, length, prompt_length, is_truncated, count in columns:
        own = tuple(itertools.islice(gaps, count))
        examples.append(Example(row, ids[start : start + length], prompt_length, is_truncated, gaps=own))
        start += length
    numbers = {name: int(counts[name]) for name in COUNTS}
    dataset = Dataset(examples, unit=counts["unit"], **numbers)
    if dataset.sha256 == counts["sha256"]:
        return dataset
    log.warning("ignoring the damaged cache %s: its content has changed since it was written", path)
    return None
