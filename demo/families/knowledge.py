"""Small facts about the world, the calendar and the numbers up to twenty, each a table."""

from demo.families.family import lookup, table_of, words_of
from demo.families.lexicon import CITIES, DAYS, MONTHS

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
_COUNTRIES = words_of("France Italy Spain Germany England Austria Portugal Norway Egypt Japan Greece Peru India Cuba")
_DAY_AFTER = dict(zip(DAYS, DAYS[1:] + DAYS[:1], strict=True))
_SEASONS = dict(
    zip(MONTHS, [*["winter"] * 2, *["spring"] * 3, *["summer"] * 3, *["autumn"] * 3, "winter"], strict=True)
)

FAMILIES = (
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
    lookup(
        "city_or_country",
        "place",
        dict.fromkeys(CITIES, "city") | dict.fromkeys(_COUNTRIES, "country"),
        "Is {place} a city or a country?",
        "Label the place {place} as city or country.",
        "A map shows {place}. Does it show a city or a country?",
    ),
    lookup(
        "day_after",
        "day",
        _DAY_AFTER,
        "Which day comes after {day}?",
        "Today is {day}. What day is tomorrow?",
        "Name the day that follows {day}.",
    ),
    lookup(
        "season",
        "month",
        _SEASONS,
        "Which season is {month} in?",
        "We travel north in {month}. What season is it there?",
        "Name the season of {month}.",
    ),
    lookup(
        "weekend",
        "day",
        {day: "yes" if day in ("Saturday", "Sunday") else "no" for day in DAYS},
        "Is {day} part of the weekend? Answer yes or no.",
        "Say yes if {day} is a weekend day and no if not.",
        "Do schools stay closed on a normal {day}, yes or no?",
    ),
    lookup(
        "even_or_odd",
        "number",
        {str(number): "odd" if number % 2 else "even" for number in range(1, 21)},
        "Is the number {number} even or odd?",
        "Label {number} as even or odd.",
        "Can {number} be halved? Answer even if so, odd if not.",
    ),
)
