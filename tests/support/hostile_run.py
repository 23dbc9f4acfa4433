"""A run whose every text is hostile: a browser must show it as text, and never run it, load it or lay out by it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacos.config import Config, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.evaluate.agreement import compare_blind, wilson
from pacos.evaluate.compare import compare
from pacos.evaluate.judge.grades import grade_figures
from pacos.files import write_json, write_jsonl
from pacos.records import DatasetRow
from pacos.results import extend, write_result
from pacos.results.judging import JudgeSettings, PairwiseFigures, PairwiseResults, RubricFigures, RubricResults
from pacos.runs import Run
from tests.support.evaluation_folder import write_evaluation
from tests.support.superni_folder import write_superni

OWNED = "document.title='owned'"
HOSTILE = [
    f"<script>{OWNED}</script>",
    f"</script></pre></table><script>{OWNED}</script>",
    f'"><img src=x onerror="{OWNED}">',
    f"<svg/onload={OWNED}>",
    f'<a href="javascript:{OWNED}">a</a><iframe srcdoc="<script>parent.{OWNED}</script>"></iframe>',
    f"--></style></title><body onload={OWNED}>",
    "{{ 7 * 7 }} ${7*7} %{x} &lt;b&gt; <b>bold</b>",
    "\u202eright to left\u2066 \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f \u2028 \ufffe",
    "lone surrogate \ud800",
    "e" + "\u0301" * 400,
]


def write_hostile_run(folder: Path, *, answer_characters: int = 100_000) -> Path:
    """The run directory, named `hostile`. Every answer is filled up to `answer_characters`."""
    tasks = {f"task{index}_<b>{'x' * index}": {"Definition": [text]} for index, text in enumerate(HOSTILE)}
    suite = write_superni(folder / "superni", tasks)
    config = Config(
        name="hostile",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base="llama"),
        evaluate=EvaluateConfig(suites=[SuiteConfig(name="superni", path=str(suite))]),
    )
    run = config.run_dir
    with Run.open(config) as opened, opened.stage("generate"):
        pass
    _write_evaluations(run, list(tasks), answer_characters)
    _write_dataset(run / "dataset")
    _write_judgements(run / "judge")
    _write_contamination(run / "eval" / "contamination.json")
    return run


def _write_evaluations(run: Path, tasks: Sequence[str], characters: int) -> None:
    categories = dict(zip(tasks, HOSTILE, strict=True))
    folders = []
    for name in ("base", f"tuned{HOSTILE[0]}"):
        label = "base" if name == "base" else "tuned"
        answers = {}
        for index, (task, text) in enumerate(zip(tasks, HOSTILE, strict=True)):
            long = (text + " word" * characters)[:characters]
            right = label == "tuned" and index % 2 == 0
            answers[task] = [(f"{text} word" if right else long, f"{text}{' word' * index}")] * 2
        folders.append(write_evaluation(run / "eval" / label, name, answers, categories=categories))
    compare(folders, run / "eval")


def _write_dataset(folder: Path) -> None:
    rows = [DatasetRow(text, text, text, str(index), str(index), index, 0) for index, text in enumerate(HOSTILE)]
    write_jsonl(folder / "dataset.jsonl", rows)
    length = {"mean": 3.0, "median": 3, "p95": 4, "max": 4}
    stats = {
        "funnel": {"requests": 4, "items": 20, "parsed": 9, "accepted": 6, "rejected": dict.fromkeys(HOSTILE[:5], 3)},
        "tokens": {"prompt": 10, "completion": 20},
        "tokens_per_second": 10.0,
        "cost": {"total": 0.0, "per_1000": 0.0},
        "stopped_by": HOSTILE[0],
        "lengths": {"instruction": length, "input": length, "output": length},
        "novelty": {"nearest_rougeL_histogram": [1] * 10},
    }
    write_json(folder / "stats.json", stats)


def _write_judgements(folder: Path) -> None:
    settings = JudgeSettings(model=HOSTILE[2])
    counts: dict[str, Any] = {
        "suite": HOSTILE[0],
        "judge": settings,
        "n": 4,
        "unreadable": 0,
        "truncated": 0,
        "baseline": HOSTILE[1],
    }
    graded = extend(RubricFigures, grade_figures({"A": 2, "B": 1, "C": 0, "D": 1}))
    compared = extend(PairwiseFigures, compare_blind([1.0, 0.5, 0.0]), position_consistency=wilson(2, 3))
    rubric = RubricResults(kind="rubric", models=dict.fromkeys(HOSTILE, graded), **counts)
    pairwise = PairwiseResults(kind="pairwise", models={HOSTILE[0]: compared}, **counts)
    write_result(folder / "rubric--x" / "results.json", rubric)
    write_result(folder / "pairwise--x" / "results.json", pairwise)


def _write_contamination(path: Path) -> None:
    passage = {"owner": HOSTILE[0], "part": "input", "text": HOSTILE[1] * 2000}
    overlap = {"measure": "exact", "rougeL": 1.0, "evaluation": passage, "training": passage}
    counts = {"texts": 9, "too_short": 0, "overlapping": 1, "by_measure": {"exact": 1}, "by_part": {"input": 1}}
    values = {"training": [HOSTILE[2]], "rows": 3, "owners": 1, "overlaps": [overlap], **counts}
    path.write_text(json.dumps(values), encoding="utf-8")
