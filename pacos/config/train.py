"""`train`: which model is tuned, on which data, and how."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pacos.config.section import Count, Fraction, NotNegative, Positive, Section


class LoraConfig(Section):
    """The adapter; everything else of peft.LoraConfig goes into `extra`."""

    r: Count = Field(16, description="Rank.")
    alpha: Count = Field(32, description="Updates are scaled by alpha / r.")
    dropout: Fraction = Field(0.0, description="Dropout before the adapter; above 0 it ends prefix sharing.")
    targets: Literal["all-linear"] | list[str] = Field(
        "all-linear", description="Modules with an adapter: all linear layers but the head, or their names."
    )
    rslora: bool = Field(False, description="Scale by alpha / √r instead of alpha / r.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Other options of peft.LoraConfig, by its names.")


class DpoConfig(Section):
    """Direct preference optimisation (2305.18290) against the model that training starts from."""

    beta: Positive = Field(0.1, description="Strength of the pull towards the reference.")
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
    weight: Positive = Field(1.0, description="How often an epoch takes each row; 0.5 takes a drawn half.")

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
    """Lengths are in tokens of the model's tokenizer."""

    model: str | None = Field(None, description="The model to tune; `model.base` unless given.")
    data: list[DataSource] = Field(default_factory=list, description="The run's own dataset unless given.")
    template: Literal["alpaca", "self-instruct"] = Field(
        "alpaca", description="alpaca: one prompt for all; self-instruct: each row draws one of the published 13."
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="qlora: the frozen base in 4 bits, CUDA only; full: every weight of the base, in float32."
    )
    objective: Literal["sft", "dpo"] = Field("sft", description="sft: cross-entropy of responses; dpo: preferences.")
    adapter: str | None = Field(None, description="Folder of an adapter to go on from; `lora` must be that of it.")
    lora: LoraConfig = LoraConfig()
    dpo: DpoConfig = DpoConfig()
    epochs: Positive = Field(3.0, description="Passes over the data.")
    max_steps: Count | None = Field(None, description="Optimizer steps at which training ends, if before its epochs.")
    learning_rate: Positive = Field(2e-4, description="Peak learning rate of AdamW.")
    warmup_ratio: Fraction = Field(0.03, description="Share of the steps over which the rate rises to its peak.")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="How the rate falls afterwards.")
    min_lr_ratio: Fraction = Field(0.0, description="The rate falls to this share of learning_rate instead of 0.")
    weight_decay: NotNegative = Field(0.0, description="AdamW's weight decay.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this global norm.")
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
    neftune_alpha: NotNegative = Field(
        0.0, description="Noise on the embeddings while training (NEFTune, 2310.05914: 5); ends prefix sharing."
    )
    eval_examples: int = Field(0, ge=0, description="Examples held out; their loss is measured with each checkpoint.")
    save_steps: Count = Field(200, description="Optimizer steps between checkpoints.")
    keep: Count = Field(2, description="Checkpoints that are kept, the newest.")
    processes: Count | Literal["auto"] = Field("auto", description="auto: one per GPU, or one on a CPU.")
    accelerate: str | None = Field(None, description="A file of accelerate's own, as configs/accelerate/ddp.yaml.")
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = Field(
        "none", description="Tracker that gets the metrics as well; it must be installed."
    )
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
