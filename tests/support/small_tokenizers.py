"""Real tokenizers of the kinds that differ at a text's first space, trained on a few lines or read from a package.

Every kind has the pieces `:"` and `:-`, which straddle the end of a prompt that ends in a colon.
"""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.files import write_json

TEXT = [
    'She said:"yes", he said:"no", and they all said:"why not?"',
    "Ways to go there:- by train,- by bus,- on foot:- or not at all.",
    "Apples are red or green. Name two fruits, and list them below the line.\n\nApples\nPears",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "### Instruction:\nName a fruit.\n\n### Input:\nred and round\n\n### Response: An apple.\nInput: one\nOutput: two",
] * 3
SPECIALS = ["<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "<|bot|>"]
MISTRAL = "tokenizer.model.v1"


def _wrapped(backend: Any) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def byte_level(add_prefix_space: bool = False) -> Any:
    """A byte-level BPE of GPT-2's kind."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIALS, initial_alphabet=alphabet)
    )
    return _wrapped(backend)


def sentencepiece(scheme: str | None) -> Any:
    """A SentencePiece BPE with byte fallback, whose file puts a space before the `first` text alone (Llama-2 with
    legacy=False), before the text behind every control token (`always`, legacy=True), or `never`; None puts it by a
    normalizer, as the files of Llama-2 and Mistral 7B do.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme or "always")
    pieces = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=700, special_tokens=pieces))
    if scheme is None:
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    strip = [] if scheme == "never" else [decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return _wrapped(_without_byte_specials(backend))


def _without_byte_specials(backend: Any) -> Any:
    """The pieces of bytes as pieces of the vocabulary alone, not as special tokens that the trainer makes of them."""
    import json

    from tokenizers import Tokenizer

    rules = json.loads(backend.to_str())
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] in SPECIALS]
    return Tokenizer.from_str(json.dumps(rules))


def unigram() -> Any:
    """A Unigram model as T5's and XGLM's: white space is normalised, and every text has a space before it."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=SPECIALS, unk_token="<unk>")
    backend.train_from_iterator(TEXT, trainer)
    return _wrapped(backend)


def mistral_7b(folder: Path, **settings: Any) -> Any:
    """Mistral 7B's tokenizer, by transformers' class for Llama; skips where no mistral_common has its file."""
    from transformers import AutoTokenizer

    found = importlib.util.find_spec("mistral_common")
    if found is None or found.origin is None:
        pytest.skip("the tokenizer comes with vLLM (mistral_common), which is not installed")
    shutil.copy(Path(found.origin).parent / "data" / MISTRAL, folder / "tokenizer.model")
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", **specials, **settings})
    write_json(folder / "config.json", {"model_type": "llama"})
    return AutoTokenizer.from_pretrained(folder)


KINDS: dict[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "byte-level-prefix-space": lambda: byte_level(add_prefix_space=True),
    "sentencepiece-first": lambda: sentencepiece("first"),
    "sentencepiece-always": lambda: sentencepiece("always"),
    "sentencepiece-never": lambda: sentencepiece("never"),
    "sentencepiece-normalizer": lambda: sentencepiece(None),
    "unigram": unigram,
}
