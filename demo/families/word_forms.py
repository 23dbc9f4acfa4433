"""One word in, one word out: opposites, plurals, verb forms and their like."""

from demo.families.family import lookup, table_of

_OPPOSITES = table_of(
    "hot-cold big-small fast-slow happy-sad old-new long-short hard-soft full-empty high-low rich-poor "
    "open-closed early-late strong-weak light-dark clean-dirty wet-dry loud-quiet sweet-bitter near-far day-night"
)

FAMILIES = (
    lookup(
        "opposite",
        "word",
        _OPPOSITES,
        "What is the opposite of {word}?",
        "Give a word that means the opposite of {word}.",
        "Which word is the reverse of {word} in meaning?",
    ),
)
