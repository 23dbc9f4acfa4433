"""`generate`: how the base model writes tasks, and which of them are kept."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pacos.config.section import Count, Fraction, NotNegative, Positive, Section
from pacos.extensions import FILTER_PRESETS, PRESETS, load

if TYPE_CHECKING:
    PresetName = str
    FilterPresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]
    FilterPresetName = Literal[tuple(FILTER_PRESETS)]


class SamplingConfig(Section):
    """How tokens are sampled. All values are sent with every request, so that no server default applies."""

    temperature: NotNegative = Field(1.0, description="Softmax temperature; 0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus: smallest set of this probability.")
    max_tokens: Count = Field(3072, description="Most tokens of an answer.")
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = Field(
        0.0, description="Subtracted from the logit of every token that the answer already has."
    )
    seed: int | None = Field(None, description="Seed sent with request i is seed + i; slow on GPUs.")


class ClassifyConfig(SamplingConfig):
    """Self-Instruct's second phase: is an instruction classification?"""

    temperature: NotNegative = Field(0.0, description="Softmax temperature; 0 is greedy.")
    max_tokens: Count = Field(3, description="Most tokens of an answer.")


class InstancesConfig(SamplingConfig):
    """Self-Instruct's third phase: inputs and outputs of an instruction."""

    temperature: NotNegative = Field(0.0, description="Softmax temperature; 0 is greedy.")
    max_tokens: Count = Field(300, description="Most tokens of an answer.")
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = Field(
        1.5, description="Subtracted from the logit of every token that the answer already has."
    )


class LimitsConfig(Section):
    """Length limits in words; shorter and longer texts are rejected. The defaults are the published rules."""

    min_instruction: Count = Field(4, description="Fewest words of an instruction.")
    max_instruction: Count = Field(150, description="Most words of an instruction.")
    max_input: Count | None = Field(None, description="Most words of an input; no limit if unset.")
    max_output: Count | None = Field(None, description="Most words of an output; no limit if unset.")


class FiltersConfig(Section):
    """Which tasks are kept."""

    preset: FilterPresetName = Field("alpaca", description="Whose published rules apply.")
    defects: bool = Field(
        True,
        description="Also reject known kinds of faulty tasks (generate/filtering/defects.py); false with "
        "alpaca-original and self-instruct, which had no such rules.",
    )
    limits: LimitsConfig = LimitsConfig()
    novelty: Fraction = Field(0.7, description="A task above this ROUGE-L to any task of the pool is rejected.")
    tokenizer: Literal["rouge", "unicode"] = Field(
        "rouge",
        description="rouge: rouge_score's tokens, and words of any script for the novelty of instructions of which "
        "these miss most. unicode: words of any script, in all rules.",
    )


class BudgetConfig(Section):
    """Generation stops at the first of these that is reached, or at `generate.target`."""

    requests: Count | None = Field(None, description="Most requests, follow-up requests included.")
    tokens: Count | None = Field(None, description="Most tokens, prompts and answers together.")
    seconds: Positive | None = Field(None, description="Most seconds with the engine up, over all sessions.")
    money: Positive | None = Field(None, description="Most money, at the prices of `engine`.")
    min_acceptance: Fraction = Field(0.02, description="Floor on accepted/items over the last 2,000 items.")


class GenerateConfig(Section):
    """Generation of a dataset. `sampling` is used for lists of new items, `classify` and `instances` for follow-ups."""

    preset: PresetName = Field(
        "alpaca",
        description="alpaca: lists of `tasks_per_request` new whole tasks, and defects filtered out. alpaca-original: "
        "Alpaca's own rules; the examples count towards the tasks. self-instruct: the paper's three phases, with its "
        "decoding and rules. self-rewarding: lists and instances without classification and penalties.",
    )
    seeds: str | None = Field(None, description="Seed tasks (JSONL); pacos's own 175 unless given.")
    known: list[str] = Field(
        default_factory=list, description="Datasets (files or folders) that new tasks must be novel against as well."
    )
    target: Count = Field(52_000, description="Accepted instructions; with self-instruct each brings 0–5 tasks.")
    tasks_per_request: Count = Field(20, description="Tasks asked for in one answer; 7 with preset self-instruct.")
    seeds_per_request: Count = Field(3, description="Seed tasks shown in a prompt; 6 with preset self-instruct.")
    machine_per_request: Annotated[int, Field(ge=0)] = Field(
        0, description="Examples drawn from the accepted tasks; seeds are used while there are too few."
    )
    forbid_eos: bool = Field(
        False,
        description="Forbid the end-of-sequence token while a list is written (logit_bias -100, which vLLM takes): the "
        "list ends at its stop string or at max_tokens. True with alpaca-original, as published.",
    )
    window: Count = Field(
        512,
        description="How many requests may be ahead of the last committed one; eight times those in flight is enough.",
    )
    sampling: SamplingConfig = SamplingConfig()
    classify: ClassifyConfig = ClassifyConfig()
    instances: InstancesConfig = InstancesConfig()
    filters: FiltersConfig = FiltersConfig()
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="before")
    @classmethod
    def _preset_before_defaults(cls, values: Any) -> Any:
        """Fill in the preset's own defaults where `values` have none."""
        if not isinstance(values, dict) or values.get("preset") not in list(PRESETS):
            return values
        filled = dict(values)
        for key, default in load(PRESETS, values["preset"]).defaults.items():
            given = filled.setdefault(key, default)
            if isinstance(default, dict) and isinstance(given, dict):
                filled[key] = default | given
        return filled

    @model_validator(mode="after")
    def _examples_leave_room(self) -> "GenerateConfig":
        if self.seeds_per_request >= self.tasks_per_request and load(PRESETS, self.preset).counts_examples:
            raise ValueError(f"{self.preset} counts its examples: seeds_per_request must be under tasks_per_request")
        return self
