import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.config import LoraConfig, TrainConfig
from pacos.errors import ConfigError
from pacos.train.data.examples import Example
from pacos.train.packing.bins import Bin, Item, pack, row_load, static_widths
from pacos.train.packing.padded import longest, pad
from pacos.train.packing.plan import plan_run, step_indices, steps_per_epoch, total_steps
from pacos.train.packing.prefixes import find_prefixes, share_prefixes
from pacos.train.packing.rules import RowRules


def test_alpaca_takes_the_published_number_of_steps() -> None:
    assert steps_per_epoch(52_002, TrainConfig()) == 407
    assert total_steps(52_002, TrainConfig()) == 1221
    assert total_steps(52_002, TrainConfig(epochs=0.5)) == 204
    assert total_steps(52_002, TrainConfig(max_steps=10)) == 10
    assert total_steps(3, TrainConfig(max_steps=10)) == 3


def test_every_epoch_takes_each_example_once_in_another_order() -> None:
    config = TrainConfig(batch_size=4)
    epochs = [[step_indices(10, config, 7, epoch * 3 + place) for place in range(3)] for epoch in range(2)]
    assert [[len(step) for step in epoch] for epoch in epochs] == [[4, 4, 2]] * 2
    first, second = ([index for step in epoch for index in step] for epoch in epochs)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert step_indices(10, config, 8, 0) != epochs[0][0]


items = st.builds(Item, st.integers(1, 60), st.sampled_from([(), (1, 2, 3), (1, 5)]))


