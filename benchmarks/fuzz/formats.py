"""A valid file of each format that pacos reads, and the reader that the product reads it with."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fuzz.files import Format
from benchmarks.fuzz.formats_of_models import model_formats
from benchmarks.fuzz.formats_of_runs import run_formats
from benchmarks.fuzz.formats_of_training import TASKS, training_formats
from pacos.evaluate.judge import alpaca_eval
from pacos.evaluate.judge.answers import read_answers
from pacos.evaluate.judge.grades import grade_file_agreement
from pacos.evaluate.score import score_file
from pacos.files import write_json, write_jsonl
from pacos.generate.journal import Journal, read_responses
from pacos.records import Response, read_tasks
from pacos.seeds import load_seeds, seed_instances
from pacos.self_rewarding.ranked import read_ranked
from pacos.superni.suites import read_suite
from tests.support.evaluation_folder import write_evaluation
from tests.support.superni_folder import write_superni


def formats(folder: Path) -> list[Format]:
    """All formats, with their files in `folder`."""
    found = (_data, _evaluation, training_formats, run_formats, model_formats)
    return [format for of_kind in found for format in of_kind(folder)]


def _data(folder: Path) -> Iterator[Format]:
    seeds = _lines(folder / "seeds.jsonl", [_seed(number) for number in range(3)])
    yield Format("seeds", seeds, "rows", lambda: load_seeds(seeds), open_keys=True)
    instances = _lines(folder / "seed-instances.jsonl", [_seed(number) for number in range(3)])
    yield Format("seeds, all instances", instances, "rows", lambda: seed_instances(instances), open_keys=True)
    tasks = _lines(folder / "tasks.jsonl", TASKS)
    yield Format("tasks, lines", tasks, "rows", lambda: read_tasks(tasks), open_keys=True)
    listed = _object(folder / "tasks.json", TASKS)
    yield Format("tasks, list", listed, "list", lambda: read_tasks(listed))
    answers = [Response(n, f" Name lake {n}.\n4. Input:\n4. Output:\nBaikal", "stop", sampled=["s1"]) for n in range(3)]
    journal = folder / "journal" / "responses.jsonl"
    write_jsonl(journal, answers)
    yield Format("journal", journal, "rows", lambda: list(read_responses(journal).everything()))
    settings = {"seed": 42, "engine.model": "m"}
    companion = _object(folder / "resumed" / "journal.json", {"settings": settings, "seconds": 1.5})
    write_jsonl(companion.with_name("responses.jsonl"), answers)
    yield Format("journal, settings", companion, "object", lambda: _resumed(companion.parent, settings), foreign=True)
    ranked = [{"id": f"q{n}", "instruction": f"Ask {n}", "input": "", "output": f"o{r}", "rank": r}
              for n in range(2) for r in range(2)]  # fmt: skip
    rows = _lines(folder / "ranked.jsonl", ranked)
    yield Format("ranked answers", rows, "rows", lambda: read_ranked(str(rows)), open_keys=True)
    messages = _lines(folder / "messages.jsonl", [*_messages("p1"), *_messages("p2")])
    yield Format("Open Assistant", messages, "rows", lambda: read_ranked(str(messages)), open_keys=True)


def _evaluation(folder: Path) -> Iterator[Format]:
    answers = {"task_a": [("a b", "b"), ("c", "c")], "task_b": [("a", "b")]}
    predictions = write_evaluation(folder / "run" / "eval" / "base", "base", answers) / "predictions.jsonl"
    yield Format("predictions", predictions, "rows", lambda: score_file(predictions), whole=True)
    record = predictions.with_name("evaluation.json")
    yield Format("record of an evaluation", record, "object", lambda: score_file(predictions), open_keys=True)
    row: dict[str, Any] = {
        "Task": "t",
        "id": "1",
        "Categories": ["X"],
        "Instance": {"id": "i", "output": ["x"]},
        "Prediction": "x",
    }
    published = _lines(folder / "tk-instruct" / "predicted.jsonl", [row, row | {"id": "2"}])
    yield Format(
        "predictions, Tk-Instruct", published, "rows", lambda: score_file(published), open_keys=True, whole=True
    )
    board = _lines(folder / "board" / "predicted.jsonl", [{"id": "1", "prediction": "x"}])
    reference: dict[str, Any] = {
        "id": "1",
        "references": ["x"],
        "task_id": "t",
        "task_category": "c",
        "track": "default",
    }
    references = _lines(folder / "board" / "references.jsonl", [reference, reference | {"id": "2"}])
    for name, path in (("predictions, leaderboard", board), ("references, leaderboard", references)):
        yield Format(name, path, "rows", lambda: score_file(board, references=references), open_keys=True, whole=True)
    grades = _lines(folder / "grades.jsonl", [_grade(number) for number in range(6)])
    other = shutil.copy(grades, folder / "other-grades.jsonl")
    yield Format("grades", grades, "rows", lambda: grade_file_agreement(grades, Path(other)), open_keys=True)
    preferences = [{"generator_1": "b", "generator_2": "m", "preference": value} for value in (2, 1.2, None)]
    annotations = _object(folder / "annotations.json", preferences)
    yield Format("annotations of AlpacaEval", annotations, "list", lambda: alpaca_eval.win_rates(annotations))
    given = [{"id": "q", "instruction": "Ask", "output": "o", "model": m, "reference": "r", "rank": 0} for m in "ab"]
    judged = _lines(folder / "answers.jsonl", given)
    yield Format("answers to be judged", judged, "rows", lambda: read_answers([judged]), open_keys=True, whole=True)
    yield from _suites(folder)


def _suites(folder: Path) -> Iterator[Format]:
    suite = write_superni(folder / "superni", {"task1_a": {}, "task2_b": {}})
    task = suite / "tasks" / "task1_a.json"
    yield Format("SuperNI task", task, "object", lambda: read_suite(suite), open_keys=True)
    listed = write_superni(folder / "listed", {"task1_a": {}, "task2_b": {}})
    split = listed / "splits" / "default" / "test_tasks.txt"
    yield Format("SuperNI split", split, "text", lambda: read_suite(listed))
    rows = [_seed(number) | {"motivation_app": "Mail"} for number in range(2)]
    user_oriented = _lines(folder / "user-oriented.jsonl", rows)
    yield Format("user-oriented suite", user_oriented, "rows", lambda: read_suite(user_oriented), open_keys=True)


def _resumed(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    journal = Journal(folder, settings)
    journal.close()
    return {"count": journal.count, "seconds": journal.seconds}


def _seed(number: int) -> dict[str, Any]:
    instances = [{"input": "", "output": f"o{number}"}, {"input": "x", "output": "y"}]
    seed = {"id": f"seed_{number}", "name": "n", "instruction": f"Say {number} now please.", "instances": instances}
    return seed | {"is_classification": False}


def _grade(number: int) -> dict[str, Any]:
    return {"item": str(number), "model": "m", "sample": 0, "verdict": "ABCD"[number % 4]}


def _messages(prompt: str) -> list[dict[str, Any]]:
    ask = {"message_id": prompt, "parent_id": None, "text": "Ask", "role": "prompter", "lang": "en", "rank": None}
    answer: dict[str, Any] = {"parent_id": prompt, "role": "assistant", "lang": "en"}
    return [ask, *(answer | {"message_id": f"{prompt}{rank}", "text": f"o{rank}", "rank": rank} for rank in (0, 1))]


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_jsonl(path, rows)
    return path


def _object(path: Path, value: Any) -> Path:
    write_json(path, json.loads(json.dumps(value)))
    return path
