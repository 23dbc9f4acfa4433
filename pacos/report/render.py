"""`report.html`: what a run or a comparison came to, on one self-contained page.

Shows what exists and leaves out what does not. Models write much of the text here: all of it is escaped, its control
characters are made visible, and the page may load nothing from anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from pacos.errors import DataError
from pacos.files import write_text
from pacos.report import charts
from pacos.report.analysis import page_values
from pacos.report.comparison_charts import comparison_charts
from pacos.report.contents import Report, report_of_comparison, report_of_review, report_of_run
from pacos.report.dataset import dataset_charts
from pacos.report.rows import PAGE_TOKENS, RowsPreview
from pacos.report.sweep import loss_curves
from pacos.results import read_result
from pacos.results.comparison import Comparison
from pacos.results.dataset import Analysis
from pacos.results.judging import RubricResults
from pacos.results.manifest import Manifest

if TYPE_CHECKING:
    from jinja2 import Environment

# Where the parts of a report come from.
FILES = {
    "manifest": "manifest.json",
    "checks": "checks.json",
    "evaluations": "eval/comparison*.json",
    "rounds": "rounds.json",
    "sweep": "selection.json",
    "reviews": "review/*/review.json",
    "judgements": "judge/*/results.json",
    "contamination": "eval/contamination*.json",
    "training": "train/metrics.jsonl",
    "dataset": "dataset/stats.json",
}

# What charts and templates raise for values that have the right types and make no sense: a model without scores, a
# list without elements, an infinite number. Jinja's errors of values that are absent are among them.
_UNFIT = (LookupError, ArithmeticError, TypeError, ValueError, AttributeError, TemplateError)


def render(run_dir: Path) -> Path:
    """Write `report.json` and `report.html` into the run directory and return the latter.

    Raises RunError where there is no run, DataError for a file of it that is broken.
    """
    return _write(run_dir, report_of_run(run_dir))


def render_comparison(folders: Sequence[Path], comparison: Comparison, out: Path) -> Path:
    """Write both for a comparison of evaluations (`folders`, in its order) and return the page.

    Raises DataError for a file of theirs that is broken.
    """
    return _write(out, report_of_comparison(folders, comparison))


def render_review(folder: Path) -> Path:
    """Render the report of the run that holds `review/<kind>--<name>/`; outside of a run, one of the review alone."""
    home = folder.resolve().parent.parent
    return render(home) if (home / "manifest.json").is_file() else _write(folder, report_of_review(folder))


def render_analysis(folder: Path) -> Path:
    """Write `analysis.html` from the folder's `analysis.json` and return it."""
    source, path = folder / "analysis.json", folder / "analysis.html"
    analysis = read_result(source, Analysis, todo="run `pacos analyze` again")
    try:
        values = page_values(analysis)
        page = _page("analysis.html.j2", values, values["figures"])
    except _UNFIT as failure:
        raise DataError(_reason(failure), where=str(source), todo="run `pacos analyze` again") from failure
    write_text(path, page)
    return path


def render_rows(preview: RowsPreview, path: Path) -> None:
    """Write the page of `pacos inspect`."""
    write_text(path, _environment().get_template("rows.html.j2").render(preview=preview, limit=PAGE_TOKENS))


def _write(folder: Path, report: Report) -> Path:
    report.write(folder / "report.json")
    path = folder / "report.html"
    write_text(path, _report_page(report, folder))
    return path


def _report_page(report: Report, folder: Path) -> str:
    """The page. Raises DataError that names the files of the first part which cannot be shown."""
    try:
        return _page("report.html.j2", report.parts(), _figures(report))
    except _UNFIT as failure:
        broken = failure
    empty = Report(report.name, Manifest(report.name))
    for name, file in FILES.items():
        alone = replace(empty, **{name: getattr(report, name)})
        try:
            _page("report.html.j2", alone.parts(), _figures(alone))
        except _UNFIT as failure:
            where = str(folder / file)
            raise DataError(_reason(failure), where=where, todo="run what writes it again") from failure
    raise broken


def _reason(failure: Exception) -> str:
    return f"holds values that do not fit together ({type(failure).__name__}: {failure})"


def _page(template: str, values: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The page of a template. `figures` are HTML by name; all other text is escaped."""
    from markupsafe import Markup

    trusted = {name: Markup(html) for name, html in figures.items()}
    page = _environment().get_template(template)
    return page.render(**{**values, "figures": trusted}, plotly=Markup(charts.library()))


def _figures(report: Report) -> dict[str, str]:
    figures: dict[str, Any] = {}
    for index, part in enumerate(report.evaluations):
        figures |= {f"{kind}{index}": figure for kind, figure in comparison_charts(part.comparison).items()}
    for index, judgement in enumerate(report.judgements):
        if isinstance(judgement.results, RubricResults):
            figures[f"grades{index}"] = charts.grades(judgement.results.models, judgement.results.published)
    if report.sweep:
        figures["sweep"] = loss_curves(report.sweep.trials)
    if report.training:
        figures["loss"] = charts.loss(report.training.steps, report.training.best)
    if report.dataset:
        figures |= dataset_charts(report.dataset.stats)
    return {name: charts.html(figure) for name, figure in figures.items()}


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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")
