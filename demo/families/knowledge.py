"""Small facts about the world, each a table."""

from demo.families.family import lookup, table_of

_SOUNDS = table_of(
    "dog-bark cat-meow cow-moo sheep-baa horse-neigh lion-roar duck-quack pig-oink wolf-howl mouse-squeak "
    "bee-buzz owl-hoot snake-hiss"
)
_CAPITALS = table_of(
    "France-Paris Italy-Rome Spain-Madrid Germany-Berlin England-London Austria-Vienna Portugal-Lisbon "
    "Ireland-Dublin Norway-Oslo Egypt-Cairo Japan-Tokyo Greece-Athens Peru-Lima India-Delhi Cuba-Havana "
    "Kenya-Nairobi"
)
_CONTINENTS = table_of(
    "France-Europe Italy-Europe Norway-Europe Greece-Europe Egypt-Africa Kenya-Africa Ghana-Africa Japan-Asia "
    "India-Asia China-Asia Peru-America Brazil-America Mexico-America Cuba-America"
)
_COLORS = table_of(
    "grass-green snow-white blood-red coal-black sky-blue milk-white lemon-yellow carrot-orange chocolate-brown "
    "cherry-red banana-yellow elephant-gray"
)
_HOMES = table_of(
    "fish-water bird-nest bee-hive dog-kennel horse-stable spider-web cow-barn lion-den rabbit-burrow camel-desert "
    "monkey-jungle whale-ocean"
)
_WORKPLACES = table_of(
    "teacher-school doctor-hospital farmer-farm baker-bakery cook-kitchen judge-court sailor-ship pilot-plane "
    "gardener-garden waiter-restaurant actor-theater banker-bank"
)
_USES = table_of(
    "knife-cut pen-write broom-sweep hammer-hit shovel-dig needle-sew oven-bake telescope-look ladder-climb "
    "soap-wash brush-paint key-unlock"
)
_LEGS = table_of("dog-four hen-two spider-eight ant-six cat-four duck-two horse-four bee-six snake-zero fish-zero")
_MATERIALS = table_of(
    "window-glass book-paper ring-gold sweater-wool tire-rubber candle-wax shirt-cotton chair-wood nail-iron "
    "bottle-plastic bag-leather brick-clay"
)
_SOURCES = table_of("milk-cow egg-hen wool-sheep honey-bee silk-worm apple-tree bread-flour cheese-milk wine-grape")
_TASTES = table_of("lemon-sour honey-sweet sugar-sweet chips-salty coffee-bitter candy-sweet vinegar-sour pepper-hot")
_SENSES = table_of("see-eyes hear-ears smell-nose taste-tongue walk-legs chew-teeth clap-hands think-brain kick-foot")
_WORN_ON = table_of(
    "hat-head glove-hand sock-foot scarf-neck ring-finger belt-waist shoe-foot watch-wrist glasses-face earring-ear"
)
_TRAVELS = table_of("boat-water ship-water car-road bus-road train-rails plane-air balloon-air taxi-road sled-snow")
_MEALS = table_of("breakfast-morning lunch-noon dinner-evening snack-afternoon supper-evening")
_PARTS = table_of(
    "finger-hand toe-foot page-book wheel-car leaf-tree roof-house wing-bird petal-flower tail-dog key-piano "
    "letter-word day-week"
)
_SPORTS = table_of("ball-football racket-tennis glove-boxing skates-hockey board-surfing bat-baseball bike-cycling")
_WEATHER = table_of("umbrella-rain sunglasses-sun scarf-cold sled-snow kite-wind lantern-dark fan-heat")

FAMILIES = (
    lookup(
        "animal_sound",
        "animal",
        _SOUNDS,
        "What sound does a {animal} make?",
        "Which noise do we hear from a {animal}?",
        "A {animal} is loud on the farm. Name its sound.",
    ),
    lookup(
        "capital",
        "country",
        _CAPITALS,
        "What is the capital of {country}?",
        "Name the capital city of {country}.",
        "Which city does the government of {country} sit in?",
    ),
    lookup(
        "continent",
        "country",
        _CONTINENTS,
        "Which continent is {country} on?",
        "On which part of the world does {country} lie?",
        "Name the continent of {country}.",
    ),
    lookup(
        "color_of_thing",
        "thing",
        _COLORS,
        "What color is {thing}?",
        "Name the usual color of {thing}.",
        "A child paints {thing}. Which color is needed?",
    ),
    lookup(
        "animal_home",
        "animal",
        _HOMES,
        "Where does a {animal} live?",
        "Name the home of the {animal}.",
        "In what kind of place do you find a {animal}?",
    ),
    lookup(
        "workplace",
        "job",
        _WORKPLACES,
        "Where does a {job} work?",
        "Name the place where you meet a {job} at work.",
        "My aunt is a {job}. Where does she spend the day?",
    ),
    lookup(
        "use_of_tool",
        "tool",
        _USES,
        "What do you do with a {tool}?",
        "Which action is a {tool} made for?",
        "Name the verb for using a {tool}.",
    ),
    lookup(
        "material",
        "thing",
        _MATERIALS,
        "What is a {thing} made of?",
        "Which material do people use for a {thing}?",
        "Name the stuff that makes a {thing}.",
    ),
    lookup(
        "taste",
        "food",
        _TASTES,
        "How does {food} taste?",
        "Describe the taste of {food} in one word.",
        "What taste is in your mouth after {food}?",
    ),
    lookup(
        "body_part_for",
        "verb",
        _SENSES,
        "Which part of the body do we use to {verb}?",
        "What do people need to {verb}?",
        "Name the body part that helps you {verb}.",
    ),
    lookup(
        "worn_on",
        "garment",
        _WORN_ON,
        "Where on the body do you wear a {garment}?",
        "Name the body part for a {garment}.",
        "A shop sells a {garment}. Which body part is it for?",
    ),
)
