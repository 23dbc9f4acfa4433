"""Finds template text that many examples begin with, from their ids, to be computed once per packed row.

An example whose first `prefix_length` ids are a shared prefix attends that prefix and itself, at its true positions:
exactly what it would attend alone. That holds only while every example would compute the same prefix, so not under
dropout or noise, the base's own included. Precedent for pairs of answers: arXiv 2410.20305.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from pacos.config import TrainConfig
from pacos.train.data.examples import Example
from pacos.train.interfaces import objective_of
from pacos.train.packing.rules import PACKED, RowRules


def share_prefixes(examples: Sequence[Example], train: TrainConfig, rules: RowRules = PACKED) -> list[Example]:
    """The same examples with `prefix_length` set; 0 everywhere under dropout or noise, where sharing is not exact."""
    if train.dropout or train.neftune_alpha or not rules.shares_prefixes or not examples:
        return list(examples)
    return objective_of(train).share_prefixes(examples, train)


def share_in_rows(examples: Sequence[Example], train: TrainConfig) -> list[Example]:
    """Share the prefixes of examples that are packed together."""
    mean = sum(len(example.ids) for example in examples) / len(examples)
    together = min(train.batch_size, len(examples), train.pack_tokens / mean)
    lengths = find_prefixes([example.ids for example in examples], together)
    return [replace(example, prefix_length=length) for example, length in zip(examples, lengths, strict=True)]


def share_in_pairs(examples: Sequence[Example]) -> list[Example]:
    """Share all that chosen and rejected have in common: the prompt, and any common start of the responses."""
    lengths = [
        common_length(chosen.ids[:-1], rejected.ids[:-1])
        for chosen, rejected in zip(examples[::2], examples[1::2], strict=True)
    ]
    return [replace(example, prefix_length=lengths[number // 2]) for number, example in enumerate(examples)]


def find_prefixes(sequences: Sequence[list[int]], together: float) -> list[int]:
    """Lengths of the prefixes to share, one per sequence, where `together` sequences are packed into a row.

    A longer prefix of fewer sequences is preferred where it saves more tokens than a shorter one of more sequences:
    each prefix is stored once, and saves its length in every other sequence that has it.
    """
    order = sorted(range(len(sequences)), key=lambda index: sequences[index])
    shared = [0] * len(sequences)

    def descend(group: list[int], outer: int) -> None:
        expected = together * len(group) / len(sequences)
        if expected <= 1:
            return
        # In sorted order a group shares what its first and last share; at least one id stays the sequence's own.
        length = common_length(sequences[group[0]][:-1], sequences[group[-1]][:-1])
        if (expected - 1) * length > expected * outer:
            outer = length
            for index in group:
                shared[index] = length
        for _, branch in itertools.groupby(group, key=lambda index: sequences[index][length]):
            if len(members := list(branch)) < len(group):
                descend(members, outer)

    descend(order, 0)
    return shared


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
