"""The objectives of training: supervised fine-tuning (sft) and direct preference optimisation (dpo)."""

from collections.abc import Sequence
from typing import Any

from pacos.config import TrainConfig
from pacos.records import Task
from pacos.templates import Template, template
from pacos.token_ids import Tokenizer
from pacos.train.data.chat_examples import encode_chat_pairs, encode_conversations
from pacos.train.data.examples import Dataset, Example, encode_tasks
from pacos.train.data.pairs import Pair, encode_pairs, parse_pair
from pacos.train.data.rows import parse_single_turn
from pacos.train.interfaces import Objective, TrainingLoss
from pacos.train.optimization.losses import DPOLoss, SupervisedLoss
from pacos.train.packing.prefixes import share_in_pairs, share_in_rows


class SupervisedObjective(Objective):
    """Cross-entropy of the responses to instructions, in Alpaca's format."""

    file = ("dataset", "dataset.jsonl")
    columns = frozenset({"instruction", "output"})
    rows_name, units_name, unit_text = "tasks", "examples", "an example"
    examples_per_unit = 1
    has_reference = False

    def check(self, train: TrainConfig) -> None:
        pass

    def parse_row(self, values: Any, *, where: str) -> Task:
        return parse_single_turn(values, where=where)

    def encode(self, named: Sequence[tuple[str, Any]], tokenizer: Tokenizer, train: TrainConfig, seed: int) -> Dataset:
        if template(train.template).is_chat:
            return encode_conversations(named, tokenizer, train)
        return encode_tasks(named, tokenizer, train, seed)

    def texts(self, row: Task, template: Template, draw: str) -> tuple[str, str]:
        return template.render(row, draw)

    def share_prefixes(self, examples: Sequence[Example], train: TrainConfig) -> list[Example]:
        return share_in_rows(examples, train)

    def loss(self, train: TrainConfig) -> TrainingLoss:
        return SupervisedLoss(train.neftune_alpha)

    def description(self, train: TrainConfig) -> str:
        return "supervised"


class PreferenceObjective(Objective):
    """DPO on pairs of a chosen and a rejected response; the untrained model is the reference."""

    file = ("pairs", "pairs.jsonl")
    columns = frozenset({"chosen", "rejected"})
    rows_name, units_name, unit_text = "pairs", "pairs", "a pair of answers"
    examples_per_unit = 2
    has_reference = True

    def check(self, train: TrainConfig) -> None:
        if not train.mask_prompt:
            raise ValueError("dpo compares answers to one prompt: mask_prompt must be true")
        if any(source.superni for source in train.data):
            raise ValueError("dpo needs pairs of answers, and superni has none")
        if train.seed_tasks:
            raise ValueError("dpo needs pairs of answers, and seed tasks have none")

    def parse_row(self, values: Any, *, where: str) -> Pair:
        return parse_pair(values, where=where)

    def encode(self, named: Sequence[tuple[str, Any]], tokenizer: Tokenizer, train: TrainConfig, seed: int) -> Dataset:
        if template(train.template).is_chat:
            return encode_chat_pairs(named, tokenizer, train)
        return encode_pairs(named, tokenizer, train, seed)

    def texts(self, row: Pair, template: Template, draw: str) -> tuple[str, str]:
        prompt, chosen, _ = row.texts(template, draw)
        return prompt, chosen

    def share_prefixes(self, examples: Sequence[Example], train: TrainConfig) -> list[Example]:
        return share_in_pairs(examples)

    def loss(self, train: TrainConfig) -> TrainingLoss:
        return DPOLoss(train.dpo.beta, train.dpo.label_smoothing, train.neftune_alpha)

    def description(self, train: TrainConfig) -> str:
        beta, smoothing = train.dpo.beta, train.dpo.label_smoothing
        return f"DPO against the model it started from, beta {beta:g}, label smoothing {smoothing:g}"


SFT = SupervisedObjective()
DPO = PreferenceObjective()
