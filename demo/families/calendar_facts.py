"""Days, months and hours."""

from random import Random

from demo.families.family import Family, Slots, lookup, words_of
from demo.families.lexicon import DAYS, MONTHS, NUMBER_WORDS

_DAY_AFTER = dict(zip(DAYS, DAYS[1:] + DAYS[:1], strict=True))
_DAY_BEFORE = {after: before for before, after in _DAY_AFTER.items()}
_MONTH_AFTER = dict(zip(MONTHS, MONTHS[1:] + MONTHS[:1], strict=True))
_MONTH_BEFORE = {after: before for before, after in _MONTH_AFTER.items()}
_SEASONS = dict(zip(MONTHS, words_of("winter winter spring spring spring summer summer summer"), strict=False)) | {
    "September": "autumn",
    "October": "autumn",
    "November": "autumn",
    "December": "winter",
}
_HOURS = NUMBER_WORDS[:12]
_HOUR_AFTER = dict(zip(_HOURS, _HOURS[1:] + _HOURS[:1], strict=True))


def _draw_shop_days(rng: Random) -> Slots:
    open_day, asked = rng.choice(DAYS), rng.choice(DAYS)
    return {"open": open_day, "asked": asked if rng.random() < 0.5 else open_day}


FAMILIES = (
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
    ),
    Family(
        "shop_open",
        (
            "The shop opens only on {open}. Is it open on {asked}? Answer yes or no.",
            "A museum opens its doors each {open}. Can we visit it on {asked}, yes or no?",
        ),
        _draw_shop_days,
        lambda slots: "yes" if slots["open"] == slots["asked"] else "no",
    ),
)
