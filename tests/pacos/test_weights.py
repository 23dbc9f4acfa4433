"""Files of weights that are cut, pointers, forged or of another kind, and those that are whole."""

import json
import resource
import signal
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pacos.errors import ModelError
from pacos.weights import disk_failures, header, read_tensors, weight_files


def whole(path: Path) -> Path:
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, path)
    return path


def forged(path: Path, entries: Any, values: bytes = b"\0" * 32) -> Path:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)
    return path


def test_a_whole_file_gives_its_weights_and_tensors(tmp_path: Path) -> None:
    path = whole(tmp_path / "model.safetensors")
    assert {name: (entry["dtype"], entry["shape"]) for name, entry in header(path).items()} == {
        "a": ("F32", [2, 3]),
        "b": ("BF16", [4]),
    }
    assert torch.equal(read_tensors(path)["a"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("left", [0, 7, 8, 60, -1, -20])
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, left: int) -> None:
    path = whole(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ModelError, match=r"model\.safetensors: is not a whole safetensors file"):
        read_tensors(path)


def test_bytes_behind_the_last_weight_are_refused(tmp_path: Path) -> None:
    path = whole(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="not a whole"):
        header(path)


def test_a_git_lfs_pointer_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"Git LFS pointer(?s:.*)git lfs pull"):
        header(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [8], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-8], "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [True] * 3, "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [8], "data_offsets": [4, 32]},
        {"dtype": "F32", "shape": [8], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [8], "data_offsets": "0-32"},
        {"dtype": 32, "shape": [8], "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [8]},
        ["F32", [8]],
        None,
    ],
)
def test_entries_that_contradict_the_file_are_refused(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(ModelError, match="not a whole"):
        header(forged(tmp_path / "model.safetensors", {"a": entry}))


def test_a_header_longer_than_safetensors_reads_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as content:
        content.write(struct.pack("<Q", 200_000_000))
        content.truncate(300_000_000)
    with pytest.raises(ModelError, match="not a whole"):
        header(path)


def test_a_folder_of_pickles_or_of_nothing_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="safetensors only"):
        weight_files(tmp_path)


def test_missing_shards_are_counted_and_one_is_named(tmp_path: Path) -> None:
    shards = {f"w{number}": f"model-{number}-of-3.safetensors" for number in (1, 2, 3)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    whole(tmp_path / shards["w1"])
    with pytest.raises(ModelError, match=r"2 of 3 shards are missing, model-2-of-3\.safetensors first"):
        weight_files(tmp_path)
    for broken in ("{", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'):
        index.write_text(broken, encoding="utf-8")
        with pytest.raises(ModelError, match="no index of shards"):
            weight_files(tmp_path)


def test_a_disk_that_takes_no_more_is_an_error_of_the_system(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(100_000)}
    path, limit = tmp_path / "large.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"), disk_failures():
            save_file(tensors, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    save_file(tensors, path)
    assert load_file(path)["a"].numel() == 100_000
