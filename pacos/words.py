"""Which words of a text ROUGE-L compares: rouge_score's tokens, or words of any script where these miss most of a text.

rouge_score knows a–z and 0–9 alone. A Hindi text has no token for it, and one with a number in it has that number
alone: such texts would be copies of none, or of every text with the same number.
"""

import re
from collections.abc import Callable, Iterable

from pacos.results.figures import Tokenization
from pacos.rouge import rouge_tokens, unicode_tokens

# Zero-width and bidirectional format characters, and the soft hyphen: they show nothing, and may split a word in two.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")


def visible(text: str) -> str:
    """The text without characters that show nothing, so that words are the same with them and without."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def is_beyond_rouge(text: str) -> bool:
    """Whether rouge_score's tokens are less than half of the text's words, as in every script but Latin."""
    return not text.isascii() and 2 * len(rouge_tokens(text)) < len(unicode_tokens(text))


def auto_tokens(text: str) -> list[str]:
    """The text's `rouge_tokens`, or its `unicode_tokens` where it is beyond these."""
    return unicode_tokens(text) if is_beyond_rouge(text) else rouge_tokens(text)


# By the names that options give them.
TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "auto": auto_tokens,
    "rouge": rouge_tokens,
    "unicode": unicode_tokens,
}


def word_count(text: str, tokenizer: str = "auto") -> int:
    """Words between white space, as the papers count them, or `unicode_tokens` where the tokenizer takes these: not
    every script has spaces."""
    by_unicode = tokenizer == "unicode" or (tokenizer == "auto" and is_beyond_rouge(text))
    return len(unicode_tokens(text) if by_unicode else text.split())


def tokenization(texts: Iterable[str], tokenizer: str) -> Tokenization:
    """How `texts` are split by the tokenizer of that name (TOKENIZERS)."""
    worded = [text for text in texts if any(map(str.isalnum, text))]
    beyond = sum(map(is_beyond_rouge, worded))
    by_unicode = {"auto": beyond, "rouge": 0, "unicode": len(worded)}[tokenizer]
    used = "rouge" if not by_unicode else "unicode" if by_unicode == len(worded) else "rouge and unicode"
    return Tokenization(used, len(worded), by_unicode, beyond if tokenizer == "rouge" else 0)
