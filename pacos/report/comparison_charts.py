"""The report's charts of a comparison."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

from pacos.report import charts
from pacos.results.comparison import Comparison, GroupScores
from pacos.results.figures import Difference


def comparison_charts(comparison: Comparison) -> dict[str, Any]:
    """All charts of a comparison, by kind; a learning curve needs two checkpoints."""
    figures = {"differences": difference_chart(comparison)}
    if sum(model.step > 0 for model in comparison.contestants) > 1:
        figures["curve"] = learning_curve(comparison)
    return figures | {"categories": category_chart(comparison), "tasks": task_chart(comparison)}


def difference_chart(comparison: Comparison) -> Any:
    """Each model's difference to the base with its interval, for ROUGE-L of the whole answer and of its first line."""
    models = comparison.contestants[::-1]
    names = [charts.label_text(model.name) for model in models]
    figure = charts.new_figure(height=90 + 60 * len(models))
    for metric, name, colour, shift in (
        ("first_line_rougeL", "first line", "#2a9d8f", -0.12),
        ("rougeL", "ROUGE-L", charts.ACCENT, 0.12),
    ):
        rows = [model.against_base[metric] for model in models]
        figure.add_scatter(
            name=name,
            mode="markers",
            x=[row.difference for row in rows],
            y=[index + shift for index in range(len(rows))],
            error_x=_error_bars(rows) | {"thickness": 2, "width": 5},
            marker={"size": 11, "color": colour},
            customdata=[[label, row.low, row.high] for label, row in zip(names, rows, strict=True)],
            hovertemplate="%{customdata[0]}: %{x:+.2f} [%{customdata[1]:+.2f}, %{customdata[2]:+.2f}]",
        )
    figure.add_vline(x=0, line={"color": charts.FIRST, "width": 1, "dash": "dot"})
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4])
    figure.update_xaxes(title="points against the base, 95 %")
    return figure


def learning_curve(comparison: Comparison) -> Any:
    """Difference to the base over a run's checkpoints, with intervals."""
    reached = sorted((model for model in comparison.contestants if model.step), key=lambda model: model.step)
    rows = [model.against_base["rougeL"] for model in reached]
    figure = charts.new_figure(height=280, left=60)
    figure.add_scatter(
        x=[model.step for model in reached],
        y=[row.difference for row in rows],
        mode="lines+markers",
        line={"color": charts.ACCENT, "width": 2},
        error_y=_error_bars(rows),
        hovertemplate="step %{x}: %{y:+.2f}",
    )
    figure.add_hline(y=0, line={"color": charts.FIRST, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title="points against the base")
    return figure


def category_chart(comparison: Comparison) -> Any:
    """ROUGE-L by category, one dot per model."""
    rows = list(comparison.per_category.items())[::-1]
    labels = [f"{charts.label_text(name.replace('_', ' '))} · {row.tasks}" for name, row in rows]
    figure = charts.new_figure(height=90 + 30 * len(rows))
    names = list(comparison.labels)
    for label, (_, row) in zip(labels, rows, strict=True):
        values = [row.scores[name]["rougeL"] for name in names[:2]]
        figure.add_scatter(
            x=values, y=[label] * len(values), mode="lines", line={"color": charts.FIRST, "width": 2}, opacity=0.5,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    colours = [charts.FIRST, *itertools.islice(itertools.cycle(charts.PALETTE), len(names) - 1)]
    for name, colour in zip(names, colours, strict=True):
        figure.add_scatter(
            name=charts.label_text(name),
            mode="markers",
            x=[row.scores[name]["rougeL"] for _, row in rows],
            y=labels,
            marker={"size": 10, "color": colour},
            customdata=[charts.label_text(name)] * len(rows),
            hovertemplate="%{customdata}: %{x:.2f}",
        )
    highest = max(one["rougeL"] for _, row in rows for one in row.scores.values())
    figure.update_xaxes(title="ROUGE-L", range=[-2, highest + 4])
    figure.update_yaxes(ticks="outside", ticklen=6, tickcolor="rgba(0,0,0,0)")
    return figure


def task_chart(comparison: Comparison) -> Any:
    """Categories inside, their tasks outside; angles are instances, colours the first model's difference."""
    base, first = comparison.base.name, comparison.contestants[0].name

    def moved(row: GroupScores) -> float:
        return row.scores[first]["rougeL"] - row.scores[base]["rougeL"]

    rows = [(name, "", row) for name, row in comparison.per_category.items()]
    rows += [(name, row.category, row) for name, row in comparison.per_task.items()]
    # The 90th percentile has full colour, so that one outlier does not fade the others.
    furthest = max(1.0, sorted(abs(moved(row)) for _, _, row in rows)[int(0.9 * len(rows))])
    figure = charts.new_figure(height=560, bottom=70)
    figure.add_sunburst(
        ids=[f"{parent}/{name}" for name, parent, _ in rows],
        labels=[_short(name) if parent else charts.label_text(name.replace("_", " ")) for name, parent, _ in rows],
        parents=[f"/{parent}" if parent else "" for _, parent, _ in rows],
        values=[row.n for _, _, row in rows],
        branchvalues="total",
        marker={
            "colors": [moved(row) for _, _, row in rows],
            "colorscale": [[0, charts.LOSS], [0.5, charts.FIRST], [1, charts.GAIN]],
            "cmin": -furthest,
            "cmax": furthest,
            "line": {"color": "rgba(255,255,255,0.5)", "width": 1},
            "showscale": True,
            "colorbar": {"orientation": "h", "y": -0.16, "thickness": 10, "len": 0.6, "outlinewidth": 0},
        },
        insidetextfont={"color": "#fff"},
        customdata=[[charts.label_text(name), moved(row)] for name, _, row in rows],
        hovertemplate="%{customdata[0]}: %{customdata[1]:+.2f} over %{value:,}",
    )
    figure.update_layout(uniformtext={"minsize": 9, "mode": "hide"})
    return figure


def _error_bars(rows: Sequence[Difference]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [row.high - row.difference for row in rows],
        "arrayminus": [row.difference - row.low for row in rows],
    }


def _short(task: str) -> str:
    """task1356_xlsum_title_generation → task1356"""
    found = re.match(r"task\d+", task)
    return found[0] if found else charts.label_text(task)
