"""What raters see, and the key that says which model wrote what. Both are a pure function of sources, n and seed.

The sheet (`sheet.json`) holds texts under numbers; the key (`key.json`) lies apart and goes to no browser. Tasks are
drawn by systematic sampling over the sorted strata: each is equally likely, and every stratum gets its share but for
one. They are shown in random order, so that whoever stops early has rated a random sample as well.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.errors import DataError, RunError
from pacos.evaluate.judge.answers import Answer, read_answers
from pacos.evaluate.review.questions import ReviewKind
from pacos.records import parse_task, read_object, read_rows, write_json

AGAIN = "start the review again by --out"


@dataclass(frozen=True, slots=True)
class Item:
    """One screen. `answers` is the output (quality), one model's answer (rating), or two models' (pairwise)."""

    id: str
    instruction: str
    input: str
    reference: str
    answers: list[str]


@dataclass(frozen=True, slots=True)
class Source:
    """Of an item: the dataset's row or the suite's question, and the models that wrote its answers, in their order."""

    item: str
    sample: int
    stratum: str
    models: list[str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """`population` is how many tasks the sample was drawn from. In pairwise the first of `models` is the baseline."""

    kind: ReviewKind
    name: str
    n: int
    seed: int
    population: int
    models: list[str]
    items: list[Item]
    key: dict[str, Source]


def draw(kind: ReviewKind, paths: Sequence[Path], *, n: int, seed: int, suite: Path | None = None) -> Sheet:
    """A sheet of `n` tasks of a dataset (quality), or of `n` questions with the answers of every model.

    Raises DataError: no tasks, one model in pairwise, models that answer different questions.
    """
    if kind == "quality":
        return _draw_tasks(paths, n, seed)
    answers = read_answers(paths, suite)
    if kind == "pairwise" and len(answers.models) < 2:
        raise DataError("a comparison needs two models or more", todo="name the evaluations of two models")
    questions = _by_question(answers.answers, answers.models)
    chance = random.Random(seed)
    chosen = _shuffled(stratified([group[0].category for group in questions], n, chance), chance)
    rows: list[tuple[Source, list[Answer]]] = []
    for position in chosen:
        rows += _single(questions[position], chance) if kind == "rating" else _pairs(questions[position], chance)
    items = [
        Item(_number(index), shown[0].instruction, shown[0].input, shown[0].reference, [one.text for one in shown])
        for index, (_, shown) in enumerate(rows, 1)
    ]
    key = {item.id: source for item, (source, _) in zip(items, rows, strict=True)}
    return Sheet(kind, answers.suite, n, seed, len(questions), answers.models, items, key)


def _draw_tasks(paths: Sequence[Path], n: int, seed: int) -> Sheet:
    files = [path / "dataset.jsonl" if path.is_dir() else path for path in paths]
    tasks, sources = [], []
    for file in files:
        for number, (where, values) in enumerate(read_rows(file), 1):
            task = parse_task(values, where=where)
            stratum = f"{values.get('is_classification', 'unknown')}, {'input' if task.input else 'no input'}"
            tasks.append(task)
            sources.append(Source(str(values.get("id") or f"{file.name}:{number}"), 0, stratum, []))
    if not tasks:
        raise DataError("holds no tasks", where=", ".join(map(str, paths)), todo="generate some first")
    chance = random.Random(seed)
    chosen = _shuffled(stratified([source.stratum for source in sources], n, chance), chance)
    items = [
        Item(_number(index), tasks[position].instruction, tasks[position].input, "", [tasks[position].output])
        for index, position in enumerate(chosen, 1)
    ]
    key = {item.id: sources[position] for item, position in zip(items, chosen, strict=True)}
    return Sheet("quality", paths[0].stem, n, seed, len(tasks), [], items, key)


def stratified(strata: Sequence[str], n: int, chance: random.Random) -> list[int]:
    """Positions of `n` of them, without repetition; all where there are no more."""
    ties = [chance.random() for _ in strata]
    order = sorted(range(len(strata)), key=lambda position: (strata[position], ties[position]))
    if n >= len(order):
        return order
    step = len(order) / n
    start = chance.random() * step
    return [order[min(int(start + index * step), len(order) - 1)] for index in range(n)]


def _shuffled(positions: Sequence[int], chance: random.Random) -> list[int]:
    return chance.sample(positions, len(positions))


def _by_question(answers: Sequence[Answer], models: Sequence[str]) -> list[list[Answer]]:
    """One list per question, of every model's answer in the order of `models`."""
    groups: dict[tuple[str, int], dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        groups[answer.item, answer.sample][answer.model] = answer
    for (item, _), group in groups.items():
        if absent := [model for model in models if model not in group]:
            raise DataError(f"{item!r} is not answered by {absent[0]!r}", todo="name answers to the same questions")
        if len({(answer.instruction, answer.input) for answer in group.values()}) > 1:
            raise DataError(f"{item!r} is another question for another model", todo="give questions ids of their own")
    return [[group[model] for model in models] for _, group in sorted(groups.items())]


def _single(group: Sequence[Answer], chance: random.Random) -> list[tuple[Source, list[Answer]]]:
    return [(_source(group, [one]), [one]) for one in chance.sample(group, len(group))]


def _pairs(group: Sequence[Answer], chance: random.Random) -> list[tuple[Source, list[Answer]]]:
    """Every model against the first, sides and order at random."""
    pairs = [chance.sample([group[0], other], 2) for other in chance.sample(group[1:], len(group) - 1)]
    return [(_source(group, pair), pair) for pair in pairs]


def _source(group: Sequence[Answer], shown: Sequence[Answer]) -> Source:
    return Source(group[0].item, group[0].sample, group[0].category, [answer.model for answer in shown])


def _number(index: int) -> str:
    return f"{index:04}"


def keep(folder: Path, sheet: Sheet) -> None:
    """Write sheet and key into the folder; votes on another sheet are not mixed with this one's.

    Raises RunError where the folder holds another sheet.
    """
    if (folder / "sheet.json").is_file():
        if (earlier := read_sheet(folder)) != sheet:
            changed = [name for name in ("n", "seed", "models") if getattr(earlier, name) != getattr(sheet, name)]
            was = ", ".join(f"{name} {getattr(earlier, name)}" for name in changed)
            raise RunError(
                f"a review was begun here with {was or 'other texts in the same place'}",
                where=str(folder),
                todo="go on with that, or start another review by --out",
            )
        return
    values = asdict(sheet)
    key = values.pop("key")
    write_json(folder / "key.json", {"models": values.pop("models"), "items": key})
    write_json(folder / "sheet.json", values)


def read_sheet(folder: Path) -> Sheet:
    """Raises DataError for files that are not a sheet and its key."""
    values, key = (read_object(folder / name, todo=AGAIN) for name in ("sheet.json", "key.json"))
    try:
        items = [Item(**item) for item in values.pop("items")]
        sources = {name: Source(**source) for name, source in key["items"].items()}
        return Sheet(**values, models=key["models"], items=items, key=sources)
    except (TypeError, KeyError, AttributeError) as broken:
        raise DataError(f"not a sheet and its key: {broken}", where=str(folder)) from None
