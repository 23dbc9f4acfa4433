"""`train`: which model is tuned, on which data, and how."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pacos.config.section import Count, Fraction, NotNegative, Positive, Section
from pacos.extensions import METHODS, OBJECTIVES, TEMPLATES, load

if TYPE_CHECKING:
    TemplateName = str
    MethodName = str
    ObjectiveName = str
else:
    TemplateName = Literal[tuple(TEMPLATES)]
    MethodName = Literal[tuple(METHODS)]
    ObjectiveName = Literal[tuple(OBJECTIVES)]


class LoraConfig(Section):
    """The adapter; everything else of peft.LoraConfig goes into `extra`."""

    r: Count = Field(16, description="Rank.")
    alpha: Count = Field(32, description="Updates are scaled by alpha / r.")
    dropout: Fraction = Field(0.0, description="Dropout before the adapter; above 0 it disables prefix sharing.")
    targets: Literal["all-linear"] | list[str] = Field(
        "all-linear",
        description="Modules with an adapter: all linear layers but the head that take one, or their names.",
    )
    rslora: bool = Field(False, description="Scale by alpha / √r instead of alpha / r.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Other options of peft.LoraConfig, by its names.")


class DpoConfig(Section):
    """Direct preference optimisation (2305.18290) against the model that training starts from."""

    beta: Positive = Field(0.1, description="Strength of the penalty for moving away from the reference.")
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="Share of the preferences assumed to be reversed (conservative DPO)."
    )


class DataSource(Section):
    """One of `path`, `hub` and `superni`; several sources are a mixture.

    Columns tell the form of rows: `instruction`, `input`, `output`, or with template chat also `messages`,
    `conversations` (ShareGPT), `prompt` and `completion`, and Alpaca's with `system` and `history`. With objective dpo
    a row has `chosen` and `rejected`, and either `instruction` and `input` or a complete `prompt`; with template chat
    these may be lists of messages.
    """

    path: str | None = Field(
        None, description="A file of rows (.json, .jsonl, either with .gz, .csv, .tsv, .parquet), or a dataset folder."
    )
    hub: str | None = Field(None, description="Id of a dataset on the hub, or a folder that `datasets` reads.")
    revision: str | None = Field(None, description="Revision of `hub`.")
    split: str = Field("train", description="Split of `hub`.")
    superni: str | None = Field(None, description="A SuperNI folder; its training split is used.")
    per_task: Count | None = Field(None, description="Use only the first instances of each SuperNI task; 100 at most.")
    limit: Count | None = Field(None, description="Use only the first rows.")
    weight: Positive = Field(1.0, description="How often an epoch has each row; 0.5 is a random half.")

    @model_validator(mode="after")
    def _one_place(self) -> "DataSource":
        if sum(place is not None for place in (self.path, self.hub, self.superni)) != 1:
            raise ValueError("a source is one of path, hub and superni")
        if not self.name.strip():
            raise ValueError("a source needs the name of a file, a folder or a dataset")
        if self.per_task and not self.superni:
            raise ValueError("per_task counts the instances of superni's tasks; use limit")
        return self

    @property
    def name(self) -> str:
        return self.path or self.hub or self.superni or ""


class TrainConfig(Section):
    """Lengths are in tokens of the model's tokenizer."""

    model: str | None = Field(None, description="The model to tune; `model.base` unless given.")
    data: list[DataSource] = Field(default_factory=list, description="The run's own dataset unless given.")
    seed_tasks: bool = Field(
        False,
        description="Every instance of each task in `generate.seeds` joins the data, as with Self-Instruct's "
        "--include_seed_tasks.",
    )
    template: TemplateName = Field(
        "alpaca",
        description="alpaca: one prompt for all; self-instruct: each row draws one of the published 13, half of the "
        "inputs lose a lone field name, and rows of the same text count once; chat: the tokenizer's own chat template.",
    )
    chat_template: str | None = Field(
        None, description="For template chat, instead of the tokenizer's own: a Jinja file, chatml, or plain."
    )
    learn: Literal["all_turns", "last_turn"] = Field(
        "all_turns", description="With template chat: train on every turn of the assistant's, or on the last alone."
    )
    method: MethodName = Field(
        "lora", description="qlora: the frozen base in 4 bits, CUDA only; full: every weight of the base, in float32."
    )
    objective: ObjectiveName = Field("sft", description="sft: cross-entropy of responses; dpo: preferences.")
    adapter: str | None = Field(None, description="Folder of an adapter to start from; `lora` must match it.")
    lora: LoraConfig = LoraConfig()
    dpo: DpoConfig = DpoConfig()
    epochs: Positive = Field(3.0, description="Passes over the data.")
    max_steps: Count | None = Field(None, description="Optimizer steps after which training ends, at the latest.")
    learning_rate: Positive | Literal["auto"] = Field(
        2e-4, description="Peak learning rate of AdamW. auto: one to begin a sweep with, by method, family and size."
    )
    warmup_ratio: Fraction = Field(0.03, description="Share of the steps over which the rate rises to its peak.")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="How the rate falls afterwards.")
    min_lr_ratio: Fraction = Field(0.0, description="The rate falls to this share of learning_rate instead of 0.")
    weight_decay: NotNegative = Field(0.0, description="AdamW's weight decay.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this global norm.")
    batch_size: Count = Field(128, description="Examples (dpo: pairs) per optimizer step, over all processes.")
    max_length: Count = Field(512, description="Tokens per example; longer responses are truncated, and counted.")
    pack_tokens: Count = Field(
        8192, description="Most tokens in a micro-batch, packed or padded; with flex_attention, multiples of 128."
    )
    tokenized: str | None = Field(
        None,
        description="Folder that keeps tokenised rows for several runs; train/tokenized of this run unless given.",
    )
    mask_prompt: bool = Field(True, description="Train on responses only; false trains on prompts as well.")
    append_eos: bool = Field(True, description="Train on EOS; false repeats alpaca-lora's default, which never stops.")
    attention: Literal["sdpa", "flex_attention"] = Field(
        "sdpa", description="sdpa: one example at a time, on GPUs in one kernel. flex_attention: block mask, GPUs only."
    )
    fused_lora: bool = Field(True, description="Fused kernels for plain LoRA layers; false computes them as PEFT does.")
    compile: bool | Literal["auto"] = Field(
        "auto", description="Compile norms, gates and rotary embeddings of known forms; auto: on GPUs, without FSDP."
    )
    checkpointing: bool | Literal["auto"] = Field(
        "auto", description="Recompute activations in the backward pass; auto: where they would not fit in memory."
    )
    neftune_alpha: NotNegative = Field(
        0.0, description="Noise on the embeddings while training (NEFTune, 2310.05914: 5); disables prefix sharing."
    )
    eval_examples: int = Field(0, ge=0, description="Examples held out; their loss is measured with each checkpoint.")
    save_steps: Count = Field(200, description="Optimizer steps between checkpoints.")
    keep: Count = Field(2, description="Number of newest checkpoints to keep.")
    keep_best: bool = Field(
        False, description="Keep the checkpoint with the least held-out loss as well, and export it, not the last."
    )
    processes: Count | Literal["auto"] = Field("auto", description="auto: one per GPU, or one on a CPU.")
    accelerate: str | None = Field(None, description="accelerate's configuration file, as configs/accelerate/ddp.yaml.")
    report_to: Literal["none", "tensorboard", "wandb", "trackio", "mlflow"] = Field(
        "none", description="Tracker that also gets configuration, metrics, scores and report; it must be installed."
    )
    push_to_hub: str | None = Field(None, description="Repository on the hub to upload the result to; private if new.")

    @model_validator(mode="after")
    def _choices_fit(self) -> "TrainConfig":
        # The defaults fit, and are built while pacos.config, which these objects import, is still being imported.
        if self.model_fields_set:
            load(OBJECTIVES, self.objective).check(self)
            load(METHODS, self.method).check(self)
        return self

    @model_validator(mode="after")
    def _chat_keys_fit(self) -> "TrainConfig":
        if not self.model_fields_set:
            return self
        if load(TEMPLATES, self.template).is_chat:
            if not self.append_eos:
                raise ValueError("the token that ends a turn is always trained on with template chat: leave append_eos")
            if not self.mask_prompt:
                raise ValueError("template chat trains on the assistant's turns alone: leave mask_prompt")
        elif self.chat_template or self.learn != "all_turns":
            raise ValueError("chat_template and learn are for template chat: set template=chat")
        return self

    @model_validator(mode="after")
    def _best_by_held_out_loss(self) -> "TrainConfig":
        if self.keep_best and not self.eval_examples:
            raise ValueError("keep_best chooses by the loss on held-out examples: set eval_examples")
        return self

    @property
    def result(self) -> Literal["adapter", "model"]:
        """What training leaves in train/."""
        result: Literal["adapter", "model"] = load(METHODS, self.method).result
        return result

    @property
    def dropout(self) -> float:
        """Dropout while training; 0.0 where the method has none."""
        return float(load(METHODS, self.method).dropout(self))

    @property
    def row_tokens(self) -> int:
        """The most tokens that must be packed into one row: an example, or both answers of a pair."""
        return self.max_length * int(load(OBJECTIVES, self.objective).examples_per_unit)
