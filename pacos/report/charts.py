"""The report's charts, as plotly figures. Text and grid take the page's colours (report.html.j2), light or dark."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

FIRST = "#8a93a3"  # whoever the others are compared with
ACCENT = "#e0763a"
GAIN, LOSS = "#1d9a64", "#cf4444"
GRADES = {"A": GAIN, "B": "#8fc07a", "C": "#e5b04a", "D": LOSS}
LABEL = 60  # characters of a name in a chart
PALETTE = (ACCENT, "#2a9d8f", "#7a6bd8", "#c2567a", "#4f8fd0", "#9a8a2e")


def html(figure: Any) -> str:
    """The figure's element and script. plotly writes <, > and / of all texts as escapes, so none ends the script."""
    import plotly.io

    return str(
        plotly.io.to_html(
            figure, include_plotlyjs=False, full_html=False, config={"displayModeBar": False, "responsive": True}
        )
    )


def library() -> str:
    """plotly's own script, 4 MB, for one inline element."""
    import plotly.offline

    return str(plotly.offline.get_plotlyjs())


def differences(comparison: Mapping[str, Any]) -> Any:
    """Each contestant's difference to the base with its interval, for ROUGE-L whole and first line."""
    contestants = comparison["contestants"][::-1]
    figure = new_figure(height=90 + 60 * len(contestants))
    for metric, name, colour, shift in (
        ("first_line_rougeL", "first line", "#2a9d8f", -0.12),
        ("rougeL", "ROUGE-L", ACCENT, 0.12),
    ):
        rows = [one["against_base"][metric] for one in contestants]
        figure.add_scatter(
            name=name,
            mode="markers",
            x=[row["difference"] for row in rows],
            y=[index + shift for index in range(len(rows))],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row["high"] - row["difference"] for row in rows],
                "arrayminus": [row["difference"] - row["low"] for row in rows],
                "thickness": 2,
                "width": 5,
            },
            marker={"size": 11, "color": colour},
            customdata=[
                [plain(one["name"]), row["low"], row["high"]] for one, row in zip(contestants, rows, strict=True)
            ],
            hovertemplate="%{customdata[0]}: %{x:+.2f} [%{customdata[1]:+.2f}, %{customdata[2]:+.2f}]",
        )
    figure.add_vline(x=0, line={"color": FIRST, "width": 1, "dash": "dot"})
    names = [plain(one["name"]) for one in contestants]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4])
    figure.update_xaxes(title=f"points against {plain(comparison['base']['name'])}, 95 %")
    return figure