@settings(max_examples=200, deadline=None)
@given(st.lists(items, min_size=1, max_size=60), st.integers(64, 300), st.integers(1, 5), st.booleans())
def test_a_layout_holds_each_item_once_in_equally_many_micro_batches(
    items: list[Item], tokens: int, processes: int, static: bool
) -> None:
    layout = pack(items, Bin(tokens, static), processes)
    rows = [row for process in layout.micro_batches for rows in process for row in rows]
    assert sorted(index for row in rows for index in row) == list(range(len(items)))
    assert len(layout.micro_batches) == processes
    assert len({tuple(len(rows) for rows in process) for process in layout.micro_batches}) == 1, (
        "as many rows on every process"
    )
    loads = [row_load(row, items) for row in rows]
    assert layout.width == (-(-max(loads) // 128) * 128 if static else max(loads))
    assert layout.width < tokens + 128 if static else layout.width <= tokens
    assert layout.fill == sum(loads) / (layout.width * len(rows))
    assert all(len(rows) == 1 for process in layout.micro_batches for rows in process)


def test_a_row_counts_a_prefix_once() -> None:
    shared = [Item(10, (1, 2, 3)), Item(5, (1, 2, 3)), Item(7, (4,)), Item(2)]
    assert row_load([0, 1], shared) == 18
    assert row_load([0, 1, 2, 3], shared) == 28


def alpaca_like(count: int) -> list[Example]:
    """Lengths as Alpaca's, two template variants of 28 and 38 tokens."""
    draw = random.Random(0)
    made = []
    for number in range(count):
        template = [1, *range(100, 127)] if draw.random() < 0.6 else [1, *range(100, 110), *range(200, 227)]
        own = max(4, min(512, int(draw.lognormvariate(4.66, 0.5))) - len(template))
        made.append(Example(f"rows:{number}", template + [draw.randrange(1000, 30_000) for _ in range(own)], 40))
    return made


def config(**train: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, **train})


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("static", [False, True])
def test_an_alpaca_like_run_is_filled_with_real_tokens_in_few_widths(processes: int, static: bool) -> None:
    plan = plan_run(alpaca_like(128 * 12), config(), 42, processes=processes, rules=RowRules(static=static))
    assert len(plan.steps) == 24
    assert plan.fill >= 0.95
    # 26 % of Alpaca's tokens are template; each row computes them once.
    assert plan.saved > 0.2
    if static:
        assert len(plan.widths) <= 8 and all(width % 128 == 0 for width in plan.widths)


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.eval_examples: 4 of 4"):
        plan_run(alpaca_like(4), config(eval_examples=4), 42)


def test_the_widths_dropped_are_those_that_add_least_padding() -> None:
    assert static_widths({128: 1, 256: 50, 384: 1, 512: 9}, limit=2) == [256, 512]
    assert static_widths({128: 1, 1024: 1}) == [128, 1024]


def test_each_template_variant_has_its_longest_common_prefix() -> None:
    with_input, without = [1, 2, 3, 9, 9, 9, 9], [1, 2, 3, 8, 8, 8]
    sequences = [[*with_input, 50 + n, 7] for n in range(10)] + [[*without, 50 + n, 7] for n in range(10)]
    assert find_prefixes(sequences, together=20) == [7] * 10 + [6] * 10
    # Two of a row save nothing by a prefix of their own over the three ids that all share.
    assert find_prefixes(sequences, together=2) == [3] * 20


def test_at_least_one_id_stays_outside_the_prefix() -> None:
    assert find_prefixes([[1, 2, 3], [1, 2, 3], [1, 2, 3, 4]], together=3) == [2, 2, 2]
    assert find_prefixes([[1, 2], [3, 4]], together=2) == [0, 0]


def test_nothing_is_shared_where_dropout_would_make_it_differ() -> None:
    rows = alpaca_like(16)
    assert {example.prefix_length for example in share_prefixes(rows, TrainConfig())} == {28, 38}
    dropping = share_prefixes(rows, TrainConfig(lora=LoraConfig(dropout=0.05)))
    assert {example.prefix_length for example in dropping} == {0}


def test_nothing_is_shared_where_the_base_has_dropout_of_its_own_or_rows_are_padded() -> None:
    rows = alpaca_like(16)
    for rules in (RowRules(unshared="the base has dropout"), RowRules(unpacked="its window is short")):
        assert {example.prefix_length for example in share_prefixes(rows, TrainConfig(), rules)} == {0}


units_of_one_or_two = st.lists(st.integers(1, 60), min_size=1, max_size=2).map(
    lambda lengths: tuple(Example("row", [1] * length, 0) for length in lengths)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(units_of_one_or_two, min_size=1, max_size=40), st.integers(64, 300), st.integers(1, 5), st.booleans())
def test_padded_rows_hold_each_unit_once_in_equally_many_micro_batches(
    units: list[tuple[Example, ...]], tokens: int, processes: int, single: bool
) -> None:
    layout = pad(units, tokens, processes, single=single)
    batches = [[index for [index] in rows] for process in layout.micro_batches for rows in process]
    assert sorted(index for batch in batches for index in batch) == list(range(len(units)))
    assert len(layout.micro_batches) == processes and len({len(process) for process in layout.micro_batches}) == 1
    computed = 0
    for batch in batches:
        widest = max((longest(units[index]) for index in batch), default=1)
        positions = widest * max(1, sum(len(units[index]) for index in batch))
        assert positions <= tokens or len(batch) == 1
        computed += positions
        assert len(batch) <= 1 or not single
    assert layout.positions == computed
    assert layout.fill == sum(len(example.ids) for unit in units for example in unit) / computed


def test_a_padded_plan_computes_what_a_packed_one_does() -> None:
    rows = alpaca_like(128 * 4)
    packed, padded = (plan_run(rows, config(), 42, rules=rules) for rules in (RowRules(), RowRules(unpacked="why")))
    assert [step.tokens for step in packed.steps] == [step.tokens for step in padded.steps]
    assert [[one.row for one in step.examples] for step in packed.steps] == [
        [one.row for one in step.examples] for step in padded.steps
    ]
    assert padded.saved == 0.0
    # Examples of similar length share a micro-batch.
    assert padded.fill > 0.7
