"""Where micro-batches are computed: this process among those of accelerate."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pacos.train.model.fsdp import is_sharded
from pacos.train.packing.batch import Batch, collate
from pacos.train.packing.plan import OptimizerStep

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class Runtime:
    """This process, the id of padding, and whether row widths are static (see Bin)."""

    accelerator: "Accelerator"
    pad_id: int
    static: bool = False

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
        return [collate(rows, step.layout.width, self.pad_id) for rows in step.micro_batches(self.process)]

    def to_device(self, batch: Batch) -> Batch:
        """A copy on this process's device."""
        return batch.to(self.accelerator.device)

    def unwrap(self, wrapped: Any) -> Any:
        """The model without DDP's wrapper; a sharded one unchanged."""
        return wrapped if is_sharded(wrapped) else self.accelerator.unwrap_model(wrapped)
