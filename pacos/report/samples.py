"""Answers side by side, for the report: of every category one, then those where a model moved furthest from the base.

What is shown is cut at SHOWN characters, with how much is left out; the whole text is in `predictions.jsonl`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pacos.errors import PacosError
from pacos.records import Prediction, read_records

EXTREMES = 4
SHOWN = 3000

Key = tuple[str, str]
Values = dict[str, Any]


def side_by_side(folders: Mapping[str, Path], suite: str) -> dict[str, list[Values]]:
    """{title: [{task, instance, category, definition, input, references, answers: [{name, text, rougeL}]}]}

    `folders` are `eval/<label>/` by the model's name, the base's first. Raises DataError for broken predictions.
    """
    answers = {
        name: {(row.task, row.instance): row for row in read_records(folder / "predictions.jsonl", Prediction)}
        for name, folder in folders.items()
    }
    names = list(answers)
    base = answers[names[0]]
    questions = _questions(next(iter(folders.values())), suite)
    order = [key for key in questions if key in base] or sorted(base)

    def samples(keys: Sequence[Key]) -> list[Values]:
        return [_sample(key, answers, questions.get(key, ("", ""))) for key in keys]

    first = {base[key].category: key for key in reversed(order)}
    found = {"First of each category": samples([first[category] for category in sorted(first)])}
    if len(names) > 1:
        moved = sorted(order, key=lambda key: answers[names[1]][key].rougeL - base[key].rougeL)
        found[f"Where {names[1]} gained most"] = samples(moved[: -EXTREMES - 1 : -1])
        found[f"Where {names[1]} lost most"] = samples(moved[:EXTREMES])
    return found


def _sample(key: Key, answers: Mapping[str, Mapping[Key, Prediction]], question: tuple[str, str]) -> Values:
    base = next(iter(answers.values()))[key]
    return {
        "task": key[0],
        "instance": key[1],
        "category": base.category,
        "definition": cut(question[0]),
        "input": cut(question[1]),
        "references": [cut(reference) for reference in base.references],
        "answers": [
            {"name": name, "text": cut(rows[key].prediction), "rougeL": rows[key].rougeL}
            for name, rows in answers.items()
        ],
    }


def cut(text: str) -> str:
    left_out = len(text) - SHOWN
    return text if left_out <= 0 else f"{text[:SHOWN]}… [{left_out:,} more characters]"


def _questions(folder: Path, suite: str) -> dict[Key, tuple[str, str]]:
    """{(task, instance): (definition, input)}, as long as the suite still lies where the folder's run found it."""
    import yaml

    from pacos.config import parse_config
    from pacos.superni.suites import read_suite

    path = folder.resolve().parents[1] / "config.yaml"
    try:
        config = parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
        place = next(one.path for one in config.evaluate.suites if one.name == suite)
        instances = read_suite(Path(place)).instances
    except (OSError, StopIteration, yaml.YAMLError, PacosError):
        return {}
    return {(one.task, one.id): (one.definition.strip(), one.input) for one in instances}
