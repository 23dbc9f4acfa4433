"""`report.html` and `report.json`: what the stages of a run wrote, on one self-contained page.

Shows what exists and leaves out what does not. Models write much of the text here: all of it is escaped, and
the page may load nothing from anywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos import charts
from pacos.errors import DataError, PacosError
from pacos.records import DatasetRow, Prediction, read_jsonl, read_records, write_json, write_text
from pacos.runs import read_manifest

if TYPE_CHECKING:
    from jinja2 import Environment

DATASET_SAMPLES = 8
EXTREME_SAMPLES = 4

Values = dict[str, Any]


def render(run_dir: Path) -> Path:
    """Write `report.json` and `report.html` into the run directory and return the latter.

    Raises RunError where there is no run, DataError for a file of it that is broken.
    """
    report = gather(run_dir)
    write_json(run_dir / "report.json", report)
    path = run_dir / "report.html"
    write_text(path, _page(report))
    return path


def render_analysis(folder: Path) -> Path:
    """Write `analysis.html` from the folder's `analysis.json` and return it."""
    from markupsafe import Markup

    from pacos import diversity

    values = diversity.page_values(_read_json(folder / "analysis.json"))
    values["figures"] = {name: Markup(figure) for name, figure in values["figures"].items()}
    path = folder / "analysis.html"
    page = _environment().get_template("analysis.html.j2")
    write_text(path, page.render(**values, plotly=Markup(charts.library())))
    return path


def gather(run_dir: Path) -> Values:
    """All that the page shows. A part that the run has not reached is an empty mapping or list."""
    manifest = read_manifest(run_dir)
    return {
        "name": manifest["name"],
        "manifest": manifest,
        "checks": _checks(run_dir / "checks.json"),
        "evaluations": [
            _evaluation(run_dir, comparison) for comparison in sorted((run_dir / "eval").glob("comparison*.json"))
        ],
        "training": _training(run_dir / "train" / "metrics.jsonl"),
        "dataset": _dataset(run_dir / "dataset"),
    }


def _evaluation(run_dir: Path, path: Path) -> Values:
    comparison = _read_json(path)
    labels = {one["name"]: one["label"] for one in [comparison["base"], *comparison["contestants"]]}
    folders = {name: run_dir / "eval" / label for name, label in labels.items()}
    return {
        "comparison": comparison,
        "scores": {name: _read_json(folder / "scores.json") for name, folder in folders.items()},
        "samples": _samples(run_dir, comparison, folders),
    }


def _samples(run_dir: Path, comparison: Values, folders: Mapping[str, Path]) -> Values:
    """Answers side by side: the first instance of each category, then where the first contestant moved furthest."""
    shown = [name for name, folder in folders.items() if _read_json(folder / "scores.json")["base"]["model"]]
    answers = {
        name: {(row.task, row.instance): row for row in read_records(folders[name] / "predictions.jsonl", Prediction)}
        for name in shown
    }
    base = answers[shown[0]]
    questions = _questions(run_dir, comparison)
    order = [key for key in questions if key in base] or sorted(base)

    def sample(key: tuple[str, str]) -> Values:
        return {
            "task": key[0],
            "instance": key[1],
            "category": base[key].category,
            **questions.get(key, {"definition": "", "input": ""}),
            "references": base[key].references,
            "answers": [
                {"name": name, "text": answers[name][key].prediction, "rougeL": answers[name][key].rougeL}
                for name in shown
            ],
        }

    first = {base[key].category: key for key in reversed(order)}
    samples = {"First of each category": [sample(first[category]) for category in sorted(first)]}
    if len(shown) > 1:
        moved = sorted(order, key=lambda key: answers[shown[1]][key].rougeL - base[key].rougeL)
        losses, gains = moved[:EXTREME_SAMPLES], moved[: -EXTREME_SAMPLES - 1 : -1]
        samples[f"Where {shown[1]} gained most"] = [sample(key) for key in gains]
        samples[f"Where {shown[1]} lost most"] = [sample(key) for key in losses]
    return samples


