"""Reads the headers of safetensors files: names, types and shapes of weights, without loading them."""

import json
from pathlib import Path
from typing import Any

from pacos.errors import ModelError

FLOATS = ("F32", "F16", "BF16", "F64")


def header(path: Path) -> dict[str, Any]:
    """{weight: {dtype, shape, data_offsets}} of a safetensors file. Raises ModelError for a file that is none."""
    try:
        with path.open("rb") as content:
            size = int.from_bytes(content.read(8), "little")
            entries = json.loads(content.read(min(size, path.stat().st_size)))
    except (json.JSONDecodeError, UnicodeDecodeError) as broken:
        raise ModelError(f"is not a safetensors file, or cut short: {broken}", where=str(path)) from None
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}


def weight_heads(path: Path) -> dict[str, bytes]:
    """{name: type, shape and first bytes} of a safetensors file (its header: 8 bytes of length, then JSON)."""
    heads = {}
    with path.open("rb") as content:
        size = int.from_bytes(content.read(8), "little")
        for name, entry in header(path).items():
            start, end = entry["data_offsets"]
            content.seek(8 + size + start)
            heads[name] = json.dumps([entry["dtype"], entry["shape"]]).encode() + content.read(min(4096, end - start))
    return heads
