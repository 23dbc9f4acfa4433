"""Answers side by side, for the report: one of every category, then those where a model differs most from the base.

Texts are truncated to SHOWN characters, with how much is left out; `predictions.jsonl` has them whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.config import load_config
from pacos.errors import PacosError
from pacos.records import Prediction, read_records
from pacos.superni.suites import read_suite

EXTREMES = 4
SHOWN = 3000

QuestionKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """One model's answer, and its ROUGE-L."""

    name: str
    text: str
    rougeL: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance with the answers of every model; `definition` and `input` are "" if the suite is gone."""

    task: str
    instance: str
    category: str
    definition: str
    input: str
    references: list[str]
    answers: list[SampleAnswer]


def side_by_side(folders: Mapping[str, Path], suite: str) -> dict[str, list[Sample]]:
    """{title: samples}; `folders` are `eval/<label>/` by the model's name, the base's first.

    Raises DataError for broken predictions.
    """
    answers = {
        name: {(row.task, row.instance): row for row in read_records(folder / "predictions.jsonl", Prediction)}
        for name, folder in folders.items()
    }
    names = list(answers)
    base = {key: row for key, row in answers[names[0]].items() if all(key in rows for rows in answers.values())}
    questions = _questions(next(iter(folders.values())), suite)
    order = [key for key in questions if key in base] or sorted(base)

    def samples(keys: Sequence[QuestionKey]) -> list[Sample]:
        return [_sample(key, answers, questions.get(key, ("", ""))) for key in keys]

    first = {base[key].category: key for key in reversed(order)}
    found = {"First of each category": samples([first[category] for category in sorted(first)])}
    if len(names) > 1:
        moved = sorted(order, key=lambda key: answers[names[1]][key].rougeL - base[key].rougeL)
        found[f"Where {names[1]} gained most"] = samples(moved[: -EXTREMES - 1 : -1])
        found[f"Where {names[1]} lost most"] = samples(moved[:EXTREMES])
    return found


def _sample(
    key: QuestionKey, answers: Mapping[str, Mapping[QuestionKey, Prediction]], question: tuple[str, str]
) -> Sample:
    base = next(iter(answers.values()))[key]
    return Sample(
        task=key[0],
        instance=key[1],
        category=base.category,
        definition=truncated(question[0]),
        input=truncated(question[1]),
        references=[truncated(reference) for reference in base.references],
        answers=[
            SampleAnswer(name, truncated(rows[key].prediction), rows[key].rougeL) for name, rows in answers.items()
        ],
    )


def truncated(text: str) -> str:
    """The first SHOWN characters, and how many are left out."""
    left_out = len(text) - SHOWN
    return text if left_out <= 0 else f"{text[:SHOWN]}… [{left_out:,} more characters]"


def _questions(folder: Path, suite: str) -> dict[QuestionKey, tuple[str, str]]:
    """{(task, instance): (definition, input)}; empty if the suite is no longer where the folder's run found it."""
    path = folder.resolve().parent.parent / "config.yaml"
    try:
        place = next(one.path for one in load_config(path).evaluate.suites if one.name == suite)
        instances = read_suite(Path(place)).instances
    except (OSError, StopIteration, PacosError):
        return {}
    return {(one.task, one.id): (one.definition.strip(), one.input) for one in instances}
