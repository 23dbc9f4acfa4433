"""What a run does from its first optimizer step to its last, decided before it starts.

A step takes `batch_size` examples of a seeded permutation, whatever the number of processes. All of it is a
function of data, configuration and world, so that resume is exact, the largest pass is known before the first,
and compiled kernels see few widths.
"""

import functools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pacos.config import Config, TrainConfig
from pacos.errors import ConfigError
from pacos.train.data.examples import Example
from pacos.train.packing.bins import Piece, Room, StepLayout, lay_out, static_widths
from pacos.train.packing.prefixes import share_prefixes

# What must lie in one row: an example, or the chosen and the rejected answer to one prompt.
Unit = tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The units of an optimizer step and where they lie."""

    units: list[Unit]
    layout: StepLayout

    @property
    def examples(self) -> list[Example]:
        return [example for unit in self.units for example in unit]

    @property
    def tokens(self) -> int:
        """Of its examples, each counted whole: a shared prefix counts for everyone who attends it."""
        return sum(len(example.ids) for example in self.examples)

    @property
    def response_tokens(self) -> int:
        return sum(example.response_tokens for example in self.examples)

    def passes(self, process: int) -> list[list[list[Example]]]:
        """Rows of examples, pass by pass."""
        return [
            [[example for index in row for example in self.units[index]] for row in rows]
            for rows in self.layout.passes[process]
        ]


@dataclass(frozen=True)
class Plan:
    """`steps` to learn from, in order; `held_out`, of which nothing is learnt, in steps as well."""

    steps: list[Step]
    held_out: list[Step]
    steps_per_epoch: int

    @property
    def examples(self) -> list[Example]:
        """Of the first epoch and held out, each with the prefix that it shares."""
        return [example for step in self.steps[: self.steps_per_epoch] + self.held_out for example in step.examples]

    @property
    def fill(self) -> float:
        """Share of all positions computed that hold real tokens."""
        layouts = [step.layout for step in self.steps]
        return sum(layout.tokens for layout in layouts) / sum(layout.width * layout.rows for layout in layouts)

    @property
    def widths(self) -> list[int]:
        return sorted({step.layout.width for step in self.steps})

    @property
    def saved(self) -> float:
        """Share of the examples' tokens that need not be computed because they lie in a shared prefix."""
        return 1 - sum(step.layout.tokens for step in self.steps) / sum(step.tokens for step in self.steps)

    def __str__(self) -> str:
        widths = f"rows of {self.widths[0]:,} to {self.widths[-1]:,} tokens, {self.fill:.1%} filled"
        return f"{widths}; {self.saved:.1%} of the tokens lie in shared prefixes and are computed once per row"


def plan_run(examples: Sequence[Example], config: Config, *, processes: int = 1, static: bool = False) -> Plan:
    """`static`: see packing.Room. Raises ConfigError where `train.eval_examples` leaves nothing to learn from."""
    train = config.train
    room = Room(train.pack_tokens, processes, static)
    learnt, held_out = hold_out(as_units(share_prefixes(examples, train), train), train.eval_examples, config.seed)
    groups = [
        [learnt[index] for index in step_examples(len(learnt), train, config.seed, step)]
        for step in range(total_steps(len(learnt), train))
    ]
    count = len(groups)
    steps = lay_out_steps(groups + in_order(held_out, train), room)
    return Plan(steps[:count], steps[count:], steps_per_epoch(len(learnt), train))


def as_units(examples: Sequence[Example], train: TrainConfig) -> list[Unit]:
    if train.objective == "dpo":
        return list(zip(examples[::2], examples[1::2], strict=True))
    return [(example,) for example in examples]


def in_order(units: Sequence[Unit], train: TrainConfig) -> list[list[Unit]]:
    return [list(units[start : start + train.batch_size]) for start in range(0, len(units), train.batch_size)]


def lay_out_steps(groups: Sequence[list[Unit]], room: Room) -> list[Step]:
    steps = [Step(group, lay_out([piece(unit) for unit in group], room)) for group in groups]
    return few_widths(steps) if room.static else steps


def hold_out(examples: Sequence[Unit], count: int, seed: int) -> tuple[list[Unit], list[Unit]]:
    """What is learnt, and a seeded draw of `count` that is not; both in the data's order."""
    if count >= len(examples):
        raise ConfigError(f"{count} of {len(examples)} examples held out leave none", where="train.eval_examples")
    drawn = set(random.Random(f"{seed}:held out").sample(range(len(examples)), count))
    learnt = [example for index, example in enumerate(examples) if index not in drawn]
    return learnt, [examples[index] for index in sorted(drawn)]


def piece(unit: Unit) -> Piece:
    """Answers of one unit share one prefix."""
    own = sum(len(example.ids) - example.shared for example in unit)
    return Piece(own, tuple(unit[0].ids[: unit[0].shared]))


def few_widths(steps: Sequence[Step]) -> list[Step]:
    """The same steps, their rows widened so that there are few widths in all."""
    rows: Counter[int] = Counter()
    for step in steps:
        rows[step.layout.width] += step.layout.rows
    widths = static_widths(rows)
    return [
        replace(step, layout=replace(step.layout, width=min(width for width in widths if width >= step.layout.width)))
        for step in steps
    ]


def steps_per_epoch(examples: int, train: TrainConfig) -> int:
    return math.ceil(examples / train.batch_size)


def total_steps(examples: int, train: TrainConfig) -> int:
    """Optimizer steps of a run: `epochs` (the last batch of an epoch may be smaller), at most `max_steps`."""
    steps = math.ceil(train.epochs * steps_per_epoch(examples, train))
    return min(steps, train.max_steps or steps)


def step_examples(examples: int, train: TrainConfig, seed: int, step: int) -> list[int]:
    """Indices of the examples that step 0, 1, … takes: a function of its arguments alone."""
    epoch, place = divmod(step, steps_per_epoch(examples, train))
    return epoch_order(examples, seed, epoch)[place * train.batch_size : (place + 1) * train.batch_size]


@functools.lru_cache(maxsize=2)
def epoch_order(examples: int, seed: int, epoch: int) -> list[int]:
    order = list(range(examples))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order
