"""GPT-2's pieces, over which ROUGE-L is taken on SuperNI's x-lingual track.

`gpt2/merges.txt.bz2` is `vocab.bpe` of GPT-2 as OpenAI released it (its licence lies beside it). The vocabulary follows
from it: the 256 bytes, then each merge joined.

`pacos export` copies this file and the merges next to its tasks, so it imports nothing of pacos.
"""

import bz2
import functools
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

MERGES = Path(__file__).parent / "gpt2" / "merges.txt.bz2"

# How GPT-2 writes a space at the beginning of a piece.
_SPACE = "Ġ"


def gpt2_pieces(text: str) -> list[str]:
    """The pieces of GPT-2's byte-level BPE, each without the spaces that it begins with.

    As `GPTTokenizer` in Tk-Instruct's compute_metrics.py: case and punctuation stay, and a piece that is nothing but
    spaces stays as "".
    """
    # JSON may hold half of a surrogate pair, which has no bytes.
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return [piece.lstrip(_SPACE) for piece in _tokenizer().encode(encodable, add_special_tokens=False).tokens]


@functools.cache
def _tokenizer() -> Tokenizer:
    lines = bz2.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines[1:])]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(first + second for first, second in merges)]
    tokenizer = Tokenizer(models.BPE({piece: id for id, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    return tokenizer
