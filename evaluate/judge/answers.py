"""Reads the answers that a judge or a rater is shown, each with the question it answers.

They come from evaluations (`eval/<label>/`, whose questions are read from the suite again) or from a file of answers:
JSONL or a JSON list with `instruction` and `output`, and optionally `id`, `input`, `model`, `sample`, `reference` and
`rank`. AlpacaEval's outputs (`generator`) and Self-Instruct's published responses (`response`, `target`) are such
files.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.config import load_config
from pacos.errors import DataError
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.score import read_predictions
from pacos.files import read_rows
from pacos.superni.suites import read_suite

# Our keys by the names that other projects' files have for them.
FOREIGN_KEYS = {"response": "output", "generator": "model", "target": "reference"}


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One model's answer to an item.

    `sample` numbers the answers of one model to one item. `rank` is people's: 0 the best, None unranked.
    """

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
class AnswerSet:
    """Answers to one set of questions, named by `suite`, and the files they were read from."""

    suite: str
    answers: list[JudgedAnswer]
    files: list[Path]

    @property
    def models(self) -> list[str]:
        """The models' names, in order of appearance."""
        return list(dict.fromkeys(answer.model for answer in self.answers))


def evaluations_of(run_dir: Path) -> list[Path]:
    """Return a run's evaluations of models, the base's first. Raises DataError where there are none."""
    found = []
    for path in sorted(run_dir.glob("eval/*/predictions.jsonl")):
        evaluation = read_evaluation(path.parent)
        if evaluation and evaluation.settings.base:
            found.append((bool(evaluation.settings.adapter), path.parent))
    if not found:
        raise DataError("no model has been evaluated in this run", where=str(run_dir), todo="name files by --answers")
    return [folder for _, folder in sorted(found)]


def read_answers(paths: Sequence[Path], suite: Path | None = None) -> AnswerSet:
    """Read evaluations and files of answers, which must all be of one set of questions.

    `suite` is the path of the evaluations' questions, read from their run's own config unless given.
    Raises DataError: a missing or broken file, several suites, a duplicate answer, a suite that has changed since.
    """
    parts = [
        _read_evaluation_answers(path, suite) if os.path.isdir(path) else _read_answer_file(path) for path in paths
    ]
    if len(suites := {part.suite for part in parts}) > 1 and any(map(os.path.isdir, paths)):
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
    return AnswerSet(parts[0].suite, answers, [file for part in parts for file in part.files])


def _read_evaluation_answers(folder: Path, suite: Path | None) -> AnswerSet:
    path = folder / "predictions.jsonl"
    rows = read_predictions(path)
    suite_path = suite or _suite_path(folder, rows[0].suite)
    questions = {(one.task, one.id): one for one in read_suite(suite_path).instances}
    answers = []
    for row in rows:
        question = questions.get((row.task, row.instance))
        if question is None or list(question.references) != row.references:
            raise DataError(
                f"instance {row.instance!r} of {row.task} is not in {suite_path}, or has other references there",
                where=str(path),
                todo="name the suite that was evaluated by --suite",
            )
        answers.append(
            JudgedAnswer(
                item=row.instance if row.instance.startswith(row.task) else f"{row.task}/{row.instance}",
                model=row.model,
                sample=0,
                instruction=question.definition.strip(),
                input=question.input.strip(),
                text=row.prediction,
                reference=row.references[0],
                category=row.category,
            )
        )
    return AnswerSet(rows[0].suite, answers, [path])


def _suite_path(folder: Path, name: str) -> Path:
    """The suite's path in the config of the run that holds `eval/<label>/`."""
    path = folder.resolve().parents[1] / "config.yaml"
    if path.is_file() and (found := [suite for suite in load_config(path).evaluate.suites if suite.name == name]):
        return Path(found[0].path)
    raise DataError(f"no questions found for the suite {name!r}", where=str(folder), todo="name them by --suite")


def _read_answer_file(path: Path) -> AnswerSet:
    answers = [_parse_answer(values, where, path.stem) for where, values in read_rows(path)]
    if not answers:
        raise DataError("holds no answers", where=str(path))
    return AnswerSet(path.stem, answers, [path])


def _parse_answer(values: Any, where: str, model: str) -> JudgedAnswer:
    """An answer from a row of a file; `model` names the model of rows that do not."""
    if not isinstance(values, dict):
        raise DataError("an answer is a JSON object", where=where)
    values = {ours: values[theirs] for theirs, ours in FOREIGN_KEYS.items() if theirs in values} | values
    for key in ("instruction", "output"):
        if key not in values:
            raise DataError(f"`{key}` is missing", where=where)
    defaults = {"input": "", "reference": "", "model": model}
    texts = {key: values.get(key) for key in ("instruction", "output")}
    texts |= {key: default if values.get(key) is None else values[key] for key, default in defaults.items()}
    if wrong := [key for key, text in texts.items() if not isinstance(text, str)]:
        raise DataError(f"`{wrong[0]}` must be text", where=where)
    question = json.dumps([texts["instruction"], texts["input"]])
    return JudgedAnswer(
        item=str(values.get("id") or hashlib.sha256(question.encode()).hexdigest()[:16]),
        model=texts["model"],
        sample=_parse_integer(values, "sample", where) or 0,
        instruction=texts["instruction"],
        input=texts["input"],
        text=texts["output"],
        reference=texts["reference"],
        rank=_parse_integer(values, "rank", where),
    )


def _parse_integer(values: Mapping[str, Any], key: str, where: str) -> int | None:
    number = values.get(key)
    if number is not None and type(number) is not int:
        raise DataError(f"`{key}` must be a whole number", where=where)
    return number
