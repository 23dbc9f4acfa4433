"""`report.html` and `report.json`: what the stages of a run wrote, or a comparison, on one self-contained page.

Shows what exists and leaves out what does not. Models write much of the text here: all of it is escaped, its control
characters are made visible, and the page may load nothing from anywhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.records import read_object, write_json, write_text
from pacos.report import charts
from pacos.report.dataset import dataset
from pacos.report.evaluation import contamination, evaluation, evaluation_of_run
from pacos.report.people import judgements, reviews
from pacos.report.training import training
from pacos.runs import read_manifest

if TYPE_CHECKING:
    from jinja2 import Environment


Values = dict[str, Any]


def render(run_dir: Path) -> Path:
    """Write `report.json` and `report.html` into the run directory and return the latter.

    Raises RunError where there is no run, DataError for a file of it that is broken.
    """
    return _write(run_dir, gather(run_dir))


def render_comparison(folders: Sequence[Path], comparison: Values, out: Path) -> Path:
    """Write both for a comparison of evaluations (`folders`, in its order), wherever they lie; return the page.

    Raises DataError for a file of theirs that is broken.
    """
    runs = list(dict.fromkeys(folder.resolve().parents[1] for folder in folders))
    names = [one["name"] for one in [comparison["base"], *comparison["contestants"]]]
    report = {
        "name": f"Comparison on {comparison['suite']}",
        "manifest": {"stages": {}},
        "checks": [],
        "evaluations": [evaluation(comparison, dict(zip(names, folders, strict=True)))],
        "reviews": [found for run in runs for found in reviews(run)],
        "judgements": [found for run in runs for found in judgements(run)],
        "contamination": [found for run in runs for found in contamination(run)],
        "training": {},
        "dataset": {},
    }
    return _write(out, report)


def render_review(folder: Path) -> Path:
    """Render the report of the run that holds `review/<kind>--<name>/`; outside of a run, one of the review alone."""
    home = folder.resolve().parents[1]
    if (home / "manifest.json").is_file():
        return render(home)
    review = _read_json(folder / "review.json")
    report: Values = {"name": f"Review of {review['name']}", "manifest": {"stages": {}}, "reviews": [review]}
    report |= {"training": {}, "dataset": {}}
    return _write(folder, report | {part: [] for part in ("checks", "evaluations", "judgements", "contamination")})


def _write(folder: Path, report: Values) -> Path:
    write_json(folder / "report.json", report)
    path = folder / "report.html"
    write_text(path, _page(report))
    return path


def render_analysis(folder: Path) -> Path:
    """Write `analysis.html` from the folder's `analysis.json` and return it."""
    from markupsafe import Markup

    from pacos.report import analysis as diversity

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
            evaluation_of_run(run_dir / "eval", path) for path in sorted((run_dir / "eval").glob("comparison*.json"))
        ],
        "rounds": _read_json(run_dir / "rounds.json") if (run_dir / "rounds.json").is_file() else {},
        "reviews": reviews(run_dir),
        "judgements": judgements(run_dir),
        "contamination": contamination(run_dir),
        "training": training(run_dir / "train" / "metrics.jsonl"),
        "dataset": dataset(run_dir / "dataset"),
    }


def _checks(path: Path) -> list[Values]:
    """`checks.json`: {"checks": [{name, passed, detail}]}, what a run was put to the proof of."""
    checks: list[Values] = _read_json(path)["checks"] if path.is_file() else []
    return checks


def _read_json(path: Path) -> Values:
    return read_object(path, todo="run the stage that writes it again")


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
        loader=PackageLoader("pacos.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text that a template prints passes here on its way to being escaped.
        finalize=lambda value: charts.visible(value) if type(value) is str else value,
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "duration": _duration, "signed": _signed}
    return environment


def _figures(report: Values) -> dict[str, str]:
    figures = {}
    for index, part in enumerate(report["evaluations"]):
        figures[f"differences{index}"] = charts.differences(part["comparison"])
        if sum(one["step"] > 0 for one in part["comparison"]["contestants"]) > 1:
            figures[f"curve{index}"] = charts.learning_curve(part["comparison"])
        figures[f"categories{index}"] = charts.categories(part["comparison"])
        figures[f"tasks{index}"] = charts.tasks(part["comparison"])
    for index, found in enumerate(report["judgements"]):
        if found["kind"] == "rubric":
            figures[f"grades{index}"] = charts.grades(found)
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
