import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.errors import DataError, RunError
from pacos.evaluate.compare import compare
from pacos.files import write_json, write_jsonl
from pacos.records import DatasetRow
from pacos.report import charts
from pacos.report.render import render, render_comparison
from pacos.results.training import BestStep, StepCurve
from pacos.runs import Run
from tests.support.evaluation_folder import write_evaluation
from tests.support.superni_folder import write_superni

EVIL = "</script></pre><script>alert('<b>')</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An empty run whose config names a suite of one task."""
    instances = [{"id": str(index), "input": f"Ball {index} is red.", "output": ["red"]} for index in range(3)]
    tasks = {"task1_a": {"Definition": [f"Name it {EVIL}"], "Instances": instances}}
    suite = write_superni(tmp_path / "superni", tasks)
    config = Config(
        name="trial",
        runs_dir=str(tmp_path / "runs"),
        model=ModelConfig(base="llama"),
        evaluate=EvaluateConfig(suites=[SuiteConfig(name="superni", path=str(suite))]),
    )
    with Run.open(config) as opened, opened.stage("generate") as stage:
        stage.tokens["completion"] = 12_345
    return config.run_dir


def add_evaluation(
    run: Path, *, tuned: str = "tuned", task: str = "task1_a", category: str = "keyword_tagging"
) -> None:
    """Three instances: the base rambles and says something evil, `tuned` is right."""
    colours = ["red", "green", "blue"]
    answers = {task: [(f"{EVIL} {colour}", colour) for colour in colours], "task2_b": [("no", "yes")]}
    right = {task: [(colour, colour) for colour in colours], "task2_b": [("no", "yes")]}
    categories = {task: category}
    folders = [
        write_evaluation(run / "eval" / "base", "base", answers, categories=categories),
        write_evaluation(run / "eval" / "tuned", "tuned", right, categories=categories),
    ]
    compare(folders, run / "eval")


def add_dataset(run: Path) -> None:
    length = {"mean": 3.0, "median": 3, "p95": 4, "max": 4}
    write_jsonl(run / "dataset" / "dataset.jsonl", [DatasetRow("Say hi", EVIL, "hi", "1", "1", 0, 0)])
    write_json(
        run / "dataset" / "stats.json",
        {
            "funnel": {"answered": 5, "requests": 4, "items": 20, "parsed": 9, "accepted": 6, "rejected": {EVIL: 3}},
            "tokens": {"prompt": 10, "completion": 20},
            "seconds": 2.0,
            "tokens_per_second": 10.0,
            "cost": {"total": 0.0, "per_1000": 0.0},
            "stopped_by": "target",
            "lengths": {"instruction": length, "input": length, "output": length, "with_input": 1},
            "novelty": {"mean_nearest_rougeL": 0.1, "nearest_rougeL_histogram": [1] * 10},
        },
    )


def add_training(run: Path) -> None:
    row = {"epoch": 0.5, "learning_rate": 1e-4, "grad_norm": 1.0, "examples": 8, "tokens": 100}
    row |= {"response_tokens": 40, "fill": 0.9, "tokens_per_s": 50.0, "mfu": 0.0, "seconds": 2.0}
    steps = [row | {"step": step, "loss": loss} for step, loss in enumerate([2.5, 1.25], 1)]
    write_jsonl(run / "train" / "metrics.jsonl", steps)


def held_out_run(run: Path, best: dict[str, float] | None) -> dict[str, Any]:
    """The report of a run of six steps whose held-out loss was measured at every second one."""
    row = {"epoch": 0.5, "learning_rate": 1e-4, "grad_norm": 1.0, "examples": 8, "tokens": 100}
    row |= {"response_tokens": 40, "fill": 0.9, "tokens_per_s": 50.0, "mfu": 0.0, "seconds": 2.0}
    held_out = {2: 1.9, 4: 1.75, 6: 1.8}
    steps = [
        row | {"step": step, "loss": 2.5 - step / 10, "eval_loss": held_out.get(step, 0.0)} for step in range(1, 7)
    ]
    write_jsonl(run / "train" / "metrics.jsonl", steps)
    write_json(run / "train" / "adapter" / "pacos.json", {"base": "b", "best": best})
    render(run)
    training: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))["training"]
    return training


def test_the_loss_chart_has_a_line_of_the_held_out_loss_and_marks_the_step_that_was_kept(run: Path) -> None:
    best = {"step": 4, "eval_loss": 1.75}
    training = held_out_run(run, best)
    assert training["best"] == best
    steps = [StepCurve(**step) for step in training["steps"]]
    lines = {line.name: (list(line.x), list(line.y)) for line in charts.loss(steps, BestStep(**training["best"])).data}
    assert lines["held out"] == ([2, 4, 6], [1.9, 1.75, 1.8])
    assert lines["kept"] == ([4], [1.75])
    assert len(lines["training"][0]) == 6
    text = Page((run / "report.html").read_text(encoding="utf-8")).text
    assert "The exported weights are those of step 4, with the least loss on held-out examples: 1.7500." in text


def test_the_loss_chart_of_a_run_that_exports_its_last_step_marks_none(run: Path) -> None:
    training = held_out_run(run, None)
    assert training["best"] is None
    assert "The exported weights" not in (run / "report.html").read_text(encoding="utf-8")
    steps = [StepCurve(**step | {"eval_loss": 0.0}) for step in training["steps"]]
    assert [line.name for line in charts.loss(steps).data] == ["training"]


