"""Token ids made once and kept by a hash of their content: tasks ─▶ encode ─▶ check ─▶ `train/tokenized/<hash>`.

The main process prepares before it joins the others, so that none of them waits in a collective meanwhile;
they then read what it kept. A machine that does not see its files encodes for itself, to the same ids.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import ConfigError, DataError
from pacos.records import Task, disk_error
from pacos.templates import template
from pacos.train.data.examples import Dataset, Example, check_examples, encode_tasks
from pacos.train.data.pairs import Pair, encode_pairs
from pacos.train.data.sources import load_pairs, load_tasks, source_names

log = logging.getLogger("pacos")

# Of what is kept; another number reads nothing that was kept before.
FORMAT = 2
COUNTS = ("rows", "truncated", "dropped", "empty", "alike")


def load_dataset(config: Config, tokenizer: Any, *, keep: bool = False) -> Dataset:
    """Read, encode and check what `config.train` asks for; what was kept of the same content is not encoded again.

    With `keep` it is written for the processes that read it next. Raises DataError: nothing to train on, or a row
    that breaks a rule of `check_examples`. Raises ConfigError where an example could not fit a pass, ModelError for
    a tokenizer without an end-of-sequence token.
    """
    train = config.train
    if train.row_tokens > train.pack_tokens:
        what = "a pair of answers" if train.objective == "dpo" else "an example"
        raise ConfigError(
            f"{what} of train.max_length ({train.max_length}) tokens does not fit in {train.pack_tokens}",
            where="train.pack_tokens",
        )
    named = load_rows(config)
    path = config.run_dir / "train" / "tokenized" / f"{content_sha256(named, tokenizer, config)}.safetensors"
    if path.is_file() and (kept := read_dataset(path)):
        return kept
    encode: Callable[..., Dataset] = encode_pairs if train.objective == "dpo" else encode_tasks
    dataset = encode(named, tokenizer, train, config.seed)
    if not dataset.examples:
        raise DataError(
            f"every one of the {dataset.rows:,} prompts fills train.max_length = {train.max_length} alone",
            where=source_names(config),
            todo="raise train.max_length",
        )
    check_examples(dataset.examples, tokenizer, ends_in_eos=train.append_eos)
    if keep:
        write_dataset(path, dataset)
    return dataset


def load_rows(config: Config) -> Sequence[tuple[str, Task | Pair]]:
    return load_pairs(config) if config.train.objective == "dpo" else load_tasks(config)


def content_sha256(named: Sequence[tuple[str, Task | Pair]], tokenizer: Any, config: Config) -> str:
    """Hash of all that decides the token ids: every text, the tokenizer, the template and how rows are cut."""
    train = config.train
    rules = [
        FORMAT,
        train.max_length,
        train.mask_prompt,
        train.append_eos,
        template(train.template).sha256,
        config.seed,
    ]
    digest = hashlib.sha256(json.dumps([tokenizer_sha256(tokenizer), *rules]).encode())
    for row, texts in named:
        digest.update(json.dumps([row, *astuple(texts)]).encode())
    return digest.hexdigest()


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of everything that decides how text becomes ids: vocabulary, merges, rules, special tokens."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for per_call in ("truncation", "padding"):
        rules.pop(per_call, None)
    return hashlib.sha256(json.dumps([rules, tokenizer.special_tokens_map], sort_keys=True).encode()).hexdigest()


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Replace whatever content was kept before; an interrupted write leaves none."""
    import numpy as np
    from safetensors.numpy import save_file

    examples = dataset.examples
    arrays = {
        "ids": np.fromiter(itertools.chain.from_iterable(example.ids for example in examples), np.int32),
        "lengths": np.array([len(example.ids) for example in examples], np.int32),
        "learnt": np.array([example.learnt for example in examples], np.int32),
        "truncated": np.array([example.truncated for example in examples], np.bool_),
        "rows": np.frombuffer("\n".join(example.row for example in examples).encode(), np.uint8),
    }
    counts = {name: str(getattr(dataset, name)) for name in (*COUNTS, "unit", "sha256")}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        aside = path.with_suffix(".new")
        save_file(arrays, aside, metadata=counts)
        aside.replace(path)
    except OSError as failure:
        raise disk_error(failure, path) from failure


def read_dataset(path: Path) -> Dataset | None:
    """What `write_dataset` kept; None, with a warning, for a file that is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as kept:
            counts = kept.metadata()
            ids, lengths, learnt, truncated = (
                kept.get_tensor(name).tolist() for name in ("ids", "lengths", "learnt", "truncated")
            )
            rows = kept.get_tensor("rows").tobytes().decode().split("\n")
    except SafetensorError as failure:
        log.warning("passing over %s: %s", path, failure)
        return None
    examples, start = [], 0
    for row, length, first, cut in zip(rows, lengths, learnt, truncated, strict=True):
        examples.append(Example(row, ids[start : start + length], first, cut))
        start += length
    numbers = {name: int(counts[name]) for name in COUNTS}
    dataset = Dataset(examples, unit=counts["unit"], **numbers)
    if dataset.sha256 == counts["sha256"]:
        return dataset
    log.warning("passing over %s: its content has changed since it was written", path)
    return None
