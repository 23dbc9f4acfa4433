"""What an objective and a method of training must provide. Their objects are listed in pacos/extensions.py.

An objective (sft, dpo) decides which rows are read, how they become examples, and the loss. A method (lora, qlora,
full) decides which weights are trained and what is written at the end.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pacos.config import Config, TrainConfig
from pacos.extensions import METHODS, OBJECTIVES, load
from pacos.templates import Template
from pacos.token_ids import Tokenizer
from pacos.train.data.examples import Dataset, Example, Unit
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch


class TrainingLoss(Protocol):
    """A loss that is summed over a micro-batch and divided by a count over the whole step.

    Packing, the number of micro-batches and the number of processes therefore do not change it. `figures` name what
    `sums` returns besides the loss; they are written to `metrics.jsonl`.
    """

    figures: tuple[str, ...]

    def count(self, units: Sequence[Unit]) -> int:
        """By what the sums over a step's units are divided."""
        ...

    def sums(self, model: Any, batch: Batch, examples: Sequence[Example]) -> "tuple[torch.Tensor, torch.Tensor]":
        """(loss, [figures] detached), each summed over the batch; `examples` are the batch's, row by row."""
        ...


class Objective(ABC):
    """What is learned: the rows read, the examples made of them, and the loss.

    `file` is where a run keeps its own rows (folder, file), `columns` what a dataset of the hub must have. Messages say
    `rows_name` for rows, `units_name` for what a step counts ("pairs"), `unit_text` for one of them; a unit has
    `examples_per_unit` examples.
    `has_reference`: the loss needs `Example.reference_logp`, log-probabilities under the untrained model.
    """

    file: tuple[str, str]
    columns: frozenset[str]
    rows_name: str
    units_name: str
    unit_text: str
    examples_per_unit: int
    has_reference: bool

    @abstractmethod
    def check(self, train: TrainConfig) -> None:
        """Raises ValueError where another key of `train` contradicts the objective."""

    @abstractmethod
    def parse_row(self, values: Any, *, where: str) -> Any:
        """A row of a file or of the hub as an object. Raises DataError."""

    @abstractmethod
    def encode(self, named: Sequence[tuple[str, Any]], tokenizer: Tokenizer, train: TrainConfig, seed: int) -> Dataset:
        """Token ids of all rows, given as (name, row); a unit's examples come one after another."""

    @abstractmethod
    def texts(self, row: Any, template: Template, draw: str) -> tuple[str, str]:
        """(prompt, response) of a row, for the check that the tuned model stops."""

    @abstractmethod
    def share_prefixes(self, examples: Sequence[Example], train: TrainConfig) -> list[Example]:
        """The same examples with `prefix_length` set; called only where sharing prefixes is exact."""

    @abstractmethod
    def loss(self, train: TrainConfig) -> TrainingLoss:
        """The loss of these settings."""

    @abstractmethod
    def description(self, train: TrainConfig) -> str:
        """A few words for the model card."""

    def units(self, examples: Sequence[Example]) -> list[Unit]:
        """Examples grouped by what must be packed into one row."""
        return list(zip(*[iter(examples)] * self.examples_per_unit, strict=True))


class Method(ABC):
    """Which weights are trained, how the base is loaded, and what is written.

    `trains_base`: the base's own weights are trained, held in float32. `four_bit`: the base's linear layers are
    quantised. `lighter` is the method to try where memory is short, "" for none. `library`, `tags` and `kind` are the
    model card's.
    """

    result: Literal["adapter", "model"]
    trains_base: bool
    four_bit: bool
    lighter: str
    library: str
    tags: tuple[str, ...]
    kind: str

    @abstractmethod
    def check(self, train: TrainConfig) -> None:
        """Raises ValueError where another key of `train` contradicts the method."""

    @abstractmethod
    def dropout(self, train: TrainConfig) -> float:
        """Dropout while training."""

    @abstractmethod
    def summary(self, train: TrainConfig) -> str:
        """What is trained, for `--dry-run`."""

    @abstractmethod
    def description(self, train: TrainConfig) -> str:
        """Method and hyper-parameters for the model card."""

    @abstractmethod
    def warnings(self, train: TrainConfig) -> list[str]:
        """What may surprise when the result is served. Raises ConfigError for an option that PEFT does not have."""

    @abstractmethod
    def untouched(self, model: Any, train: TrainConfig) -> str:
        """A warning of weights that stay as they are although all were meant; "" where there are none."""

    @abstractmethod
    def loading_options(self, dtype: "torch.dtype") -> dict[str, Any]:
        """Options of `from_pretrained` for a base that is computed in `dtype`."""

    @abstractmethod
    def prepare(self, base: Any, train: TrainConfig, dtype: "torch.dtype", device: "torch.device | str") -> Any:
        """The loaded base made ready to train: trainable weights in float32, computed in `dtype`.

        On the meta device it has the same weights, for the memory estimate.
        """

    @abstractmethod
    def export(self, model: Any, weights: "dict[str, torch.Tensor]", config: Config, folder: Path) -> None:
        """Write and check the trained weights, full tensors by parameter name.

        Raises TrainingError for weights that did not change, RunError for files that read back differently.
        """

    @abstractmethod
    def serve_command(self, config: Config, folder: Path) -> str:
        """The shell command that serves what was exported."""


def objective_of(train: TrainConfig) -> Objective:
    """The object of `train.objective`."""
    objective: Objective = load(OBJECTIVES, train.objective)
    return objective


def method_of(train: TrainConfig) -> Method:
    """The object of `train.method`."""
    method: Method = load(METHODS, train.method)
    return method
