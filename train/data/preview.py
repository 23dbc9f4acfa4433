"""`pacos inspect`: how a run's rows become token ids, by the very code that trains on them. Loads no weights.

The rows are read and tokenised as training does it, or taken from its cache; nothing is written into the run directory.
"""

import itertools
import logging
import random
from collections.abc import Iterator, Sequence

from pacos.config import Config
from pacos.models import load_model_config
from pacos.report.rows import Kind, PackedRow, RowsPreview, ShownExample, Span
from pacos.train.data.examples import Dataset, Example, Unit
from pacos.train.data.pieces import Decoder
from pacos.train.data.sources import source_names
from pacos.train.interfaces import objective_of
from pacos.train.launch import process_count
from pacos.train.packing.bins import row_load
from pacos.train.packing.plan import OptimizerStep, hold_out, item_of, lay_out, step_indices
from pacos.train.packing.prefixes import share_prefixes
from pacos.train.packing.rules import RowRules
from pacos.train.pipeline import TrainingData

log = logging.getLogger("pacos")

# A train.max_length under which nothing is cut.
UNLIMITED = 2**40


def preview_rows(config: Config, count: int) -> RowsPreview:
    """What `count` of the run's examples (dpo: pairs) look like, and one row that is left out, if any is.

    Shown are the first, the longest, one that is cut, one with several supervised turns, one of several from its row,
    and others that `seed` draws. Raises as `load_dataset` and `plan_run`.
    """
    log.info("inspect: reading and tokenising the rows of %s", source_names(config))
    data = TrainingData.load(config)
    shared = share_prefixes(data.dataset.examples, config.train)
    units = objective_of(config.train).units(shared)
    step = first_step(units, config)
    shown = ShownRows(config, data)
    examples = [one for index, why in chosen_units(units, count, config.seed) for one in shown.unit(units[index], why)]
    return RowsPreview(
        name=config.name,
        facts=tuple(facts(config, data, step)),
        width=step.layout.width,
        packed=tuple(packed_rows(step)),
        examples=(*examples, *shown.left_out()),
    )


def first_step(units: Sequence[Unit], config: Config) -> OptimizerStep:
    """The run's first optimizer step, packed as for a model whose layers allow it."""
    train = config.train
    training, _ = hold_out(units, train.eval_examples, config.seed)
    group = [training[index] for index in step_indices(len(training), train, config.seed, 0)]
    rules = RowRules(static=train.attention == "flex_attention")
    [step] = lay_out([group], train.pack_tokens, rules, process_count(train))
    return step


def packed_rows(step: OptimizerStep) -> Iterator[PackedRow]:
    """The rows of a step's micro-batches, of all processes."""
    items = [item_of(unit) for unit in step.units]
    for process in step.layout.micro_batches:
        for rows in process:
            for row in rows:
                yield PackedRow(sum(len(step.units[index]) for index in row), row_load(row, items))


def facts(config: Config, data: TrainingData, step: OptimizerStep) -> Iterator[tuple[str, str]]:
    """(name, text) of what holds for the whole dataset, and for the first optimizer step."""
    train, dataset, layout = config.train, data.dataset, step.layout
    share = dataset.response_tokens / dataset.tokens
    longest = max(len(example.ids) for example in dataset.examples)
    settings = load_model_config(config.student, config.model).get_text_config()
    positions = getattr(settings, "max_position_embeddings", None)
    room = f"; the model has {positions:,} positions" if isinstance(positions, int) else ""
    saved = 1 - layout.tokens / step.tokens
    yield "tokenizer", f"that of {config.student}; template {train.template}, objective {train.objective}"
    yield "data", f"{source_names(config)}: {dataset.rows:,} rows, {len(dataset.examples):,} {dataset.unit}"
    yield "tokens", f"{dataset.tokens:,}, of them {dataset.response_tokens:,} supervised ({share:.1%})"
    yield "longest", f"{longest:,} tokens; train.max_length is {train.max_length:,}{room}"
    for note in dataset.notes:
        yield "note", note
    yield "shared", f"{saved:.1%} of the first step's tokens, in prefixes that are computed once per row"
    yield (
        "first step",
        f"{len(step.examples):,} examples, rows {layout.fill:.1%} filled (padded rows where a model cannot be packed)",
    )


