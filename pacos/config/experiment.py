"""Every key of an experiment, with its type, its default and what it may be; pacos/config_file.py reads the YAML.

Sections are frozen; a stage takes its own section, and `resolved_yaml` writes the whole back so that the run
directory's `config.yaml` runs again.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelConfig(Section):
    base: str = Field(description="Hub id or local folder of the base model.")
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    trust_remote_code: bool = False
    chat: bool = Field(False, description="The model that generates is asked through its own chat template.")


class TokenPrice(Section):
    """Price of a million tokens, in the currency of generate.budget.money."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class EngineConfig(Section):
    """The model server. Without `url`, one is started on this machine and stopped at the end."""

    model: str | None = Field(None, description="The model that generates; `model.base` unless given.")
    url: str | None = Field(None, description="An OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1.")
    api_key_env: str = Field("VLLM_API_KEY", description="Environment variable that holds `url`'s key.")
    max_in_flight: Count | Literal["auto"] = Field(
        "auto", description="Requests at a time; auto: 64, and on a CPU engine what its cache holds, 32 at most."
    )
    data_parallel: Count | Literal["auto"] = "auto"
    args: dict[str, str | int | float | bool] = Field(default_factory=dict, description="Flags for vllm serve.")
    start_timeout_s: Count = 900
    request_timeout_s: Count = 1800
    price_per_gpu_hour: Annotated[float, Field(ge=0)] | None = None
    price_per_million_tokens: TokenPrice | None = Field(None, description="Of a server that bills by the token.")

    @property
    def concurrency(self) -> str:
        """For plans, made before the engine is known."""
        return "as many in flight as it holds" if self.max_in_flight == "auto" else f"{self.max_in_flight} in flight"


class SamplingConfig(Section):
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Count = 3072
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    seed: int | None = Field(None, description="Seed sent with request i is seed + i; slow on GPUs.")


class ClassifyConfig(SamplingConfig):
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Count = 3


class InstancesConfig(SamplingConfig):
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Count = 300
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 1.5


class LimitsConfig(Section):
    """Words; what has fewer or more is rejected. The published rules are the defaults."""

    min_instruction: Count = 4
    max_instruction: Count = 150
    max_input: Count | None = None
    max_output: Count | None = None


class FiltersConfig(Section):
    preset: Literal["alpaca", "self-instruct"] = "alpaca"
    defects: bool = Field(True, description="Also reject what generate/defects.py finds faulty.")
    limits: LimitsConfig = LimitsConfig()
    novelty: Fraction = Field(0.7, description="A task above this ROUGE-L to any task of the pool is rejected.")
    tokenizer: Literal["rouge", "unicode"] = Field("rouge", description="unicode: words of any script, in all rules.")


class BudgetConfig(Section):
    """Generation stops at the first of these that is reached, or at `generate.target`."""

    requests: Count | None = None
    tokens: Count | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    money: Annotated[float, Field(gt=0)] | None = None
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

    preset: Literal["alpaca", "alpaca-original", "self-instruct"] = "alpaca"
    seeds: str | None = Field(None, description="Seed tasks (JSONL); pacos's own 175 unless given.")
    known: list[str] = Field(
        default_factory=list, description="Datasets (files or folders) that new tasks must be novel against as well."
    )
    target: Count = Field(52_000, description="Accepted instructions; with self-instruct each brings 0–5 tasks.")
    tasks_per_request: Count = 20
    seeds_per_request: Count = 3
    machine_per_request: Annotated[int, Field(ge=0)] = Field(
        0, description="Examples out of the accepted tasks; seeds stand in while there are too few."
    )
    window: Count = 512
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


class LoraConfig(Section):
    r: Count = 16
    alpha: Count = 32
    dropout: Fraction = 0.0
    targets: Literal["all-linear"] | list[str] = "all-linear"
    rslora: bool = Field(False, description="Scale by alpha / √r instead of alpha / r.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Other options of peft.LoraConfig, by its names.")


