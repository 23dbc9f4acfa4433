"""The report's charts, as plotly figures. Text and grid take the page's colours (report.html.j2), light or dark."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from pacos.results.judging import GradeFigures
from pacos.results.training import BestStep, StepCurve

FIRST = "#8a93a3"  # the model that the others are compared with
ACCENT = "#e0763a"
GAIN, LOSS = "#1d9a64", "#cf4444"
GRADE_COLOURS = {"A": GAIN, "B": "#8fc07a", "C": "#e5b04a", "D": LOSS}
LABEL = 60  # characters of a name in a chart
PALETTE = (ACCENT, "#2a9d8f", "#7a6bd8", "#c2567a", "#4f8fd0", "#9a8a2e")


def html(figure: Any) -> str:
    """The figure's element, with its data for draw.html.j2. No text in it can end the script."""
    data = figure.to_json().replace("<", "\\u003c")
    height = figure.layout.height
    return f'<div class="chart" style="min-height: {height}px"><script type="application/json">{data}</script></div>'


def library() -> str:
    """plotly's own script, which scripts/plotly-bundle builds, compressed and in base64: 0.6 MB."""
    return b64encode((resources.files("pacos.report") / "browser" / "plotly.js.gz").read_bytes()).decode("ascii")


def grades(models: Mapping[str, GradeFigures], published: Mapping[str, GradeFigures]) -> Any:
    """Shares of a rubric's grades by model, published rows below."""
    rows = [(f"{name}, published", row) for name, row in published.items()][::-1]
    rows += [(name, row) for name, row in models.items() if row.n][::-1]
    figure = new_figure(height=90 + 32 * len(rows))
    for grade, colour in GRADE_COLOURS.items():
        figure.add_bar(
            name=grade,
            x=[100 * row.counts[grade] / row.n for _, row in rows],
            y=[label_text(name) for name, _ in rows],
            orientation="h",
            marker={"color": colour},
            customdata=[row.counts[grade] for _, row in rows],
            hovertemplate=f"{grade}: %{{customdata:,}} (%{{x:.1f}} %)",
        )
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(title="% of graded answers", range=[0, 100])
    figure.update_yaxes(showgrid=False)
    return figure


def loss(steps: Sequence[StepCurve], best: BestStep | None = None) -> Any:
    """Training loss by step, held-out loss where it was measured, and a mark on the step that was kept as the best."""
    figure = new_figure(height=280, left=60)
    figure.add_scatter(
        name="training",
        x=[row.step for row in steps],
        y=[row.loss for row in steps],
        mode="lines+markers" if len(steps) < 40 else "lines",
        line={"color": ACCENT, "width": 2},
        hovertemplate="step %{x}: %{y:.4f}",
    )
    if measured := [row for row in steps if row.eval_loss]:
        figure.add_scatter(
            name="held out",
            x=[row.step for row in measured],
            y=[row.eval_loss for row in measured],
            mode="lines+markers",
            line={"color": PALETTE[1], "width": 2},
            hovertemplate="step %{x}: %{y:.4f} held out",
        )
    if best:
        figure.add_scatter(
            name="kept",
            x=[best.step],
            y=[best.eval_loss],
            mode="markers",
            marker={"color": PALETTE[1], "size": 14, "symbol": "star"},
            hovertemplate="step %{x} was kept: %{y:.4f} held out",
        )
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title="nats per supervised token")
    return figure


def bars(counts: Mapping[str, int], colour: str = ACCENT) -> Any:
    """Horizontal bars, the first key on top, each with its count."""
    names = list(counts)[::-1]
    figure = new_figure(height=50 + 30 * max(1, len(names)), bottom=10)
    figure.add_bar(
        x=[counts[name] for name in names],
        y=[label_text(name.replace("_", " ")) for name in names],
        orientation="h",
        marker={"color": colour},
        text=[f"{counts[name]:,}" for name in names],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(showgrid=False, ticks="outside", ticklen=6, tickcolor="rgba(0,0,0,0)")
    figure.update_layout(margin={"r": 60})
    return figure


def novelty(histogram: Sequence[int]) -> Any:
    """Histogram of the accepted tasks' ROUGE-L to the nearest earlier one, in equal bins over [0, 1]."""
    width = 1 / max(1, len(histogram))
    figure = new_figure(height=240, left=60)
    figure.add_bar(
        x=[width * (index + 0.5) for index in range(len(histogram))],
        y=list(histogram),
        width=0.94 * width,
        marker={"color": ACCENT},
        hovertemplate="%{y:,} tasks",
    )
    figure.update_xaxes(title="ROUGE-L to the nearest earlier task", range=[0, 1])
    figure.update_yaxes(title="accepted tasks")
    return figure


def new_figure(*, height: int, left: int = 10, bottom: int = 50) -> Any:
    """An empty figure in the report's style; sizes in pixels."""
    import plotly.graph_objects

    figure = plotly.graph_objects.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": left, "r": 20, "t": 30, "b": bottom},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"namelength": 0},
    )
    figure.update_xaxes(automargin=True, zeroline=False, showgrid=True)
    figure.update_yaxes(automargin=True, zeroline=False, showgrid=True)
    return figure


def label_text(text: str) -> str:
    """A label for plotly, which interprets tags and entities in its texts."""
    label = text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
    return escape(visible(label), quote=False)


# Control characters as their symbols (U+2400 and on), except line breaks and tabs; bidirectional controls by number.
_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    127: 0x2421,
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def visible(text: str) -> str:
    """The text with its control characters made visible, for terminals and browsers."""
    return text.translate(_VISIBLE)