def chosen_units(units: Sequence[Unit], count: int, seed: int) -> list[tuple[int, str]]:
    """(index, why it is shown) of at most `count` units, in the order of reasons; one may have several."""
    wanted: list[tuple[int, str]] = [(0, "the first")]
    indices = range(len(units))
    wanted.append((max(indices, key=lambda index: max(len(one.ids) for one in units[index])), "the longest"))
    turns = max(indices, key=lambda index: max(len(one.label_spans) for one in units[index]))
    wanted += [(index, "cut at train.max_length") for index in indices if any(one.truncated for one in units[index])][
        :1
    ]
    if (most := max(len(one.label_spans) for one in units[turns])) > 1:
        wanted.append((turns, f"{most} supervised turns"))
    rows = [unit[0].row for unit in units]
    several = (index for index in indices[1:] if rows[index] == rows[index - 1] and units[index] != units[index - 1])
    wanted += [(index, "one of several examples of its row") for index in several][:1]
    reasons: dict[int, list[str]] = {}
    for index, why in wanted:
        reasons.setdefault(index, []).append(why)
    others = [index for index in indices if index not in reasons]
    drawn = random.Random(f"{seed}:inspect").sample(others, min(len(others), max(0, count - len(reasons))))
    reasons |= {index: ["drawn by the seed"] for index in sorted(drawn)}
    return [(index, ", ".join(why)) for index, why in reasons.items()][:count]


class ShownRows:
    """Examples of a run's data with the texts of their tokens, and of those that were cut."""

    def __init__(self, config: Config, data: TrainingData) -> None:
        self.config = config
        self.data = data
        self.decoder = Decoder(data.tokenizer)
        self.rows = dict(data.rows)

    def unit(self, unit: Unit, why: str) -> list[ShownExample]:
        """The examples of a unit; both answers of a pair."""
        answers = ("chosen answer", "rejected answer") if len(unit) == 2 else ("",)
        reasons = [f"{answer}, {why}" if answer else why for answer in answers]
        cut = any(example.truncated for example in unit)
        wholes = self._whole(unit[0].row).examples if cut else []
        return [self._example(example, wholes, reason) for example, reason in zip(unit, reasons, strict=True)]

    def left_out(self) -> list[ShownExample]:
        """The first row without an example, all of it cut."""
        trained = {example.row for example in self.data.dataset.examples}
        name = next((name for name, _ in self.data.rows if name not in trained), None)
        if name is None:
            return []
        whole = self._whole(name)
        spans = tuple(span for example in whole.examples for span in self._spans(example.ids, kept=0))
        why = "left out, as no answer ends within train.max_length" if spans else f"left out: {'; '.join(whole.notes)}"
        return [ShownExample(name, why, spans)]

    def _whole(self, name: str) -> Dataset:
        """The row's examples as they are where nothing is cut."""
        train = self.config.train.model_copy(update={"max_length": UNLIMITED})
        rows = [(name, self.rows[name])]
        return objective_of(train).encode(rows, self.data.tokenizer, train, self.config.seed)

    def _example(self, example: Example, wholes: Sequence[Example], why: str) -> ShownExample:
        kept = len(example.ids)
        goes_on = (whole.ids for whole in wholes if example.truncated and whole.ids[:kept] == example.ids)
        ids = next(goes_on, example.ids)
        spans = self._spans(ids, kept=kept, labels=example.label_spans, prefix=example.prefix_length)
        return ShownExample(example.row, why, tuple(spans))

    def _spans(
        self, ids: Sequence[int], *, kept: int, labels: Sequence[tuple[int, int]] = (), prefix: int = 0
    ) -> Iterator[Span]:
        """The ids in spans: the first `prefix` are shared, those behind the first `kept` are cut."""
        bounds = sorted({0, prefix, kept, len(ids), *itertools.chain.from_iterable(labels)})
        for start, end in itertools.pairwise(bounds):
            is_label = any(first <= start < last for first, last in labels)
            kind: Kind = "cut" if start >= kept else "supervised" if is_label else "context"
            yield Span(kind, start, self.decoder.pieces(ids[start:end]), shared=start < prefix)
