"""Template text that many examples begin with: found from their ids, to be computed once per row of a pack.

An example whose first `shared` ids are a prefix of others attends that prefix and itself, at its true positions:
exactly what it would see alone. It holds only while each example would compute the same prefix, so not under
dropout or noise. Precedent for pairs of answers: arXiv 2410.20305.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from pacos.config import TrainConfig
from pacos.train.data.examples import Example


def share_prefixes(examples: Sequence[Example], train: TrainConfig) -> list[Example]:
    """The same examples, each saying how many of its first ids it shares; none does where that would not be exact."""
    if train.dropout or train.neftune_alpha or not examples:
        return list(examples)
    if train.objective == "dpo":
        return share_in_pairs(examples)
    mean = sum(len(example.ids) for example in examples) / len(examples)
    together = min(train.batch_size, len(examples), train.pack_tokens / mean)
    shared = find_prefixes([example.ids for example in examples], together)
    return [replace(example, shared=length) for example, length in zip(examples, shared, strict=True)]


def share_in_pairs(examples: Sequence[Example]) -> list[Example]:
    """Chosen and rejected share all they have in common: the prompt, and how the answers begin."""
    shared = [
        common_length(chosen.ids[:-1], rejected.ids[:-1])
        for chosen, rejected in zip(examples[::2], examples[1::2], strict=True)
    ]
    return [replace(example, shared=shared[number // 2]) for number, example in enumerate(examples)]


def find_prefixes(sequences: Sequence[list[int]], together: float) -> list[int]:
    """How many of its first ids each sequence shares with enough others, where `together` sequences lie in a row.

    A longer prefix of fewer sequences is taken where it saves more tokens than the shorter one of all of them:
    each prefix is stored once, and saves its length in every other sequence that has it.
    """
    order = sorted(range(len(sequences)), key=lambda index: sequences[index])
    shared = [0] * len(sequences)

    def descend(group: list[int], outer: int) -> None:
        expected = together * len(group) / len(sequences)
        if expected <= 1:
            return
        # Sorted, all of a group share what its first and last do; one id at least stays the sequence's own.
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
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
