"""Plans a run before it starts: which examples each optimizer step takes, and how they are packed.

A step takes `batch_size` units of a seeded permutation, whatever the number of processes. The plan is a function of
data, configuration and number of processes, so that resuming is exact, the largest micro-batch is known before the
first step, and compiled kernels see few widths.
"""

import functools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pacos.config import TrainConfig
from pacos.errors import ConfigError
from pacos.train.data.examples import Example, Unit
from pacos.train.interfaces import objective_of
from pacos.train.packing.bins import Bin, Item, StepLayout, pack, static_widths
from pacos.train.packing.padded import pad
from pacos.train.packing.prefixes import share_prefixes
from pacos.train.packing.rules import PACKED, RowRules


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """The units of an optimizer step and their packing."""

    units: list[Unit]
    layout: StepLayout

    @property
    def examples(self) -> list[Example]:
        return [example for unit in self.units for example in unit]

    @property
    def tokens(self) -> int:
        """Tokens of the examples; a shared prefix counts in every example."""
        return sum(len(example.ids) for example in self.examples)

    @property
    def response_tokens(self) -> int:
        return sum(example.response_tokens for example in self.examples)

    def micro_batches(self, process: int) -> list[list[list[Example]]]:
        """One process's micro-batches, each as rows of examples."""
        return [
            [[example for index in row for example in self.units[index]] for row in rows]
            for rows in self.layout.micro_batches[process]
        ]


@dataclass(frozen=True)
class TrainingPlan:
    """The optimizer steps of a run in order, and the held-out units, packed as steps as well."""

    steps: list[OptimizerStep]
    held_out: list[OptimizerStep]
    steps_per_epoch: int

    @property
    def examples(self) -> list[Example]:
        """Examples of the first epoch and held-out ones, with their prefix lengths."""
        return [example for step in self.steps[: self.steps_per_epoch] + self.held_out for example in step.examples]

    @property
    def fill(self) -> float:
        """Share of all computed positions that are not padding."""
        layouts = [step.layout for step in self.steps]
        return sum(layout.tokens for layout in layouts) / sum(layout.positions for layout in layouts)

    @property
    def widths(self) -> list[int]:
        return sorted({step.layout.width for step in self.steps})

    @property
    def saved(self) -> float:
        """Share of the examples' tokens that are not computed again because they are in a shared prefix."""
        return 1 - sum(step.layout.tokens for step in self.steps) / sum(step.tokens for step in self.steps)

    def __str__(self) -> str:
        widths = f"rows of {self.widths[0]:,} to {self.widths[-1]:,} tokens, {self.fill:.1%} filled"
        return f"{widths}; {self.saved:.1%} of the tokens are in shared prefixes and computed once per row"


def plan_run(
    examples: Sequence[Example], train: TrainConfig, seed: int, *, processes: int = 1, rules: RowRules = PACKED
) -> TrainingPlan:
    """Plan all steps. Raises ConfigError where `train.eval_examples` leaves no training data."""
    units = objective_of(train).units(share_prefixes(examples, train, rules))
    units, held_out = hold_out(units, train.eval_examples, seed)
    groups = [
        [units[index] for index in step_indices(len(units), train, seed, step)]
        for step in range(total_steps(len(units), train))
    ]
    steps = lay_out(groups + in_batches(held_out, train.batch_size), train.pack_tokens, rules, processes)
    return TrainingPlan(steps[: len(groups)], steps[len(groups) :], steps_per_epoch(len(units), train))


def hold_out(units: Sequence[Unit], count: int, seed: int) -> tuple[list[Unit], list[Unit]]:
    """(units to train on, a seeded draw of `count` held-out units), both in the data's order."""
    if count >= len(units):
        raise ConfigError(f"{count} of {len(units)} examples held out leave none", where="train.eval_examples")
    drawn = set(random.Random(f"{seed}:held out").sample(range(len(units)), count))
    training = [unit for index, unit in enumerate(units) if index not in drawn]
    return training, [units[index] for index in sorted(drawn)]


def in_batches(units: Sequence[Unit], size: int) -> list[list[Unit]]:
    """Consecutive groups of `size` units; the last may be smaller."""
    return [list(units[start : start + size]) for start in range(0, len(units), size)]


def lay_out(groups: Sequence[list[Unit]], tokens: int, rules: RowRules, processes: int) -> list[OptimizerStep]:
    """Lay out each group of units as one step whose micro-batches have at most `tokens` positions."""
    if rules.unpacked:
        return [OptimizerStep(group, pad(group, tokens, processes, single=rules.single)) for group in groups]
    bin = Bin(tokens, rules.static)
    steps = [OptimizerStep(group, pack([item_of(unit) for unit in group], bin, processes)) for group in groups]
    return limit_widths(steps) if rules.static else steps


def item_of(unit: Unit) -> Item:
    """A unit as an item to pack; its examples share one prefix."""
    own = sum(len(example.ids) - example.prefix_length for example in unit)
    return Item(own, tuple(unit[0].ids[: unit[0].prefix_length]))


def limit_widths(steps: Sequence[OptimizerStep]) -> list[OptimizerStep]:
    """The same steps, some rows widened so that there are few different widths."""
    rows: Counter[int] = Counter()
    for step in steps:
        rows[step.layout.width] += step.layout.rows
    widths = static_widths(rows)
    return [
        replace(step, layout=step.layout.widened(min(width for width in widths if width >= step.layout.width)))
        for step in steps
    ]


def steps_per_epoch(units: int, train: TrainConfig) -> int:
    """Optimizer steps of one epoch."""
    return math.ceil(units / train.batch_size)


def total_steps(units: int, train: TrainConfig) -> int:
    """Optimizer steps of a run: `epochs` (the last batch of an epoch may be smaller), at most `max_steps`."""
    steps = math.ceil(train.epochs * steps_per_epoch(units, train))
    return min(steps, train.max_steps or steps)


def step_indices(units: int, train: TrainConfig, seed: int, step: int) -> list[int]:
    """Indices of the units that step 0, 1, … takes: a function of its arguments alone."""
    epoch, place = divmod(step, steps_per_epoch(units, train))
    return epoch_order(units, seed, epoch)[place * train.batch_size : (place + 1) * train.batch_size]


@functools.lru_cache(maxsize=2)
def epoch_order(units: int, seed: int, epoch: int) -> list[int]:
    """The seeded permutation of one epoch."""
    order = list(range(units))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order
