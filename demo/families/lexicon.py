"""The words that the families share. Small on purpose: the base model has minutes to learn them."""

from random import Random

NAMES = (
    "Anna Ben Carla David Elena Frank Grace Hugo Irene Jack Karen Leo Maria Nora Oscar Paula Rita Sam Tina Victor "
    "Alice Bruno Clara Diego Emma Felix Gloria Henry Ivan Julia Kevin Laura Martin Nina Otto Peter Rosa Simon Tara "
    "Walter"
).split()

WOMEN = "Anna Carla Elena Grace Irene Karen Maria Nora Paula Rita Tina Alice Clara Emma Gloria Julia".split()
MEN = "Ben David Frank Hugo Jack Leo Oscar Sam Victor Bruno Diego Felix Henry Ivan Kevin Martin".split()

SURNAMES = "Smith Lopez Brown Rossi Weber Silva Young Costa Baker Novak Meyer Hill".split()

CITIES = (
    "Paris Rome Madrid Berlin London Vienna Lisbon Dublin Oslo Cairo Tokyo Athens Lima Delhi Boston Chicago Milan "
    "Geneva Prague Sydney"
).split()

JOBS = "teacher doctor farmer baker pilot nurse driver painter cook judge sailor gardener writer tailor".split()

CATEGORIES = {
    "animal": "dog cat cow horse sheep pig hen duck lion bear fox wolf rabbit mouse goat tiger".split(),
    "fruit": "apple pear banana orange lemon cherry grape peach plum mango".split(),
    "color": "red blue green yellow black white brown pink purple gray".split(),
    "tool": "hammer saw knife spoon brush needle shovel broom ladder drill".split(),
    "vehicle": "car bus train boat plane bike truck taxi ship tram".split(),
    "garment": "hat coat shirt scarf glove sock jacket skirt belt boot".split(),
}
CATEGORY_OF = {word: category for category, words in CATEGORIES.items() for word in words}

ANIMALS = CATEGORIES["animal"]
FRUITS = CATEGORIES["fruit"]
COLORS = CATEGORIES["color"]
TOOLS = CATEGORIES["tool"]
GARMENTS = CATEGORIES["garment"]
VEHICLES = CATEGORIES["vehicle"]

THINGS = (
    "book chair table lamp box cup plate bottle clock key phone bag mirror pencil letter blanket candle basket ring "
    "bell drum carpet window pillow radio wallet ticket camera bucket rope"
).split()

FOODS = "bread cheese rice soup milk honey salad fish cake tea coffee butter eggs pasta beans".split()

PLACES = "park market school station library museum garden kitchen office beach harbor hotel theater bakery".split()

EVENTS = "party wedding concert dinner picnic lesson meeting game".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

MONTHS = "January February March April May June July August September October November December".split()

NUMBER_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()

NOUNS = (*ANIMALS, *FRUITS, *TOOLS, *VEHICLES, *GARMENTS, *THINGS)

# Words of no table, for families that only copy: they keep the model from copying a closed list by heart.
SPARE = (
    "river cloud stone forest bridge garden winter summer silver gold paper sugar pepper engine doctor island valley "
    "desert ocean mountain street corner village palace castle tower wheel metal cotton leather shadow thunder storm "
    "rain snow wind fire smoke dust sand leaf root seed flower branch tree grass field farm barn fence gate roof wall "
    "floor door stairs hall room kitchen oven bowl fork glass bread dinner lunch table story poem song dance game "
    "ball team race coach prize coin bank money shop price market trade crown king queen prince soldier sword shield "
    "flag ship anchor sail captain pirate treasure cave dragon giant magic dream sleep night morning evening moon sun "
    "star planet rocket robot number letter word page school lesson student pencil chalk class friend family brother "
    "sister cousin uncle aunt baby child parent neighbor guest"
).split()

_SYLLABLES = "ba bo da de fi fo ga go ka ki la lo ma mi na no pa po ra ri sa so ta ti va vo za zu".split()


def coined(rng: Random) -> str:
    """A word of two or three syllables that no table holds."""
    count = rng.choice((2, 2, 3))
    return "".join(rng.choice(_SYLLABLES) for _ in range(count)) + rng.choice(("", "n", "x", "l"))
