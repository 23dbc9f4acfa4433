"""One word in, one word out: opposites, plurals, verb forms and their like."""

from demo.families.family import lookup, table_of

_OPPOSITES = table_of(
    "hot-cold big-small fast-slow happy-sad old-new long-short hard-soft full-empty high-low rich-poor "
    "open-closed early-late strong-weak light-dark clean-dirty wet-dry loud-quiet sweet-bitter near-far day-night"
)
_PLURALS = table_of(
    "mouse-mice child-children foot-feet tooth-teeth man-men woman-women goose-geese knife-knives leaf-leaves "
    "box-boxes bus-buses dish-dishes city-cities baby-babies wolf-wolves book-books chair-chairs dog-dogs "
    "apple-apples lamp-lamps"
)
_PAST = table_of(
    "go-went eat-ate see-saw buy-bought run-ran take-took give-gave write-wrote drink-drank sing-sang come-came "
    "make-made find-found sleep-slept swim-swam walk-walked play-played cook-cooked open-opened help-helped"
)
_COMPARATIVES = table_of(
    "tall-taller big-bigger small-smaller fast-faster slow-slower hot-hotter cold-colder good-better bad-worse "
    "happy-happier easy-easier strong-stronger old-older young-younger cheap-cheaper long-longer"
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
    lookup(
        "plural",
        "word",
        _PLURALS,
        "What is the plural of {word}?",
        "Write the plural form of the noun {word}.",
        "How do you call more than one {word}?",
    ),
    lookup(
        "past_form",
        "verb",
        _PAST,
        "What is the past tense of {verb}?",
        "Put the verb {verb} in the past.",
        "Today I {verb}. What is the verb for yesterday?",
    ),
    lookup(
        "comparative",
        "word",
        _COMPARATIVES,
        "What is the comparative of {word}?",
        "Complete with a form of {word}: this one is ... than that one.",
        "Give the form of {word} that goes before than.",
    ),
)
