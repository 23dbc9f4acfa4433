"""Registries of extension points: every choice that a configuration or an option offers, and where its object is.

Adding one is a file that defines the object and a line here; docs/architecture.md has an example of each. Places are
`module:object`, imported when one is chosen, so that the shared modules need not import a stage.
"""

import importlib
from collections.abc import Mapping
from typing import Any

TEMPLATES = {
    "alpaca": "pacos.templates:ALPACA",
    "self-instruct": "pacos.templates:SELF_INSTRUCT",
    "chat": "pacos.templates:CHAT",
}

# How new tasks are asked for (pacos.generate.presets.Preset), and which published rules filter them.
PRESETS = {
    "alpaca": "pacos.generate.presets:ALPACA_PRESET",
    "alpaca-original": "pacos.generate.presets:ALPACA_ORIGINAL_PRESET",
    "self-instruct": "pacos.generate.presets:SELF_INSTRUCT_PRESET",
    "self-rewarding": "pacos.generate.presets:SELF_REWARDING_PRESET",
}
FILTER_PRESETS = {
    "alpaca": "pacos.generate.filtering.published:ALPACA_FILTERS",
    "self-instruct": "pacos.generate.filtering.published:SELF_INSTRUCT_FILTERS",
}

# What is scored of a completion, and how: functions `text -> text`, and pacos.evaluate.metrics.Metric objects.
POSTPROCESS = {
    "none": "pacos.evaluate.metrics:whole",
    "first-line": "pacos.evaluate.metrics:first_line",
    "first-period": "pacos.evaluate.metrics:first_period",
    "first-paragraph": "pacos.evaluate.metrics:first_paragraph",
}
METRICS = {
    "rougeL": "pacos.evaluate.metrics:ROUGE_L",
    "exact_match": "pacos.evaluate.metrics:EXACT_MATCH",
    "first_line_rougeL": "pacos.evaluate.metrics:FIRST_LINE_ROUGE_L",
}

# How an instance of a suite is put to a model.
PROMPTS = {
    "alpaca": "pacos.superni.prompts:ALPACA_PROMPT",
    "self-instruct": "pacos.superni.prompts:SELF_INSTRUCT_PROMPT",
    "chat": "pacos.superni.prompts:CHAT_PROMPT",
    "tk-instruct:def": "pacos.superni.prompts:DEFINITION",
    "tk-instruct:def+pos2": "pacos.superni.prompts:TWO_POSITIVE",
    "tk-instruct:def+pos2+neg2": "pacos.superni.prompts:TWO_NEGATIVE",
    "tk-instruct:def+pos2+neg2+expl": "pacos.superni.prompts:EXPLAINED",
}

# Readers of evaluation sets. The first that accepts a path reads it; SuperNI's accepts any, so it is the last.
SUITES = {
    "user-oriented": "pacos.superni.suites:USER_ORIENTED",
    "superni": "pacos.superni.suites:SUPERNI",
}

# Ways to judge answers: pacos.evaluate.judge.kinds.JudgeKind for models, pacos.evaluate.review.kinds.ReviewKind for
# people.
JUDGE_KINDS = {
    "rubric": "pacos.evaluate.judge.rubric:RUBRIC",
    "pairwise": "pacos.evaluate.judge.pairwise:PAIRWISE",
    "additive": "pacos.evaluate.judge.additive:ADDITIVE",
}
REVIEW_KINDS = {
    "quality": "pacos.evaluate.review.quality:QUALITY",
    "rating": "pacos.evaluate.review.rating:RATING",
    "pairwise": "pacos.evaluate.review.pairwise:PAIRWISE_REVIEW",
}

# What training minimises, on which rows, and how the weights are tuned: the classes are in pacos.train.interfaces.
OBJECTIVES = {
    "sft": "pacos.train.objectives:SFT",
    "dpo": "pacos.train.objectives:DPO",
}
METHODS = {
    "lora": "pacos.train.methods:LORA",
    "qlora": "pacos.train.methods:QLORA",
    "full": "pacos.train.methods:FULL",
}


def load(table: Mapping[str, str], name: str) -> Any:
    """The object that `table` has under `name`. Raises KeyError for a name that it has not."""
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
