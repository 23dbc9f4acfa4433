"""By which tokenizer a suite's ROUGE-L is taken: rouge_score's own, or GPT-2's for the x-lingual track.

rouge_score's knows a–z and 0–9 alone: the right answer in Hindi scores 0. So SuperNI's x-lingual track is scored over
GPT-2's pieces (Tk-Instruct `compute_metrics.py --track xlingual`), and so is any other suite of whose references
rouge_score's tokenizer misses most.
"""

from collections.abc import Iterable, Sequence

from pacos.config import SuiteConfig
from pacos.rouge import rouge_tokens
from pacos.superni.tasks import Suite
from pacos.words import is_beyond_rouge

DEFAULT = "default"
XLINGUAL = "xlingual"

# Instances of the official tracks: what is known of an evaluation that recorded neither track nor tokenizer.
DEFAULT_INSTANCES = 11_810
XLINGUAL_INSTANCES = 3_500

_BY_TRACK = {DEFAULT: "rouge", XLINGUAL: "gpt2"}


def suite_tokenizer(suite_config: SuiteConfig, suite: Suite) -> str:
    """The tokenizer that a suite is scored by: its own choice, else its track's, else what its references need."""
    if suite_config.tokenizer != "auto":
        return suite_config.tokenizer
    if suite.track == XLINGUAL:
        return "gpt2"
    return needed_tokenizer(one.references for one in suite.instances)


def answers_tokenizer(track: str | None, recorded: str, n_expected: int, references: Iterable[Sequence[str]]) -> str:
    """The tokenizer for answers that exist: that of the track if one is given, else the one recorded with them, else
    that of the official track of so many instances, else what their references need."""
    if track is not None:
        return _BY_TRACK[track]
    if recorded:
        return recorded
    return "gpt2" if n_expected == XLINGUAL_INSTANCES else needed_tokenizer(references)


def needed_tokenizer(references: Iterable[Sequence[str]]) -> str:
    """gpt2 where rouge_score's tokenizer misses most words of most references, else rouge."""
    worded = [text for texts in references for text in texts if any(map(str.isalnum, text))]
    return "gpt2" if 2 * sum(map(is_beyond_rouge, worded)) > len(worded) else "rouge"


def tokenizer_note(tokenizer: str, references: Iterable[Sequence[str]]) -> str:
    """What the scores' reader must know of their tokenizer; "" where rouge_score's finds words in all references."""
    if tokenizer == "gpt2":
        return "; ROUGE-L over GPT-2's pieces, as on the x-lingual track"
    lost = sum(not any(map(rouge_tokens, texts)) and any(map(is_beyond_rouge, texts)) for texts in references)
    if not lost:
        return ""
    return (
        f"; {lost:,} have no reference with a word of a–z, and score 0 whatever the answer: score them over GPT-2's "
        "pieces (`tokenizer: gpt2` of a suite, `--track xlingual` for a file)"
    )
