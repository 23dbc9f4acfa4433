"""Presets of the generation stage: how each published system asks for new tasks.

Adding one is an object here, or in a file of its own, and a line in `pacos/extensions.py`. The configuration reads a
preset's defaults through that table, so this module must not import `pacos.config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pacos.extensions import PRESETS, load
from pacos.generate.prompting.alpaca import PUBLISHED_TASK_LIST, TASK_LIST
from pacos.generate.prompting.follow_ups import CLASSIFY, INPUT_FIRST, OUTPUT_FIRST, FollowUp
from pacos.generate.prompting.instructions import INSTRUCTION_LIST
from pacos.generate.prompting.items import ListFormat


@dataclass(frozen=True, slots=True)
class Preset:
    """How new tasks are asked for.

    `defaults` are the values of the `generate` section that differ from its own defaults. `follow_ups` are asked about
    each accepted instruction of a list, if any (`generate/follow_ups.py`). With `counts_examples` the examples in the
    prompt count towards `generate.tasks_per_request`.
    """

    name: str
    lists: ListFormat
    defaults: Mapping[str, Any] = field(default_factory=dict)
    follow_ups: tuple[FollowUp, ...] = ()
    counts_examples: bool = False

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the follow-ups about one instruction, in their order."""
        return tuple(dict.fromkeys(follow_up.phase for follow_up in self.follow_ups))

    def new_items(self, tasks_per_request: int, examples: int) -> int:
        """Number of new items that each list asks for."""
        return tasks_per_request - examples if self.counts_examples else tasks_per_request


ALPACA_PRESET = Preset("alpaca", TASK_LIST)

# As published: "a list of 20 tasks" includes the three examples, `logit_bias` forbids <|endoftext|>, and no rule looks
# at inputs and outputs.
ALPACA_ORIGINAL_PRESET = Preset(
    "alpaca-original",
    PUBLISHED_TASK_LIST,
    defaults={"forbid_eos": True, "filters": {"defects": False}},
    counts_examples=True,
)

# Paper 2212.10560, table 4 and section 2.2. Its top_p 0 of the follow-ups is greedy decoding, which vLLM takes as
# temperature 0 only; that is the default of `generate.classify` and `generate.instances`.
SELF_INSTRUCT_PRESET = Preset(
    "self-instruct",
    INSTRUCTION_LIST,
    defaults={
        "tasks_per_request": 7,
        "seeds_per_request": 6,
        "machine_per_request": 2,
        "window": 128,
        "sampling": {"temperature": 0.7, "top_p": 0.5, "max_tokens": 1024, "presence_penalty": 2.0},
        "filters": {"preset": "self-instruct", "defects": False},
    },
    follow_ups=(CLASSIFY, OUTPUT_FIRST, INPUT_FIRST),
)

# 2401.10020, section 3.1, as far as secondary sources tell: Self-Instruct's lists and rules, at another temperature.
# Whether instructions were classified, and tokens penalised, they do not settle; here neither comes from Self-Instruct.
SELF_REWARDING_PRESET = Preset(
    "self-rewarding",
    INSTRUCTION_LIST,
    defaults={
        **SELF_INSTRUCT_PRESET.defaults,
        "sampling": {"temperature": 0.6, "top_p": 0.9, "max_tokens": 1024, "presence_penalty": 0.0},
        "instances": {"temperature": 0.6, "top_p": 0.9, "presence_penalty": 0.0},
    },
    follow_ups=(INPUT_FIRST,),
)


def preset(name: str) -> Preset:
    """The preset of that name (extensions.PRESETS). Raises KeyError for an unknown one."""
    found: Preset = load(PRESETS, name)
    return found
