"""`analysis.html`: the figures of `pacos analyze` on one self-contained page."""

from collections.abc import Mapping, Sequence
from typing import Any

from pacos.report import charts
from pacos.results.dataset import Analysis, LengthHistogram, NoveltyStretch

COMPARED = {
    "tasks": "tasks",
    "instruction_words": "words in an instruction",
    "input_words": "words in an input, where there is one",
    "output_words": "words in an output",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "nearest_seed": "ROUGE-L to the nearest seed",
    "nearest_earlier": "ROUGE-L to the nearest earlier task",
    "verb_noun_share": "tasks with a verb and its noun",
    "top_pairs_share": "tasks in the top verbs and nouns",
}


def page_values(analysis: Analysis) -> dict[str, Any]:
    """The template's variables: the figures next to the published ones, and the charts as HTML by name."""
    ours = {
        "tasks": analysis.tasks,
        **{f"{part}_words": lengths.mean for part, lengths in analysis.lengths.items()},
        **{f"distinct_{n}": share for n, share in analysis.distinct.items()},
        "nearest_seed": analysis.nearest_seed.mean,
        "nearest_earlier": analysis.novelty.mean,
        "verb_noun_share": analysis.verbs.share,
        "top_pairs_share": analysis.verbs.top_share,
    }
    published = analysis.published
    return {
        "analysis": analysis,
        "systems": list(published),
        "rows": [
            [title, ours[key], *(getattr(one, key) for one in published.values())] for key, title in COMPARED.items()
        ],
        "figures": {name: charts.html(figure) for name, figure in analysis_charts(analysis).items()},
    }


def analysis_charts(analysis: Analysis) -> dict[str, Any]:
    """The page's charts by name. Those without data are left out."""
    found = {
        "verbs": sunburst(analysis.verbs.top),
        "nearest_seed": _similarity(analysis.nearest_seed.histogram, "ROUGE-L to the nearest seed"),
        "nearest_earlier": _similarity(analysis.novelty.histogram, "ROUGE-L to the nearest earlier task"),
        "over_time": over_time(analysis.novelty.over_time),
        **{part: lengths_histogram(part, lengths) for part, lengths in analysis.lengths.items() if lengths.count},
    }
    if (funnel := analysis.funnel).items:
        found["funnel"] = charts.bars({"items": funnel.items, "parsed": funnel.parsed, "accepted": funnel.accepted})
    for name, counts in (("defects", analysis.defects), ("suspicions", analysis.suspicions)):
        if some := {kind: count for kind, count in counts.items() if count}:
            found[name] = charts.bars(dict(sorted(some.items(), key=lambda item: -item[1])), charts.FIRST)
    return found


def sunburst(top: Mapping[str, Mapping[str, int]]) -> Any:
    """A chart of verbs inside and the nouns they act on outside; angles are numbers of tasks."""
    ids, labels, parents, values, colours = [], [], [], [], []
    for index, (verb, nouns) in enumerate(top.items()):
        colour = charts.PALETTE[index % len(charts.PALETTE)]
        ids += [verb, *(f"{verb}/{noun}" for noun in nouns)]
        labels += [verb, *nouns]
        parents += ["", *(verb for _ in nouns)]
        values += [sum(nouns.values()), *nouns.values()]
        colours += [colour] * (1 + len(nouns))
    figure = charts.new_figure(height=640)
    figure.add_sunburst(
        ids=ids, labels=labels, parents=parents, values=values, branchvalues="total", sort=False,
        marker={"colors": colours, "line": {"color": "rgba(255,255,255,0.6)", "width": 1}},
        leaf={"opacity": 0.78}, insidetextfont={"color": "#fff"}, hovertemplate="%{label}: %{value:,}",
    )  # fmt: skip
    # Labels in thin slices would be unreadable; hovering still shows them.
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, uniformtext={"minsize": 10, "mode": "hide"})
    return figure


def lengths_histogram(part: str, lengths: LengthHistogram) -> Any:
    """A bar chart of the lengths of one part of the tasks."""
    width, counts = lengths.bin_width, lengths.histogram
    figure = charts.new_figure(height=240, left=60)
    figure.add_bar(
        x=[width * (index + 0.5) for index in range(len(counts))],
        y=counts,
        width=0.94 * width,
        marker={"color": charts.ACCENT},
        hovertemplate="about %{x:.0f} words: %{y:,}",
    )
    figure.update_xaxes(title=f"words in an {part}; last bar: or more")
    figure.update_yaxes(title="tasks")
    return figure


def over_time(stretches: Sequence[NoveltyStretch]) -> Any:
    """A line chart of the similarity to the nearest earlier task, in the order of the tasks."""
    figure = charts.new_figure(height=240, left=60)
    figure.add_scatter(
        x=[row.tasks for row in stretches],
        y=[row.mean for row in stretches],
        mode="lines+markers",
        line={"color": charts.ACCENT, "width": 2},
        hovertemplate="up to task %{x:,}: %{y:.3f}",
    )
    figure.update_xaxes(title="tasks, in their order")
    figure.update_yaxes(title="mean ROUGE-L", range=[0, 1])
    return figure


def _similarity(histogram: Sequence[int], title: str) -> Any:
    figure = charts.novelty(histogram)
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="tasks")
    return figure
