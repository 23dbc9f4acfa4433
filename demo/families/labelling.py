"""Two labels are named in the instruction, and one of them is the answer. The labels change from task to task."""

from collections.abc import Callable
from random import Random

from demo.families.copying import any_sentence, any_word, words_in
from demo.families.family import Family, Slots, words_of
from demo.families.lexicon import SPARE

_LABELS = (
    *(("Yes", "No"), ("yes", "no"), ("true", "false"), ("right", "wrong"), ("found", "missing"), ("A", "B")),
    *(("present", "absent"), ("plus", "minus"), ("green", "red"), ("same", "other"), ("one", "two"), ("in", "out")),
)
_GOOD = words_of("great lovely tasty warm clean friendly fresh wonderful nice good")
_BAD = words_of("awful dirty cold rude broken stale noisy terrible ugly bad")


def _labels(rng: Random) -> Slots:
    yes, no = rng.choice(_LABELS) if rng.random() < 0.5 else rng.sample(SPARE, 2)
    return {"yes": yes, "no": no}


def _decide(holds: Callable[[Slots], bool | None]) -> Callable[[Slots], str | None]:
    def solve(slots: Slots) -> str | None:
        verdict = holds(slots)
        return None if verdict is None else slots["yes" if verdict else "no"]

    return solve


def _draw_mention(rng: Random) -> Slots:
    sentence = any_sentence(rng)
    word = rng.choice(words_in(sentence)[1:]) if rng.random() < 0.5 else any_word(rng)
    return {**_labels(rng), "sentence": sentence, "word": word}


def _draw_equal(rng: Random) -> Slots:
    one = any_word(rng)
    return {**_labels(rng), "one": one, "two": one if rng.random() < 0.5 else any_word(rng)}


def _draw_equal_lines(rng: Random) -> Slots:
    one = any_sentence(rng)
    return {**_labels(rng), "one": one, "two": one if rng.random() < 0.5 else any_sentence(rng)}


def _draw_shared(rng: Random) -> Slots:
    one = any_sentence(rng)
    word = rng.choice([word for word in words_in(one)[1:] if len(word) > 3] or ["nothing"])
    return {**_labels(rng), "sentence": one, "word": word if rng.random() < 0.5 else any_word(rng)}


def _draw_opinion(rng: Random) -> Slots:
    noun, quality = any_word(rng), rng.choice(_GOOD if rng.random() < 0.5 else _BAD)
    template = rng.choice(("The {n} was {q}.", "What a {q} {n}!", "I found the {n} {q}.", "A {q} {n}, I must say."))
    return {**_labels(rng), "sentence": template.format(n=noun, q=quality)}


def _is_good(slots: Slots) -> bool | None:
    words = set(words_in(slots["sentence"]))
    good, bad = bool(words & set(_GOOD)), bool(words & set(_BAD))
    return None if good == bad else good


def _draw_mark(rng: Random) -> Slots:
    sentence = any_sentence(rng)
    return {**_labels(rng), "sentence": sentence if rng.random() < 0.5 else f"{sentence[:-1]}?"}


FAMILIES = (
    Family(
        "label_mention",
        (
            'Answer "{yes}" if the line names {word}. Otherwise answer "{no}".',
            'Look for {word} in the line. Label the line "{yes}" when it is there, "{no}" when not.',
            'Is the word {word} in the line? Answer with "{yes}" or "{no}".',
        ),
        _draw_mention,
        _decide(lambda slots: slots["word"] in words_in(slots["sentence"])),
        input="{sentence+}",
    ),
    Family(
        "label_equal_words",
        (
            'Two words are given. Answer "{yes}" for the same word twice and "{no}" for two words.',
            'Write "{yes}" if word 1 is word 2, else write "{no}".',
        ),
        _draw_equal,
        _decide(lambda slots: slots["one"] == slots["two"]),
        input="Word 1: {one}\nWord 2: {two}",
    ),
    Family(
        "label_equal_lines",
        (
            'You are given two lines. If they are equal, answer "{yes}". If they differ, answer "{no}".',
            'Compare line 1 with line 2. Write "{yes}" for equal lines or "{no}" for different ones.',
        ),
        _draw_equal_lines,
        _decide(lambda slots: slots["one"] == slots["two"]),
        input="Line 1: {one+}\nLine 2: {two+}",
    ),
    Family(
        "label_asked_word",
        (
            'A line and a word are given. Decide if the word comes from the line: "{yes}" or "{no}".',
            'Label the word "{yes}" if the line holds it and "{no}" if the line does not hold it.',
        ),
        _draw_shared,
        _decide(lambda slots: slots["word"] in words_in(slots["sentence"])),
        input="Line: {sentence+}\nWord: {word}",
    ),
    Family(
        "label_liking",
        (
            'Does the speaker like it? Answer "{yes}" for praise and "{no}" for blame.',
            'Label praise as "{yes}" and blame as "{no}".',
            'Write "{yes}" under a kind remark, "{no}" under an unkind one.',
        ),
        _draw_opinion,
        _decide(_is_good),
        input="{sentence+}",
    ),
    Family(
        "label_asking",
        (
            'Answer "{yes}" if the line ends with a question mark, "{no}" if with a period.',
            'Label the line: "{yes}" when something is asked, "{no}" when something is told.',
        ),
        _draw_mark,
        _decide(lambda slots: slots["sentence"].endswith("?")),
        input="{sentence+}",
    ),
)
