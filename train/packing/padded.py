"""Lays out the optimizer steps of a model that cannot be packed: a row for each example, padded in its micro-batch.

Examples of similar length share a micro-batch, which is as wide as its longest. A unit of several examples (a
preference pair) stays in one micro-batch. The loss is the same sum over labels as for packed rows.
"""

from collections.abc import Sequence

from pacos.train.data.examples import Unit
from pacos.train.packing.bins import StepLayout

# The shortest example of a micro-batch has at least this share of the longest's length.
SHORTEST = 0.6


def pad(units: Sequence[Unit], tokens: int, processes: int, *, single: bool = False) -> StepLayout:
    """The layout of a step; its rows are units, one example after another.

    A micro-batch has at most `tokens` positions, padding included, or one unit where that alone has more. With `single`
    each has one unit. Every process has equally many; those without a unit compute one position of padding.
    """
    order = sorted(range(len(units)), key=lambda index: (-longest(units[index]), index))
    groups: list[list[int]] = []
    for index in order:
        if groups and not single and fits(units, [*groups[-1], index], tokens):
            groups[-1].append(index)
        else:
            groups.append([index])
    while len(groups) % processes:
        largest = max(groups, key=len)
        if len(largest) > 1:
            half = largest[len(largest) // 2 :]
            del largest[len(largest) // 2 :]
            groups.append(half)
        else:
            groups.append([])
    groups.sort(key=lambda group: -positions(units, group))
    return StepLayout(
        micro_batches=[
            [[[index] for index in group] for group in groups[first::processes]] for first in range(processes)
        ],
        width=longest(units[order[0]]),
        tokens=sum(len(example.ids) for unit in units for example in unit),
        positions=sum(positions(units, group) for group in groups),
    )


def fits(units: Sequence[Unit], group: Sequence[int], tokens: int) -> bool:
    """Whether these units, the longest first, make one micro-batch."""
    similar = longest(units[group[-1]]) >= SHORTEST * longest(units[group[0]])
    return similar and positions(units, group) <= tokens


def positions(units: Sequence[Unit], group: Sequence[int]) -> int:
    """Positions that a micro-batch of these units computes."""
    rows = sum(len(units[index]) for index in group)
    return rows * max((longest(units[index]) for index in group), default=0) or 1


def longest(unit: Unit) -> int:
    """Tokens of a unit's longest example."""
    return max(len(example.ids) for example in unit)
