"""Draws the sample that raters see, from sources, n and a seed.

Tasks are drawn by systematic sampling over the sorted strata: each is equally likely, and every stratum gets its share
to within one. They are shown in random order, so that a rater who stops early has rated a random sample as well.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.judge.answers import AnswerSet, JudgedAnswer
from pacos.evaluate.review.sheet import ItemSource, Sheet, SheetItem
from pacos.files import read_rows
from pacos.records import parse_task, tasks_file

# The answers to one question, the first model's first → those shown on each screen, in random order.
Arrangement = Callable[[Sequence[JudgedAnswer], random.Random], list[list[JudgedAnswer]]]


def draw_tasks(kind: str, paths: Sequence[Path], *, n: int, seed: int) -> Sheet:
    """Return a sheet of `n` tasks of Alpaca-format datasets. Raises DataError where there are none."""
    files = [tasks_file(path) for path in paths]
    tasks, sources = [], []
    for file in files:
        for number, (where, values) in enumerate(read_rows(file), 1):
            task = parse_task(values, where=where)
            stratum = f"{values.get('is_classification', 'unknown')}, {'input' if task.input else 'no input'}"
            tasks.append(task)
            sources.append(ItemSource(str(values.get("id") or f"{file.name}:{number}"), 0, stratum, []))
    if not tasks:
        raise DataError("holds no tasks", where=", ".join(map(str, paths)), todo="generate some first")
    chosen = _draw([source.stratum for source in sources], n, random.Random(seed))
    items = [
        SheetItem(_number(index), tasks[position].instruction, tasks[position].input, "", [tasks[position].output])
        for index, position in enumerate(chosen, 1)
    ]
    key = {item.id: sources[position] for item, position in zip(items, chosen, strict=True)}
    return Sheet(kind, paths[0].stem, n, seed, len(tasks), [], items, key)


def draw_answers(kind: str, answers: AnswerSet, arrange: Arrangement, *, n: int, seed: int) -> Sheet:
    """Return a sheet of `n` questions with the answers of every model.

    Raises DataError for models that answer different questions.
    """
    questions = _by_question(answers)
    chance = random.Random(seed)
    items: list[SheetItem] = []
    key: dict[str, ItemSource] = {}
    for position in _draw([group[0].category for group in questions], n, chance):
        first = questions[position][0]
        for shown in arrange(questions[position], chance):
            texts = [one.text for one in shown]
            item = SheetItem(_number(len(items) + 1), shown[0].instruction, shown[0].input, shown[0].reference, texts)
            items.append(item)
            key[item.id] = ItemSource(first.item, first.sample, first.category, [one.model for one in shown])
    return Sheet(kind, answers.suite, n, seed, len(questions), answers.models, items, key)


def stratified(strata: Sequence[str], n: int, chance: random.Random) -> list[int]:
    """Return `n` positions drawn without repetition in proportion to the strata; all where there are no more."""
    ties = [chance.random() for _ in strata]
    order = sorted(range(len(strata)), key=lambda position: (strata[position], ties[position]))
    if n >= len(order):
        return order
    step = len(order) / n
    start = chance.random() * step
    return [order[min(int(start + index * step), len(order) - 1)] for index in range(n)]


def _draw(strata: Sequence[str], n: int, chance: random.Random) -> list[int]:
    positions = stratified(strata, n, chance)
    return chance.sample(positions, len(positions))


def _by_question(answers: AnswerSet) -> list[list[JudgedAnswer]]:
    """One list per question, of every model's answer in the order of the models."""
    groups: dict[tuple[str, int], dict[str, JudgedAnswer]] = defaultdict(dict)
    for answer in answers.answers:
        groups[answer.item, answer.sample][answer.model] = answer
    models = answers.models
    for (item, _), group in groups.items():
        if absent := [model for model in models if model not in group]:
            raise DataError(f"{item!r} is not answered by {absent[0]!r}", todo="name answers to the same questions")
        if len({(answer.instruction, answer.input) for answer in group.values()}) > 1:
            raise DataError(f"{item!r} is a different question for another model", todo="give each question its own id")
    return [[group[model] for model in models] for _, group in sorted(groups.items())]


def _number(index: int) -> str:
    return f"{index:04}"
