"""Where micro-batches are computed: this process among those of accelerate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pacos.train.data.examples import Example
from pacos.train.model.fsdp import is_sharded
from pacos.train.packing.batch import Batch, collate, collate_padded
from pacos.train.packing.plan import OptimizerStep
from pacos.train.packing.rules import PACKED, RowRules

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class Runtime:
    """This process, the id of padding, and how the model's examples are put into rows."""

    accelerator: "Accelerator"
    pad_id: int
    rules: RowRules = PACKED

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def process(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def processes(self) -> int:
        return int(self.accelerator.num_processes)

    def collate_step(self, step: OptimizerStep) -> list[Batch]:
        """This process's micro-batches of a step, on the CPU."""
        return [self.collate(rows, step.layout.width) for rows in step.micro_batches(self.process)]

    def collate(self, rows: Sequence[Sequence[Example]], width: int) -> Batch:
        """One micro-batch on the CPU: packed rows of this width, or padded rows of one example each."""
        if self.rules.unpacked:
            return collate_padded([example for row in rows for example in row], self.pad_id)
        return collate(rows, width, self.pad_id)

    def to_device(self, batch: Batch) -> Batch:
        """A copy on this process's device."""
        return batch.to(self.accelerator.device)

    def unwrap(self, wrapped: Any) -> Any:
        """The model without DDP's wrapper; a sharded one unchanged."""
        return wrapped if is_sharded(wrapped) else self.accelerator.unwrap_model(wrapped)
