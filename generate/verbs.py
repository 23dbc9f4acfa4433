"""The root verb of an instruction and the noun it acts on: "Write a short story about bees." → (write, story).

With a spaCy model installed, Self-Instruct's own way: the root verb of the first sentence's parse and its direct
object. Otherwise rules on lemminflect's offline lexicon, which handle imperatives but no questions.
"""

import functools
import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import Any

VerbNoun = tuple[str, str]

SPACY_MODELS = ("en_core_web_md", "en_core_web_sm", "en_core_web_lg", "en_core_web_trf")

_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*|[^\sA-Za-z]")
_FIRST_SENTENCE = re.compile(r".*?(?:[.!?](?=\s|$)|\n|$)", re.DOTALL)
_BEFORE_VERB = {"please", "can", "could", "would", "you", "now", "also", "then", "kindly", "help", "me"}
_RECEIVERS = {"me", "us", "him", "her", "them", "it", "someone"}
# Words that end the noun phrase after a verb.
_ENDS = """
about above across after against along among and around as at based because before behind below between by
containing describing during explaining for from given has have how if in including inside into is are like
near of on onto or out over per should since so than that then through to toward under until up down off away
together using via what when where which while who whose why with within without
"""
_OBJECT_ENDS = frozenset(_ENDS.split())


def verb_noun_extractor() -> tuple[str, Callable[[Sequence[str]], list[VerbNoun | None]]]:
    """The extractor's name as reported, and the extractor: a pair or None for each instruction."""
    if importlib.util.find_spec("spacy"):
        for model in SPACY_MODELS:
            if importlib.util.find_spec(model):
                return f"spaCy {model}", functools.partial(_parsed_pairs, model)
    return "rules on lemminflect's lexicon", lambda texts: [verb_noun(text) for text in texts]


def verb_noun(instruction: str) -> VerbNoun | None:
    """By rules: an imperative's verb and the head of the noun phrase right after it."""
    sentence = _FIRST_SENTENCE.match(instruction.strip())
    words = _WORD.findall(sentence[0].lower()) if sentence else []
    if words and words[0] in ("given", "using", "based", "considering", "imagine") and "," in words:
        words = words[words.index(",") + 1 :]
    while words and words[0] in _BEFORE_VERB:
        words = words[1:]
    if not words or not _is_base_verb(words[0]):
        return None
    noun = _object(words[1:])
    return (words[0], noun) if noun else None


def _object(words: Sequence[str]) -> str | None:
    if words and words[0] in _RECEIVERS:
        words = words[1:]
    phrase: list[str] = []
    for word in words:
        if word in _OBJECT_ENDS or not (word[0].isalpha() or word[0].isdigit()):
            break
        phrase.append(word)
    return next((lemma for word in reversed(phrase) if (lemma := _noun(word))), None)


def _is_base_verb(word: str) -> bool:
    from lemminflect import getAllLemmas

    return word in getAllLemmas(word, upos="VERB").get("VERB", ())


def _noun(word: str) -> str | None:
    from lemminflect import getAllLemmas

    lemmas: tuple[str, ...] = getAllLemmas(word, upos="NOUN").get("NOUN", ())
    return lemmas[0] if lemmas else None


def _parsed_pairs(model: str, texts: Sequence[str]) -> list[VerbNoun | None]:
    import spacy

    parser = spacy.load(model)
    return [_parsed_pair(document) for document in parser.pipe(texts)]


def _parsed_pair(document: Any) -> VerbNoun | None:
    root = next(iter(document.sents)).root if len(document) else None
    if root is None or root.pos_ != "VERB":
        return None
    nouns = [child.lemma_.lower() for child in root.children if child.dep_ in ("dobj", "obj") and child.pos_ == "NOUN"]
    return (root.lemma_.lower(), nouns[0]) if nouns else None
