"""Reads safetensors files: names, types and shapes of weights without loading them, and the errors of broken files."""

import contextlib
import errno
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pacos.errors import ModelError

if TYPE_CHECKING:
    import torch

# Bits of an element, by safetensors' names of types; types that are not listed are not measured.
BITS = dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8)
BITS |= dict.fromkeys(("I16", "U16", "F16", "BF16"), 16) | dict.fromkeys(("I32", "U32", "F32"), 32)
BITS |= dict.fromkeys(("I64", "U64", "F64"), 64)

# safetensors reads no longer header (MAX_HEADER_SIZE).
LARGEST_HEADER = 100_000_000
LFS_POINTER = b"version https://git-lfs"
WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"


def header(path: Path) -> dict[str, Any]:
    """{weight: {dtype, shape, data_offsets}} of a safetensors file, whose length is compared with what it says.

    Raises ModelError for a file that is cut short, a Git LFS pointer, no safetensors file, or unreadable.
    """
    _, entries = _read_header(path)
    return entries


def weight_heads(path: Path) -> dict[str, bytes]:
    """{name: type, shape and first 4 KiB of values} of a safetensors file. Raises ModelError as `header`."""
    data, entries = _read_header(path)
    heads = {}
    with path.open("rb") as content:
        for name, entry in entries.items():
            start, end = entry["data_offsets"]
            content.seek(data + start)
            heads[name] = json.dumps([entry["dtype"], entry["shape"]]).encode() + content.read(min(4096, end - start))
    return heads


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, as transformers chooses them: one file, or the shards of an index.

    Raises ModelError where there are none, or shards are missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / SHARDS
    if not index.is_file():
        raise _no_weights(folder)
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / shard for shard in sorted(shards)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise ModelError(f"is no index of shards: {broken!r}", where=str(index), todo="copy it again") from None
    if absent := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"{len(absent)} of {len(files)} shards are missing, {absent[0]} first", where=str(folder), todo="copy them"
        )
    return files


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """All tensors of a safetensors file, on the CPU. Raises ModelError as `header`."""
    from safetensors.torch import load_file

    header(path)
    with whole_files(str(path)):
        return load_file(path)


@contextlib.contextmanager
def whole_files(where: str) -> Iterator[None]:
    """Raises ModelError for what safetensors cannot read inside."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as broken:
        raise _not_whole(str(broken), where) from None


@contextlib.contextmanager
def disk_failures() -> Iterator[None]:
    """Raises OSError, with its number, where safetensors cannot write inside: its own error is none."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as failure:
        named = re.search(r"\(os error (\d+)\)", str(failure))
        if not named and "I/O error" not in str(failure):
            raise
        number = int(named[1]) if named else errno.EIO
        raise OSError(number, os.strerror(number)) from failure


def _no_weights(folder: Path) -> ModelError:
    if any(folder.glob("pytorch_model*.bin")):
        return ModelError(
            "its weights are in pickled files (pytorch_model.bin), which can run code; pacos reads safetensors only",
            where=str(folder),
            todo="load it with transformers where that code may run, and save_pretrained() it",
        )
    return ModelError(f"no weights: neither {WEIGHTS} nor {SHARDS}", where=str(folder), todo="copy the whole folder")


def _read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """(where the values begin, the entries)."""
    try:
        with path.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            beginning = content.read(len(LFS_POINTER))
            length = int.from_bytes(beginning[:8], "little")
            if beginning == LFS_POINTER:
                todo = "run `git lfs pull` in its folder, or copy the file itself"
                raise ModelError("is a Git LFS pointer and not the weights", where=str(path), todo=todo)
            if size < 8 or length > size - 8 or length > LARGEST_HEADER:
                raise _not_whole(f"its {size:,} bytes end within its header", str(path))
            content.seek(8)
            entries = json.loads(content.read(length))
    except ModelError:
        raise
    except (ValueError, RecursionError) as broken:
        raise _not_whole(f"its header is not JSON: {broken}", str(path)) from None
    except OSError as failure:
        raise ModelError(f"cannot be read: {failure.strerror or failure}", where=str(path)) from None
    if not isinstance(entries, dict):
        raise _not_whole("its header is no table of weights", str(path))
    entries.pop("__metadata__", None)
    end = 0
    for name, entry in sorted(entries.items(), key=_start):
        if problem := _problem(entry, end):
            raise _not_whole(f"{problem} in the entry of {name}", str(path))
        end = entry["data_offsets"][1]
    if 8 + length + end != size:
        raise _not_whole(f"it has {size:,} bytes, and its header describes {8 + length + end:,}", str(path))
    return 8 + length, entries


def _start(named: tuple[str, Any]) -> tuple[int, int]:
    offsets = named[1].get("data_offsets") if isinstance(named[1], dict) else None
    return (offsets[0], offsets[1]) if _sizes(offsets) and len(offsets) == 2 else (-1, -1)


def _problem(entry: Any, start: int) -> str:
    """What is wrong with the entry of a weight whose values should begin at `start`; "" for nothing."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or not _sizes(entry.get("shape")):
        return "no type or shape"
    offsets = entry.get("data_offsets")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] != start or offsets[1] < start:
        return f"data_offsets {offsets} instead of {start:,} and more"
    bits = BITS.get(entry["dtype"])
    if bits and math.prod(entry["shape"]) * bits != (offsets[1] - start) * 8:
        return f"{offsets[1] - start:,} bytes for {entry['dtype']} {entry['shape']}"
    return ""


def _sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _not_whole(why: str, where: str) -> ModelError:
    return ModelError(f"is not a whole safetensors file: {why[:300]}", where=where, todo="copy it again")