class DpoConfig(Section):
    """Direct preference optimisation (2305.18290) against the model that training starts from."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="Share of the preferences that is taken to be the wrong way round (conservative DPO)."
    )


class DataSource(Section):
    """One of `path`, `hub` and `superni`; several sources are a mixture.

    With objective dpo a row holds `chosen` and `rejected`, and `instruction` and `input`, or the whole `prompt`.
    """

    path: str | None = Field(None, description="Alpaca-format .json or .jsonl, or a pacos dataset folder.")
    hub: str | None = Field(None, description="Id of a dataset with Alpaca's columns on the hub.")
    revision: str | None = Field(None, description="Revision of `hub`.")
    split: str = Field("train", description="Split of `hub`.")
    superni: str | None = Field(None, description="A SuperNI folder, of which the training split is taken.")
    per_task: Count | None = Field(None, description="First instances of each task of `superni`; 100 at most.")
    limit: Count | None = Field(None, description="First rows that are taken.")
    weight: Annotated[float, Field(gt=0)] = Field(
        1.0, description="How often an epoch takes each row; 0.5 takes a drawn half."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "DataSource":
        if sum(place is not None for place in (self.path, self.hub, self.superni)) != 1:
            raise ValueError("a source is one of path, hub and superni")
        if self.per_task and not self.superni:
            raise ValueError("per_task counts the instances of superni's tasks; use limit")
        return self

    @property
    def name(self) -> str:
        return self.path or self.hub or self.superni or ""


class TrainConfig(Section):
    model: str | None = Field(None, description="The model to tune; `model.base` unless given.")
    data: list[DataSource] = Field(default_factory=list, description="The run's own dataset unless given.")
    template: Literal["alpaca", "self-instruct"] = Field(
        "alpaca", description="alpaca: one prompt for all; self-instruct: each row draws one of the published 13."
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="qlora: the frozen base in 4 bits, CUDA only; full: every weight of the base, in float32."
    )
    objective: Literal["sft", "dpo"] = "sft"
    adapter: str | None = Field(None, description="Folder of an adapter to go on from; `lora` must be that of it.")
    lora: LoraConfig = LoraConfig()
    dpo: DpoConfig = DpoConfig()
    epochs: Annotated[float, Field(gt=0)] = 3.0
    max_steps: Count | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    warmup_ratio: Fraction = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    min_lr_ratio: Fraction = Field(0.0, description="The rate falls to this share of learning_rate instead of 0.")
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Count = Field(128, description="Examples (dpo: pairs) per optimizer step, over all processes.")
    max_length: Count = Field(512, description="Tokens per example; longer responses are cut, and counted.")
    pack_tokens: Count = Field(
        8192, description="Most tokens in one forward pass, padding included; with flex_attention, whole 128s."
    )
    mask_prompt: bool = Field(True, description="Learn responses alone; false learns prompts as well.")
    append_eos: bool = Field(True, description="Teach to stop; false repeats alpaca-lora's default, which runs on.")
    attention: Literal["sdpa", "flex_attention"] = Field(
        "sdpa", description="sdpa: example by example, on GPUs all at once. flex_attention: by blocks, GPUs only."
    )
    fused_lora: bool = Field(True, description="Plain LoRA layers as one function; false computes them as PEFT does.")
    compile: bool | Literal["auto"] = Field(
        "auto", description="Norms, gates and rotary positions as one kernel each; auto: on GPUs, without FSDP."
    )
    checkpointing: bool | Literal["auto"] = Field(
        "auto", description="Recompute activations in the backward pass; auto: where memory would not hold them."
    )
    neftune_alpha: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Noise on the embeddings while training (NEFTune, 2310.05914: 5); ends prefix sharing."
    )
    eval_examples: int = Field(0, ge=0, description="Examples held out; their loss is measured with each checkpoint.")
    save_steps: Count = 200
    keep: Count = 2
    processes: Count | Literal["auto"] = Field("auto", description="auto: one per GPU, or one on a CPU.")
    accelerate: str | None = Field(None, description="A file of accelerate's own, as configs/accelerate/ddp.yaml.")
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = "none"
    push_to_hub: str | None = Field(None, description="Repository on the hub to upload the result to; private if new.")

    @model_validator(mode="after")
    def _dpo_learns_answers(self) -> "TrainConfig":
        if self.objective == "dpo" and not self.mask_prompt:
            raise ValueError("dpo compares answers to one prompt: mask_prompt must be true")
        if self.objective == "dpo" and any(source.superni for source in self.data):
            raise ValueError("dpo needs pairs of answers, and superni has none")
        if self.method == "full" and self.adapter:
            raise ValueError("full tuning takes no adapter: `pacos merge` it, and name the merged model")
        return self

    @property
    def result(self) -> Literal["adapter", "model"]:
        """What training leaves in train/."""
        return "model" if self.method == "full" else "adapter"

    @property
    def dropout(self) -> float:
        return 0.0 if self.method == "full" else self.lora.dropout

    @property
    def row_tokens(self) -> int:
        """The most tokens that must lie in one row: an example, or both answers of a pair."""
        return self.max_length * (2 if self.objective == "dpo" else 1)


class Contestant(Section):
    name: Name
    model: str | None = None
    adapter: str | None = None


class SuiteConfig(Section):
    name: Name
    path: str = Field(description="A SuperNI folder (tasks/, splits/default/test_tasks.txt) or user-oriented .jsonl.")
    prompt: Literal[
        "alpaca",
        "self-instruct",
        "tk-instruct:def",
        "tk-instruct:def+pos2",
        "tk-instruct:def+pos2+neg2",
        "tk-instruct:def+pos2+neg2+expl",
    ] = "alpaca"
    max_tokens: Count | None = Field(None, description="As published unless given: 1,024 for self-instruct, else 128.")
    postprocess: Literal["none", "first-line", "first-period", "first-paragraph"] = "none"
    limit: Count | None = Field(None, description="Instances per task; 100 (the official rule) unless given.")

    @property
    def answer_tokens(self) -> int:
        return self.max_tokens or (1024 if self.prompt == "self-instruct" else 128)


class JudgeConfig(Section):
    """Who judges. Rubric and pairwise verdicts are greedy, one letter each; the rest here is for additive scores."""

    model: str | None = Field(None, description="`engine.model`, then `model.base` unless given.")
    adapter: str | None = None
    template: Literal["auto", "alpaca", "chat"] = Field("auto", description="auto: chat if the model has a template.")
    samples: Count = Field(3, description="Scores of each answer, to be averaged.")
    temperature: Annotated[float, Field(ge=0)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_tokens: Count = 512


class EvaluateConfig(Section):
    models: list[Contestant] = Field(default_factory=list, description="Besides the base and the run's adapter.")
    suites: list[SuiteConfig] = Field(default_factory=list)
    serve: Literal["auto", "adapter", "merged"] = Field(
        "auto",
        description="adapter: all on their base's server. merged: each as a merged copy, in turn. auto: merged on a "
        "CPU engine, where adapters answer several times more slowly.",
    )
    judge: JudgeConfig = JudgeConfig()


class AnswersConfig(SamplingConfig):
    """Several answers of one model to each task of a dataset, to be judged; the tasks' own outputs are not read."""

    temperature: Annotated[float, Field(ge=0)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_tokens: Count = 512
    samples: Count = 4
    tasks: str | None = Field(None, description="Alpaca-format tasks, file or folder; the run's dataset unless given.")
    model: str | None = Field(None, description="Who answers; `train.model`, then `model.base` unless given.")
    adapter: str | None = None


class StopsConfig(Section):
    """When the loop has gone wrong. It says so, and ends there unless `stop` is false."""

    stop: bool = True
    judge_accuracy: Fraction = Field(0.5, description="Least share of people's preferences that the judge repeats.")
    margin: Annotated[float, Field(ge=0)] = Field(0.5, description="Least mean difference of a pair's scores.")
    length_growth: Annotated[float, Field(gt=1)] = Field(
        2.5, description="Most words of an answer, as a multiple of M1's; the paper's M3 reached 2.3."
    )


class LoopConfig(Section):
    """Self-Rewarding Language Models (2401.10020). `sft` makes M1 of the base; `train` makes M2, M3, … by DPO."""

    rounds: Count = 2
    ranked: str | None = Field(
        None, description="Answers that people have ranked: a .jsonl file, or a hub id with Open Assistant's columns."
    )
    held_aside: Count = Field(250, description="Of `ranked`: requests that the judge is measured on, never taught.")
    instructions: list[DataSource] = Field(
        default_factory=list, description="What M1 learns to answer; the best answers of `ranked` unless given."
    )
    judging: list[DataSource] = Field(
        default_factory=list,
        description="What M1 learns of judging, ready-made. Unless given, a model tuned on `instructions` judges "
        "`ranked`, and what agrees with people is taken.",
    )
    sft: TrainConfig = TrainConfig()
    stops: StopsConfig = StopsConfig()


class Config(Section):
    name: Name
    seed: int = 42
    runs_dir: str = "runs"
    model: ModelConfig
    engine: EngineConfig = EngineConfig()
    generate: GenerateConfig = GenerateConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    answers: AnswersConfig = AnswersConfig()
    loop: LoopConfig = LoopConfig()

    @property
    def run_dir(self) -> Path:
        return Path(self.runs_dir) / self.name


def resolved_yaml(config: Config) -> str:
    """Every key with its value, in the order of this file; loading it gives an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def section_sha256(*sections: object) -> str:
    """Hash of the values that decide a stage's result; a changed hash means another result is due."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
