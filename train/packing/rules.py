"""How a model's examples are put into rows: packed, or each in a padded row of its own, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowRules:
    """What a model's layers allow. The defaults are those of a model whose only link between tokens is attention.

    `unpacked`: why each example has a row of its own, padded to its micro-batch's longest; "" where rows are packed.
    `single`: a micro-batch has one example, because the length of one changes what the others compute.
    `unshared`: why no prefix is shared, besides `train`'s own dropout and noise; "" where nothing forbids it.
    `static`: packed rows have widths that are multiples of BLOCK, for kernels that are compiled per width.
    """

    unpacked: str = ""
    single: bool = False
    unshared: str = ""
    static: bool = False

    @property
    def shares_prefixes(self) -> bool:
        return not self.unpacked and not self.unshared


PACKED = RowRules()
