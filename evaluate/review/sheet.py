"""The sheet that raters see (`sheet.json`) and the key that says which model wrote what (`key.json`).

The sheet holds texts under numbers; the key is a file of its own and is sent to no browser. Both are a pure function of
sources, n and seed (draw.py).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.errors import DataError, RunError
from pacos.extensions import REVIEW_KINDS
from pacos.files import read_object, write_json
from pacos.results import parse_result

RESTART = "start the review again by --out"


@dataclass(frozen=True, slots=True)
class SheetItem:
    """One screen. `answers` is the output (quality), one model's answer (rating), or two models' (pairwise)."""

    id: str
    instruction: str
    input: str
    reference: str
    answers: list[str]


@dataclass(frozen=True, slots=True)
class ItemSource:
    """Where an item comes from: the dataset's row or the suite's question, and the models that wrote its answers, in
    the order shown."""

    item: str
    sample: int
    stratum: str
    models: list[str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The items of one review and their key.

    `population` is how many tasks the sample was drawn from. In a pairwise review the first of `models` is the
    baseline.
    """

    kind: str
    name: str
    n: int
    seed: int
    population: int
    models: list[str]
    items: list[SheetItem]
    key: dict[str, ItemSource]


def write_sheet(folder: Path, sheet: Sheet) -> None:
    """Write sheet and key into the folder; does nothing where they are there already.

    Raises RunError where the folder holds another sheet, whose votes must not be mixed with this one's.
    """
    if (folder / "sheet.json").is_file():
        if (earlier := read_sheet(folder)) != sheet:
            changed = [name for name in ("n", "seed", "models") if getattr(earlier, name) != getattr(sheet, name)]
            before = ", ".join(f"{name} {getattr(earlier, name)}" for name in changed)
            raise RunError(
                f"a review was started here with {before or 'other texts at the same path'}",
                where=str(folder),
                todo="continue that one with its own sources and options, or start another review by --out",
            )
        return
    values = asdict(sheet)
    key = values.pop("key")
    write_json(folder / "key.json", {"models": values.pop("models"), "items": key})
    write_json(folder / "sheet.json", values)


def read_sheet(folder: Path) -> Sheet:
    """Read sheet and key. Raises DataError for files that are not a sheet and its key."""
    values, key = (read_object(folder / name, todo=RESTART) for name in ("sheet.json", "key.json"))
    whole = values | {"models": key.get("models"), "key": key.get("items")}
    sheet = parse_result(whole, Sheet, where=folder / "sheet.json", todo=RESTART)
    if sheet.kind not in REVIEW_KINDS:
        raise DataError(f"no kind of review is named {sheet.kind!r}", where=str(folder / "sheet.json"), todo=RESTART)
    for item in sheet.items:
        models = sheet.key[item.id].models if item.id in sheet.key else None
        written_by = len(item.answers) if sheet.models else 0
        if models is None or len(models) != written_by or not set(models) <= set(sheet.models):
            raise DataError(f"does not say who wrote item {item.id}", where=str(folder / "key.json"), todo=RESTART)
    return sheet
