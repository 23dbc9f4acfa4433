"""What is put before a judge: the answers of one or several models, each with the question it answers.

They come from evaluations (`eval/<label>/`, whose questions are read from the suite again) or from a file of answers:
JSONL or a JSON list with `instruction` and `output`, and optionally `id`, `input`, `model`, `sample`, `reference` and
`rank`. AlpacaEval's outputs (`generator`) and Self-Instruct's published responses (`response`, `target`) are such
files.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pacos.config import SuiteConfig, parse_config
from pacos.errors import DataError
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.score import read_predictions
from pacos.records import read_rows
from pacos.superni.suites import read_suite

# Names that other projects' files have for our keys.
ALSO_CALLED = {"output": "response", "model": "generator", "reference": "target"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`sample` numbers the answers of one model to one item. `rank` is people's: 0 the best, None unranked."""

    item: str
    model: str
    sample: int
    instruction: str
    input: str
    text: str
    reference: str = ""
    category: str = ""
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """`suite` names the set of questions."""

    suite: str
    answers: list[Answer]
    files: list[Path]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(answer.model for answer in self.answers))


def evaluations_of(run_dir: Path) -> list[Path]:
    """A run's evaluations of models, the base's first. Raises DataError where there are none."""
    found = []
    for path in sorted(run_dir.glob("eval/*/predictions.jsonl")):
        evaluation = read_evaluation(path.parent)
        if evaluation and evaluation.settings.base:
            found.append((bool(evaluation.settings.adapter), path.parent))
    if not found:
        raise DataError("no model has been evaluated in this run", where=str(run_dir), todo="name files by --answers")
    return [folder for _, folder in sorted(found)]


def read_answers(paths: Sequence[Path], suite: Path | None = None) -> Answers:
    """Read evaluations and files of answers, which must all be of one set of questions.

    `suite` is where the evaluations' questions lie; their run's own config says so unless given.
    Raises DataError: not there, broken, of several suites, an answer twice, a suite that has changed since.
    """
    parts = [_of_evaluation(path, suite) if path.is_dir() else _of_file(path) for path in paths]
    if len(suites := {part.suite for part in parts}) > 1 and any(path.is_dir() for path in paths):
        raise DataError(f"answers to several suites: {sorted(suites)}", todo="name those of one suite by --answers")
    answers = [answer for part in parts for answer in part.answers]
    seen = set()
    for answer in answers:
        if (key := (answer.item, answer.model, answer.sample)) in seen:
            raise DataError(
                f"{answer.model!r} answers {answer.item!r} twice",
                where=", ".join(map(str, paths)),
                todo="give each model a name of its own, and several answers of one model a `sample` number",
            )
        seen.add(key)
    return Answers(parts[0].suite, answers, [file for part in parts for file in part.files])


def _of_evaluation(folder: Path, suite: Path | None) -> Answers:
    path = folder / "predictions.jsonl"
    rows = read_predictions(path)
    where = SuiteConfig(name=rows[0].suite, path=str(suite)) if suite else _suite_of(folder, rows[0].suite)
    questions = {(one.task, one.id): one for one in read_suite(Path(where.path)).instances}
    answers = []
    for row in rows:
        question = questions.get((row.task, row.instance))
        if question is None or list(question.references) != row.references:
            raise DataError(
                f"instance {row.instance!r} of {row.task} is not in {where.path}, or has other references there",
                where=str(path),
                todo="name the suite that was evaluated by --suite",
            )
        item = row.instance if row.instance.startswith(row.task) else f"{row.task}/{row.instance}"
        instruction, given = question.definition.strip(), question.input.strip()
        answers.append(Answer(item, row.model, 0, instruction, given, row.prediction, row.references[0], row.category))
    return Answers(rows[0].suite, answers, [path])


def _suite_of(folder: Path, name: str) -> SuiteConfig:
    """As the config of the run that holds `eval/<label>/` has it."""
    path = folder.resolve().parents[1] / "config.yaml"
    if path.is_file():
        config = parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
        for suite in config.evaluate.suites:
            if suite.name == name:
                return suite
    raise DataError(
        f"where the questions of the suite {name!r} lie is not known", where=str(folder), todo="name them by --suite"
    )


def _of_file(path: Path) -> Answers:
    answers = [_answer(values, where, path.stem) for where, values in read_rows(path)]
    if not answers:
        raise DataError("holds no answers", where=str(path))
    return Answers(path.stem, answers, [path])


def _answer(values: Any, where: str, model: str) -> Answer:
    if not isinstance(values, dict):
        raise DataError("an answer is a JSON object", where=where)
    values = {ours: values[theirs] for ours, theirs in ALSO_CALLED.items() if theirs in values} | values
    texts = {"input": "", "reference": "", "model": model} | {
        key: values[key] for key in ("instruction", "input", "output", "model", "reference") if key in values
    }
    for key in ("instruction", "output"):
        if key not in texts:
            raise DataError(f"`{key}` is missing", where=where)
    if wrong := [key for key, text in texts.items() if not isinstance(text, str)]:
        raise DataError(f"`{wrong[0]}` must be text", where=where)
    sample = values.get("sample", 0)
    if not isinstance(sample, int):
        raise DataError("`sample` must be a whole number", where=where)
    rank = values.get("rank")
    if rank is not None and type(rank) is not int:
        raise DataError("`rank` must be a whole number", where=where)
    question = json.dumps([texts["instruction"], texts["input"]])
    item = str(values.get("id") or hashlib.sha256(question.encode()).hexdigest()[:16])
    return Answer(
        item=item,
        model=texts["model"],
        sample=sample,
        instruction=texts["instruction"],
        input=texts["input"],
        text=texts["output"],
        reference=texts["reference"],
        rank=rank,
    )
