"""What the training benchmarks train: the 52,002 released Alpaca rows, a real 32K tokenizer, a Llama of random weights.

Speed and equality of losses need the shape of a model, not what it knows.
"""

import gzip
import importlib.util
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.result import SHARED_DATA
from pacos.files import write_json

ROWS = SHARED_DATA / "alpaca" / "alpaca_52k.jsonl.gz"


@dataclass(frozen=True)
class Shape:
    """A Llama's, by transformers' names."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    tie_word_embeddings: bool = False
    vocab_size: int = 32_000


LLAMA_30M = Shape(384, 1024, 10, 6, 6, tie_word_embeddings=True)
LLAMA_8B = Shape(4096, 14336, 32, 32, 8, vocab_size=128_256)


def write_rows(path: Path, count: int | None = None) -> Path:
    """The first `count` rows, or all, as the .jsonl that `train.data` reads. Exits where there are none."""
    if not ROWS.is_file():
        sys.exit(f"skipped: the Alpaca rows are not at {ROWS}; set PACOS_SHARED_DATA")
    with gzip.open(ROWS, "rt", encoding="utf-8") as rows:
        lines = rows.readlines()[:count]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_tokenizer(folder: Path) -> None:
    """Mistral 7B's SentencePiece vocabulary of 32,000, of Llama-2's kind; vLLM's dependency mistral_common has it."""
    found = importlib.util.find_spec("mistral_common")
    if found is None or found.origin is None:
        sys.exit("skipped: the tokenizer comes with vLLM (mistral_common): scripts/setup installs it")
    shutil.copy(Path(found.origin).parent / "data" / "tokenizer.model.v1", folder / "tokenizer.model")
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **specials}
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "config.json", {"model_type": "llama"})  # or it would not count as a model's folder


def write_base(folder: Path, shape: Shape, dtype: str = "bfloat16") -> Path:
    """A base model of random weights with the tokenizer beside it, as one from the hub."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    architecture = LlamaConfig(bos_token_id=1, eos_token_id=2, max_position_embeddings=4096, **asdict(shape))
    write_tokenizer(folder)
    LlamaForCausalLM(architecture).to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def experiment(folder: Path, base: Path, rows: Path, name: str, **train: Any) -> dict[str, Any]:
    """Values of a config that trains on `rows`, response tokens alone, LoRA on every linear layer."""
    values = {"data": [{"path": str(rows)}], "lora": {"r": 16, "alpha": 32}, **train}
    return {"name": name, "runs_dir": str(folder / "runs"), "model": {"base": str(base)}, "train": values}