def _questions(run_dir: Path, comparison: Values) -> dict[tuple[str, str], Values]:
    """{(task, instance): definition and input}, as long as the suite still lies where the run found it."""
    import yaml

    from pacos.config import parse_config
    from pacos.suites import read_suite

    path = run_dir / "config.yaml"
    try:
        config = parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
        suite = next(one for one in config.evaluate.suites if one.name == comparison["suite"])
        instances = read_suite(Path(suite.path)).instances
    except (OSError, StopIteration, yaml.YAMLError, PacosError):
        return {}
    return {(one.task, one.id): {"definition": one.definition.strip(), "input": one.input} for one in instances}


def _training(path: Path) -> Values:
    if not path.is_file():
        return {}
    steps = [values for _, values in read_jsonl(path, torn_tail=True)]
    if not steps:
        return {}
    seconds = sum(step["seconds"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    return {
        "steps": [
            {key: step[key] for key in ("step", "epoch", "loss", "learning_rate", "grad_norm")} for step in steps
        ],
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "examples": sum(step["examples"] for step in steps),
        "tokens": tokens,
        "response_tokens": sum(step["response_tokens"] for step in steps),
        "tokens_per_s": tokens / seconds if seconds else 0.0,
        "fill": sum(step["fill"] for step in steps) / len(steps),
        "seconds": seconds,
    }


def _dataset(folder: Path) -> Values:
    if not (folder / "stats.json").is_file():
        return {}
    rows = read_records(folder / "dataset.jsonl", DatasetRow) if (folder / "dataset.jsonl").is_file() else []
    spread = rows[:: max(1, len(rows) // DATASET_SAMPLES)][:DATASET_SAMPLES]
    samples = [{"instruction": row.instruction, "input": row.input, "output": row.output} for row in spread]
    return {"stats": _read_json(folder / "stats.json"), "samples": samples}


def _checks(path: Path) -> list[Values]:
    """`checks.json`: {"checks": [{name, passed, detail}]}, what a run was put to the proof of."""
    checks: list[Values] = _read_json(path)["checks"] if path.is_file() else []
    return checks


def _read_json(path: Path) -> Values:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", where=str(path), todo="run the stage that writes it again") from None
    except json.JSONDecodeError as broken:
        raise DataError(f"not JSON: {broken}", where=str(path), todo="run the stage that writes it again") from None
    if not isinstance(values, dict):
        raise DataError("must be a JSON object", where=str(path))
    return values


def _page(report: Values) -> str:
    from markupsafe import Markup

    page = _environment().get_template("report.html.j2")
    return page.render(
        **report,
        figures={name: Markup(part) for name, part in _figures(report).items()},
        plotly=Markup(charts.library()),
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pacos", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "duration": _duration, "signed": _signed}
    return environment


def _figures(report: Values) -> dict[str, str]:
    figures = {}
    for index, evaluation in enumerate(report["evaluations"]):
        figures[f"differences{index}"] = charts.differences(evaluation["comparison"])
        if sum(one["step"] > 0 for one in evaluation["comparison"]["contestants"]) > 1:
            figures[f"curve{index}"] = charts.learning_curve(evaluation["comparison"])
        figures[f"categories{index}"] = charts.categories(evaluation["comparison"])
    if report["training"]:
        figures["loss"] = charts.loss(report["training"]["steps"])
    if report["dataset"]:
        stats = report["dataset"]["stats"]
        later = ("instructions", "instances") if stats["funnel"].get("instances") else ()
        funnel = {step: stats["funnel"][step] for step in ("items", "parsed", *later, "accepted")}
        figures["funnel"] = charts.bars(funnel)
        figures["reasons"] = charts.bars(stats["funnel"]["rejected"], charts.FIRST)
        figures["novelty"] = charts.novelty(stats["novelty"]["nearest_rougeL_histogram"])
    return {name: charts.html(figure) for name, figure in figures.items()}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")
