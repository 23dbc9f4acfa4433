"""`generate`: how the base model writes tasks, and which of them are kept."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pacos.config.section import Count, Fraction, NotNegative, Positive, Section


class SamplingConfig(Section):
    """How tokens are drawn; everything is sent with every request, so that no server decides for us."""

    temperature: NotNegative = Field(1.0, description="Softmax temperature; 0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus: smallest set of this probability.")
    max_tokens: Count = Field(3072, description="Most tokens of an answer.")
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = Field(
        0.0, description="Taken off the logit of every token that the answer has already."
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
        1.5, description="Taken off the logit of every token that the answer has already."
    )


class LimitsConfig(Section):
    """Words; what has fewer or more is rejected. The published rules are the defaults."""

    min_instruction: Count = Field(4, description="Fewest words of an instruction.")
    max_instruction: Count = Field(150, description="Most words of an instruction.")
    max_input: Count | None = Field(None, description="Most words of an input; no limit if unset.")
    max_output: Count | None = Field(None, description="Most words of an output; no limit if unset.")


class FiltersConfig(Section):
    """Which tasks are kept."""

    preset: Literal["alpaca", "self-instruct"] = Field("alpaca", description="Whose published rules apply.")
    defects: bool = Field(True, description="Also reject what generate/defects.py finds faulty.")
    limits: LimitsConfig = LimitsConfig()
    novelty: Fraction = Field(0.7, description="A task above this ROUGE-L to any task of the pool is rejected.")
    tokenizer: Literal["rouge", "unicode"] = Field("rouge", description="unicode: words of any script, in all rules.")


class BudgetConfig(Section):
    """Generation stops at the first of these that is reached, or at `generate.target`."""

    requests: Count | None = Field(None, description="Most requests; with self-instruct, of all phases.")
    tokens: Count | None = Field(None, description="Most tokens, prompts and answers together.")
    seconds: Positive | None = Field(None, description="Most seconds with the engine up, over all sessions.")
    money: Positive | None = Field(None, description="Most money, at the prices of `engine`.")
    min_acceptance: Fraction = Field(0.02, description="Floor on accepted/items over the last 2,000 items.")


# What preset self-instruct changes of the defaults below: paper 2212.10560, table 4 and section 2.2.
# Greedy is temperature 0; the paper's top_p 0 says the same, and vLLM refuses it.
SELF_INSTRUCT: dict[str, Any] = {
    "tasks_per_request": 7,
    "seeds_per_request": 6,
    "machine_per_request": 2,
    "window": 128,
    "sampling": {"temperature": 0.7, "top_p": 0.5, "max_tokens": 1024, "presence_penalty": 2.0},
    "filters": {"preset": "self-instruct"},
}


class GenerateConfig(Section):
    """`sampling` is that of the lists; `classify` and `instances` are the later phases of preset self-instruct."""

    preset: Literal["alpaca", "alpaca-original", "self-instruct"] = Field(
        "alpaca",
        description="alpaca: whole tasks, `tasks_per_request` new ones a list. alpaca-original: examples count among "
        "them, as published. self-instruct: the paper's three phases, with its decoding.",
    )
    seeds: str | None = Field(None, description="Seed tasks (JSONL); pacos's own 175 unless given.")
    known: list[str] = Field(
        default_factory=list, description="Datasets (files or folders) that new tasks must be novel against as well."
    )
    target: Count = Field(52_000, description="Accepted instructions; with self-instruct each brings 0–5 tasks.")
    tasks_per_request: Count = Field(20, description="Tasks asked for in one answer; 7 with preset self-instruct.")
    seeds_per_request: Count = Field(3, description="Seed tasks shown in a prompt; 6 with preset self-instruct.")
    machine_per_request: Annotated[int, Field(ge=0)] = Field(
        0, description="Examples out of the accepted tasks; seeds stand in while there are too few."
    )
    window: Count = Field(
        512, description="How many requests may run ahead of the last committed one; eight times those in flight."
    )
    sampling: SamplingConfig = SamplingConfig()
    classify: ClassifyConfig = ClassifyConfig()
    instances: InstancesConfig = InstancesConfig()
    filters: FiltersConfig = FiltersConfig()
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="before")
    @classmethod
    def _preset_before_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") != "self-instruct":
            return values
        published = {key: values.get(key, default) for key, default in SELF_INSTRUCT.items()}
        for key, default in SELF_INSTRUCT.items():
            if isinstance(default, dict) and isinstance(published[key], dict):
                published[key] = default | published[key]
        return values | published

    @model_validator(mode="after")
    def _examples_leave_room(self) -> "GenerateConfig":
        if self.preset == "alpaca-original" and self.seeds_per_request >= self.tasks_per_request:
            raise ValueError("alpaca-original counts its examples: seeds_per_request must be under tasks_per_request")
        return self
