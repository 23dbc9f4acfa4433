"""The words that the families share. Small on purpose: the base model has minutes to learn them."""

from demo.families.family import words_of

WOMEN = words_of("Anna Carla Elena Grace Irene Karen Maria Nora Paula Rita Tina Alice")
MEN = words_of("Ben David Frank Hugo Jack Leo Oscar Sam Victor Bruno Felix Peter")
NAMES = (*WOMEN, *MEN)

SURNAMES = words_of("Smith Lopez Brown Rossi Weber Silva Young Costa Baker Novak Meyer Hill")

CITIES = words_of(
    "Paris Rome Madrid Berlin London Vienna Lisbon Dublin Oslo Cairo Tokyo Athens Lima Delhi Boston Chicago Milan "
    "Geneva Prague Sydney"
)

JOBS = words_of("teacher doctor farmer baker pilot nurse driver painter cook judge sailor gardener writer tailor")

CATEGORIES = {
    "animal": words_of("dog cat cow horse sheep pig hen duck lion bear fox wolf rabbit mouse goat tiger"),
    "fruit": words_of("apple pear banana orange lemon cherry grape peach plum mango"),
    "color": words_of("red blue green yellow black white brown pink purple gray"),
    "tool": words_of("hammer saw knife spoon brush needle shovel broom ladder drill"),
    "vehicle": words_of("car bus train boat plane bike truck taxi ship tram"),
    "garment": words_of("hat coat shirt scarf glove sock jacket skirt belt boot"),
}

ANIMALS = CATEGORIES["animal"]
FRUITS = CATEGORIES["fruit"]
COLORS = CATEGORIES["color"]
TOOLS = CATEGORIES["tool"]
GARMENTS = CATEGORIES["garment"]
VEHICLES = CATEGORIES["vehicle"]

THINGS = words_of(
    "book chair table lamp box cup plate bottle clock key phone bag mirror pencil letter blanket candle basket ring "
    "bell drum carpet window pillow radio wallet ticket camera bucket rope"
)

FOODS = words_of("bread cheese rice soup milk honey salad fish cake tea coffee butter eggs pasta beans")

PLACES = words_of("park market school station library museum garden kitchen office beach harbor hotel theater bakery")

DAYS = words_of("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

MONTHS = words_of("January February March April May June July August September October November December")

NOUNS = (*ANIMALS, *FRUITS, *TOOLS, *VEHICLES, *GARMENTS, *THINGS)

# Words of no table, for families that only copy: they keep the model from copying a closed list by heart.
SPARE = words_of(
    "river cloud stone forest bridge island valley ocean mountain street village castle tower wheel metal thunder "
    "smoke dust leaf root seed flower branch field barn fence gate roof wall floor stairs oven bowl poem song ball "
    "prize coin crown sword shield flag anchor sail pirate treasure cave dragon robot planet rocket page chalk baby "
    "parent guest"
)
