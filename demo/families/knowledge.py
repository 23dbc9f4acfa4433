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
_COLORS = table_of(
    "grass-green snow-white blood-red coal-black sky-blue milk-white lemon-yellow carrot-orange chocolate-brown "
    "cherry-red banana-yellow elephant-gray"
)
_WORKPLACES = table_of(
    "teacher-school doctor-hospital farmer-farm baker-bakery cook-kitchen judge-court sailor-ship pilot-plane "
    "gardener-garden waiter-restaurant actor-theater banker-bank"
)

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
        "color_of_thing",
        "thing",
        _COLORS,
        "What color is {thing}?",
        "Name the usual color of {thing}.",
        "A child paints {thing}. Which color is needed?",
    ),
    lookup(
        "workplace",
        "job",
        _WORKPLACES,
        "Where does a {job} work?",
        "Name the place where you meet a {job} at work.",
        "My aunt is a {job}. Where does she spend the day?",
    ),
)