class Page(HTMLParser):
    """Start tags, and the text outside scripts, as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data


def test_a_run_that_has_only_begun_has_a_page(run: Path) -> None:
    page = render(run).read_text(encoding="utf-8")
    assert "<h1><bdi>trial</bdi></h1>" in page
    assert "No stage of this run has ended yet." in page
    assert "12,345" in page


def test_the_page_shows_what_each_stage_wrote(run: Path) -> None:
    add_dataset(run)
    add_training(run)
    add_evaluation(run)
    write_json(run / "checks.json", {"checks": [{"name": "beats the base", "passed": True, "detail": "by far"}]})
    text = Page(render(run).read_text(encoding="utf-8")).text
    assert "2.500 → 1.250" in text
    assert "tasks accepted of 20 written" in text
    assert re.search(r"\d\.\d\d → 75\.00", text)
    assert "beats the base" in text
    assert "Ball 0 is red." in text
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["training"]["last_loss"] == 1.25
    assert report["evaluations"][0]["comparison"]["contestants"][0]["rougeL"] == 75.0
    assert report["dataset"]["stats"]["funnel"]["accepted"] == 6


def test_nothing_that_a_model_or_a_file_wrote_becomes_markup(run: Path) -> None:
    add_dataset(run)
    add_evaluation(run, category=EVIL)
    page = Page(render(run).read_text(encoding="utf-8"))
    scripts = sum(tag == "script" for tag, _ in page.tags)
    charts = sum(attributes.get("class") == "chart" for _, attributes in page.tags)
    assert charts == 6
    assert scripts == charts + 3, (
        "each chart has its data in one; plotly, what draws with it, and the tables' are three more"
    )
    # What was written is there all the same, as words: definition, input, answer, category.
    assert page.text.count("<script>alert('<b>')</script>") >= 4


def test_the_page_needs_nothing_from_anywhere(run: Path) -> None:
    add_evaluation(run)
    page = render(run).read_text(encoding="utf-8")
    tags = Page(page).tags
    assert not [attributes for _, attributes in tags if {"src", "href"} & attributes.keys()]
    policy = next(attributes["content"] for tag, attributes in tags if tag == "meta" and "http-equiv" in attributes)
    assert policy is not None and policy.startswith("default-src 'none'")
    assert len(page) < 700_000, "plotly's own script is there once, compressed"


def test_a_part_of_a_suite_is_called_one_on_the_page(run: Path) -> None:
    add_evaluation(run)
    for name in ("base", "tuned"):
        path = run / "eval" / name / "evaluation.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["settings"]["n_expected"] = 11_810
        path.write_text(json.dumps(record), encoding="utf-8")
    compare([run / "eval" / "base", run / "eval" / "tuned"], run / "eval")
    assert "4 of 11,810 instances: not comparable with published numbers" in render(run).read_text(encoding="utf-8")


def test_checkpoints_draw_a_learning_curve(run: Path) -> None:
    answers = {"task1_a": [("blue", "red")], "task2_b": [("no", "yes")]}
    folders = [
        write_evaluation(run / "eval" / name, name, answers) for name in ("base", "trial-step-20", "trial-step-100")
    ]
    compare(folders, run / "eval")
    page = render(run).read_text(encoding="utf-8")
    assert "Learning curve" in Page(page).text
    assert '"x":[20,100]' in page
    add_evaluation(run)
    assert "Learning curve" not in Page(render(run).read_text(encoding="utf-8")).text


def test_a_comparison_has_a_page_of_its_own_with_what_its_runs_hold(run: Path, tmp_path: Path) -> None:
    add_evaluation(run)
    passage = {"owner": "row 1", "part": "input", "text": "Which of the lakes is deepest?"}
    overlap = {"measure": "run", "rougeL": 0.5, "evaluation": passage, "training": passage}
    counts = {"texts": 9, "too_short": 2, "overlapping": 5, "by_measure": {"run": 1, "rougeL": 4}}
    found = {"training": ["data.jsonl"], "rows": 3, "overlaps": [overlap], **counts}
    write_json(run / "eval" / "contamination.json", found)
    models = {"tuned": {"mean": 3.25, "n": 4, "dropped": 0, "unreadable": 0, "counts": dict.fromkeys("012345", 1)}}
    results = {"kind": "additive", "suite": "demo", "judge": {"model": "judge-model", "adapter": ""}, "n": 4}
    results |= {"unreadable": 1, "truncated": 0, "baseline": "", "models": models}
    write_json(run / "judge" / "additive--demo" / "results.json", results)

    folders = [run / "eval" / "base", run / "eval" / "tuned"]
    page = render_comparison(folders, compare(folders, tmp_path / "out"), tmp_path / "out")
    text = " ".join(Page(page.read_text(encoding="utf-8")).text.split())
    assert "Comparison on superni" in text and "Ball 0 is red." in text
    assert "1 occur in the 3 training rows (0 the same, 1 by a run of 13 words); 4 more are similar" in text
    assert "Which of the lakes is deepest?" in text
    assert "Judge: judge-model. 4 judgements, 1 of them unreadable" in text and "3.25" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["judgements"][0]["models"] == models


def test_the_suite_may_have_gone_since(run: Path, tmp_path: Path) -> None:
    add_evaluation(run)
    (tmp_path / "superni").rename(tmp_path / "elsewhere")
    text = Page(render(run).read_text(encoding="utf-8")).text
    assert "Ball 0 is red." not in text and "Where tuned gained most" in text


def test_what_is_no_run_or_broken_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a pacos run"):
        render(tmp_path)
    add_evaluation(run)
    (run / "eval" / "comparison.json").write_text('{"suite":', encoding="utf-8")
    with pytest.raises(DataError, match=r"comparison\.json: not JSON"):
        render(run)
