"""Rows of a dataset of the Hugging Face hub, or of any local folder that `datasets` reads."""

import logging
import os
from pathlib import Path
from typing import Any

from pacos.errors import ConfigError, DataError, HubOutOfReach, PacosError
from pacos.json_text import SIGNATURE_BYTES, check_form

log = logging.getLogger("pacos")

# Characters of an error's text that are shown.
LONGEST_CAUSE = 400

# Columns that are texts, whatever their cells look like: in CSV, NA is no missing value and 8 no number.
TEXT_COLUMNS = (
    *("instruction", "input", "output", "system", "history", "id"),
    *("prompt", "completion", "chosen", "rejected", "text", "messages", "conversations"),
)
CELLS_AS_TEXTS: dict[str, Any] = {"converters": dict.fromkeys(TEXT_COLUMNS, str), "keep_default_na": False}

TEXT_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
DATA_SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".arrow")


def load_rows(name: str, *, split: str = "train", revision: str | None = None, where: str) -> Any:
    """A split as `datasets` has it, with the cells of CSV as texts. `where` is the option or config key that names it.

    Raises ConfigError for a split that is not there, DataError for a dataset that is not there or is broken,
    HubOutOfReach without network and cache.
    """
    from datasets import load_dataset, load_dataset_builder
    from datasets.exceptions import DatasetsError

    if not name.strip():
        raise ConfigError("names no dataset", where=where)
    name = os.path.expanduser(name)
    try:
        builder = load_dataset_builder(name, revision=revision)
        if os.path.isdir(name):
            _check_files(Path(name), builder.config.data_files)
        # The builder of CSV alone has converters.
        as_texts = CELLS_AS_TEXTS if hasattr(builder.config, "converters") else {}
        return load_dataset(name, split=split, revision=revision, **as_texts)
    except PacosError:
        raise
    except ConnectionError as failure:
        raise HubOutOfReach("is not in the local cache and the hub is out of reach", where=name) from failure
    except (DatasetsError, OSError) as failure:
        todo = "check its id and its files" + ("" if os.path.exists(name) else ", or `hf auth login`")
        raise DataError(_cause(failure), where=name, todo=todo) from failure
    except ValueError as failure:
        raise ConfigError(str(failure).partition("\n")[0], where=f"{where}: {name}") from failure


def _check_files(folder: Path, data_files: Any) -> None:
    """Warn of data files in a local folder that `datasets` passes over, as it reads files of one kind only.

    Raises DataError for a text file that is not in UTF-8 or is none, which `datasets` would not name.
    """
    read = {Path(str(file)).resolve() for files in (data_files or {}).values() for file in files}
    found = {path for path in folder.rglob("*") if path.suffix.lower() in DATA_SUFFIXES and path.is_file()}
    kinds = {path.suffix.lower() for path in read}
    if unread := sorted(path for path in found if path.resolve() not in read and path.suffix.lower() not in kinds):
        names = ", ".join(path.name for path in unread[:5])
        log.warning("%s: not read, as of another kind than the rest: %s", folder, names)
    for path in sorted(path for path in read if path.suffix.lower() in TEXT_SUFFIXES and path.is_file()):
        with path.open("rb") as content:
            check_form(content.read(SIGNATURE_BYTES), str(path))


def _cause(failure: BaseException) -> str:
    """What this error and those that caused it say, but for "An error occurred while generating the dataset"."""
    said: list[str] = []
    cause: BaseException | None = failure
    while cause:
        text = " ".join(str(cause).split()).removeprefix("An error occurred while generating the dataset").strip()
        if "column names don't match" in text:
            text = f"its files have different columns: {text}"
        if text and text not in said:
            said.append(text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]}…")
        cause = cause.__cause__
    return "; ".join(said) or type(failure).__name__
