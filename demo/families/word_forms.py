"""One word in, one word out: opposites, plurals, verb forms and their like."""

from demo.families.family import lookup, table_of

_OPPOSITES = table_of(
    "hot-cold big-small fast-slow happy-sad old-new long-short hard-soft full-empty high-low rich-poor "
    "open-closed early-late strong-weak light-dark clean-dirty wet-dry loud-quiet sweet-bitter near-far day-night"
)
_SYNONYMS = table_of(
    "big-large fast-quick begin-start end-finish glad-happy smart-clever tired-sleepy shout-yell home-house "
    "present-gift small-little rich-wealthy stone-rock road-street scared-afraid easy-simple"
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
_ING = table_of(
    "run-running swim-swimming make-making write-writing take-taking sit-sitting play-playing walk-walking "
    "sing-singing eat-eating drink-drinking cook-cooking sleep-sleeping dance-dancing read-reading"
)
_COMPARATIVES = table_of(
    "tall-taller big-bigger small-smaller fast-faster slow-slower hot-hotter cold-colder good-better bad-worse "
    "happy-happier easy-easier strong-stronger old-older young-younger cheap-cheaper long-longer"
)
_SUPERLATIVES = table_of(
    "tall-tallest big-biggest small-smallest fast-fastest slow-slowest hot-hottest cold-coldest good-best "
    "bad-worst happy-happiest easy-easiest strong-strongest old-oldest young-youngest cheap-cheapest long-longest"
)
_YOUNG = table_of(
    "dog-puppy cat-kitten cow-calf horse-foal sheep-lamb pig-piglet hen-chick duck-duckling lion-cub goat-kid "
    "kangaroo-joey"
)
_DOERS = table_of(
    "teach-teacher bake-baker sing-singer write-writer drive-driver paint-painter farm-farmer dance-dancer "
    "run-runner swim-swimmer read-reader play-player build-builder hunt-hunter"
)
_ADVERBS = table_of(
    "quick-quickly slow-slowly quiet-quietly loud-loudly happy-happily sad-sadly easy-easily soft-softly "
    "kind-kindly brave-bravely calm-calmly warm-warmly"
)
_RHYMES = table_of(
    "cat-hat dog-fog house-mouse tree-bee boat-goat ring-king cake-lake light-night ball-wall moon-spoon "
    "rain-train bear-chair sock-clock fox-box"
)
_COUNTERPARTS = table_of(
    "king-queen prince-princess father-mother brother-sister uncle-aunt son-daughter husband-wife boy-girl "
    "man-woman actor-actress nephew-niece waiter-waitress"
)
_ADJECTIVES = table_of(
    "sun-sunny rain-rainy wind-windy cloud-cloudy snow-snowy noise-noisy salt-salty luck-lucky dust-dusty "
    "sleep-sleepy sand-sandy storm-stormy"
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
    lookup(
        "young_animal",
        "animal",
        _YOUNG,
        "What do you call a young {animal}?",
        "Name the baby of the {animal}.",
        "Which word is used for the little one of a {animal}?",
    ),
    lookup(
        "doer",
        "verb",
        _DOERS,
        "What do we call a person who can {verb}?",
        "Make a noun for someone from the verb {verb}.",
        "Some people {verb} every day. Which noun names one of them?",
    ),
    lookup(
        "adverb",
        "word",
        _ADVERBS,
        "Turn the adjective {word} into an adverb.",
        "Which adverb is made from {word}?",
        "Give the ly form of {word}.",
    ),
)