def learning_curve(comparison: Mapping[str, Any]) -> Any:
    """Difference to the base over a run's checkpoints, with intervals."""
    reached = sorted((one for one in comparison["contestants"] if one["step"]), key=lambda one: one["step"])
    rows = [one["against_base"]["rougeL"] for one in reached]
    figure = new_figure(height=280, left=60)
    figure.add_scatter(
        x=[one["step"] for one in reached],
        y=[row["difference"] for row in rows],
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["difference"] for row in rows],
            "arrayminus": [row["difference"] - row["low"] for row in rows],
        },
        hovertemplate="step %{x}: %{y:+.2f}",
    )
    figure.add_hline(y=0, line={"color": FIRST, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title=f"ROUGE-L against {plain(comparison['base']['name'])}")
    return figure


def categories(comparison: Mapping[str, Any]) -> Any:
    """ROUGE-L by category, one dot per contestant."""
    rows = list(comparison["per_category"].items())[::-1]
    labels = [f"{plain(name.replace('_', ' '))} · {row['tasks']}" for name, row in rows]
    figure = new_figure(height=90 + 30 * len(rows))
    names = [comparison["base"]["name"], *(one["name"] for one in comparison["contestants"])]
    for label, (_, row) in zip(labels, rows, strict=True):
        values = [row["scores"][name]["rougeL"] for name in names[:2]]
        figure.add_scatter(
            x=values, y=[label] * len(values), mode="lines", line={"color": FIRST, "width": 2}, opacity=0.5,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    for index, name in enumerate(names):
        figure.add_scatter(
            name=plain(name),
            mode="markers",
            x=[row["scores"][name]["rougeL"] for _, row in rows],
            y=labels,
            marker={"size": 10, "color": FIRST if index == 0 else PALETTE[(index - 1) % len(PALETTE)]},
            customdata=[plain(name)] * len(rows),
            hovertemplate="%{customdata}: %{x:.2f}",
        )
    highest = max(one["rougeL"] for _, row in rows for one in row["scores"].values())
    figure.update_xaxes(title="ROUGE-L", range=[-2, highest + 4])
    figure.update_yaxes(ticks="outside", ticklen=6, tickcolor="rgba(0,0,0,0)")
    return figure


def tasks(comparison: Mapping[str, Any]) -> Any:
    """Categories inside, their tasks outside; angles are instances, colours the first contestant's difference."""
    base, first = comparison["base"]["name"], comparison["contestants"][0]["name"]

    def moved(row: Mapping[str, Any]) -> float:
        return float(row["scores"][first]["rougeL"] - row["scores"][base]["rougeL"])

    rows = [(name, "", row) for name, row in comparison["per_category"].items()]
    rows += [(name, row["category"], row) for name, row in comparison["per_task"].items()]
    # Full colour for the tasks that moved most, not for the one that moved far beyond them.
    furthest = max(1.0, sorted(abs(moved(row)) for _, _, row in rows)[int(0.9 * len(rows))])
    figure = new_figure(height=560, bottom=70)
    figure.add_sunburst(
        ids=[f"{parent}/{name}" for name, parent, _ in rows],
        labels=[_short(name) if parent else plain(name.replace("_", " ")) for name, parent, _ in rows],
        parents=[f"/{parent}" if parent else "" for _, parent, _ in rows],
        values=[row["n"] for _, _, row in rows],
        branchvalues="total",
        marker={
            "colors": [moved(row) for _, _, row in rows],
            "colorscale": [[0, LOSS], [0.5, FIRST], [1, GAIN]],
            "cmin": -furthest,
            "cmax": furthest,
            "line": {"color": "rgba(255,255,255,0.5)", "width": 1},
            "showscale": True,
            "colorbar": {"orientation": "h", "y": -0.16, "thickness": 10, "len": 0.6, "outlinewidth": 0},
        },
        insidetextfont={"color": "#fff"},
        customdata=[[plain(name), moved(row)] for name, _, row in rows],
        hovertemplate="%{customdata[0]}: %{customdata[1]:+.2f} over %{value:,}",
    )
    figure.update_layout(uniformtext={"minsize": 9, "mode": "hide"})
    return figure


def _short(task: str) -> str:
    """task1356_xlsum_title_generation → task1356"""
    found = re.match(r"task\d+", task)
    return found[0] if found else plain(task)


def grades(found: Mapping[str, Any]) -> Any:
    """Shares of a rubric's grades by model, published rows beneath."""
    rows = [(f"{name}, published", row) for name, row in found.get("published", {}).items()][::-1]
    rows += [(name, row) for name, row in found["models"].items() if row["n"]][::-1]
    figure = new_figure(height=90 + 32 * len(rows))
    for grade, colour in GRADES.items():
        figure.add_bar(
            name=grade,
            x=[100 * row["counts"][grade] / row["n"] for _, row in rows],
            y=[plain(name) for name, _ in rows],
            orientation="h",
            marker={"color": colour},
            customdata=[row["counts"][grade] for _, row in rows],
            hovertemplate=f"{grade}: %{{customdata:,}} (%{{x:.1f}} %)",
        )
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(title="% of graded answers", range=[0, 100])
    figure.update_yaxes(showgrid=False)
    return figure


def loss(steps: Sequence[Mapping[str, float]]) -> Any:
    """Training loss by step."""
    figure = new_figure(height=280, left=60)
    figure.add_scatter(
        x=[row["step"] for row in steps],
        y=[row["loss"] for row in steps],
        mode="lines+markers" if len(steps) < 40 else "lines",
        line={"color": ACCENT, "width": 2},
        hovertemplate="step %{x}: %{y:.4f}",
    )
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title="nats per learnt token")
    return figure


def bars(counts: Mapping[str, int], colour: str = ACCENT) -> Any:
    """Horizontal bars, the first key on top, each with its count."""
    names = list(counts)[::-1]
    figure = new_figure(height=50 + 30 * max(1, len(names)), bottom=10)
    figure.add_bar(
        x=[counts[name] for name in names],
        y=[plain(name.replace("_", " ")) for name in names],
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
    """How near the accepted tasks lie to the nearest earlier one, in equal bins over [0, 1]."""
    width = 1 / len(histogram)
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


def plain(text: str) -> str:
    """A label for plotly, which reads tags and entities in its texts as its own."""
    label = text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
    return escape(visible(label), quote=False)


# Control characters as their pictures (U+2400 and on), save lines and tabs; what turns text round, by its number.
_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    127: 0x2421,
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def visible(text: str) -> str:
    """The text with its invisible commands to terminals and browsers made visible."""
    return text.translate(_VISIBLE)
