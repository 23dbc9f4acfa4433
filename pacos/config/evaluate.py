"""`evaluate`: which models are scored on which suites, and which model judges."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pacos.config.section import Count, Name, NotNegative, Section
from pacos.extensions import POSTPROCESS, PROMPTS, load

if TYPE_CHECKING:
    PromptName = str
    PostprocessName = str
else:
    PromptName = Literal[tuple(PROMPTS)]
    PostprocessName = Literal[tuple(POSTPROCESS)]


class ModelEntry(Section):
    """A model, or an adapter, to be scored besides the base and the run's own."""

    name: Name = Field(description="What it is called in results.")
    model: str | None = Field(None, description="Hub id or folder; with `adapter`, its base (the run's unless given).")
    adapter: str | None = Field(None, description="Folder of a PEFT adapter.")


class SuiteConfig(Section):
    """A set of tasks, and how a model is prompted with them."""

    prose: ClassVar[frozenset[str]] = frozenset({"system"})

    name: Name = Field(description="What it is called in results.")
    path: str = Field(description="A SuperNI folder (tasks/, splits/default/test_tasks.txt) or user-oriented .jsonl.")
    prompt: PromptName = Field(
        "alpaca",
        description="How an instance is put to the model; tk-instruct:* are byte for byte Tk-Instruct's; chat: in each "
        "model's own chat template, that of an adapter being the one saved beside it (see evaluate.chat_template).",
    )
    system: str | None = Field(None, description="With prompt chat: the system text before the user's turn.")
    demonstrations: Annotated[int, Field(ge=0)] = Field(
        0, description="With prompt chat: how many of a task's demonstrations the user's turn shows."
    )
    max_tokens: Count | None = Field(None, description="As published unless given: 1,024 for self-instruct, else 128.")
    max_source_tokens: Count | None = Field(
        None,
        description="Most tokens of a prompt; demonstrations that do not fit are dropped. As published unless given: "
        "1,024 for tk-instruct:*, else what the context leaves.",
    )
    postprocess: PostprocessName = Field("none", description="What of an answer is scored.")
    tokenizer: Literal["auto", "rouge", "gpt2"] = Field(
        "auto",
        description="Over which tokens ROUGE-L is taken. auto: GPT-2's pieces for the x-lingual track, as published, "
        "and for references in scripts that rouge_score does not know; else rouge_score's.",
    )
    limit: Count | None = Field(None, description="Instances per task; 100 (the official rule) unless given.")

    @model_validator(mode="after")
    def _only_chats_are_composed(self) -> "SuiteConfig":
        if not load(PROMPTS, self.prompt).is_chat and (self.system or self.demonstrations):
            raise ValueError(f"system and demonstrations are those of prompt chat; {self.prompt} has its own")
        return self

    @property
    def answer_tokens(self) -> int:
        """Most tokens of an answer: `max_tokens`, or the prompt's published limit."""
        published: int = load(PROMPTS, self.prompt).answer_tokens
        return self.max_tokens or published

    @property
    def source_tokens(self) -> int:
        """Most tokens of a prompt: `max_source_tokens`, or the prompt's published limit; 0 where only the model's
        context limits it."""
        published: int = load(PROMPTS, self.prompt).source_tokens
        return self.max_source_tokens or published

    def prompt_room(self, context: int) -> int:
        """Most tokens of a prompt to a model with a context of `context` tokens, which the answer shares."""
        room = context - self.answer_tokens
        return min(room, self.source_tokens) if self.source_tokens else room


class JudgeConfig(Section):
    """The model that judges. Rubric and pairwise verdicts are one letter, greedy; the rest is for additive scores."""

    model: str | None = Field(None, description="`engine.model`, then `model.base` unless given.")
    adapter: str | None = Field(None, description="Folder of an adapter on that model.")
    template: Literal["auto", "alpaca", "chat"] = Field("auto", description="auto: chat if the model has a template.")
    samples: Count = Field(3, description="Scores of each answer, to be averaged.")
    temperature: NotNegative = Field(0.7, description="Softmax temperature of judgements with reasons.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.9, description="Nucleus of judgements with reasons.")
    max_tokens: Count = Field(512, description="Most tokens of a judgement with reasons.")


class EvaluateConfig(Section):
    """Which models are scored, besides the base and what the run has trained, and on what."""

    models: list[ModelEntry] = Field(default_factory=list, description="Besides the base and the run's adapter.")
    suites: list[SuiteConfig] = Field(default_factory=list, description="What they are scored on.")
    serve: Literal["auto", "adapter", "merged"] = Field(
        "auto",
        description="adapter: all on their base's server. merged: each as a merged copy, in turn. auto: merged on a "
        "CPU engine, where adapters answer several times more slowly.",
    )
    chat_template: str | None = Field(
        None,
        description="With prompt chat: in which models without a chat template are asked; chatml, plain, or a Jinja "
        "file. train.chat_template unless given.",
    )
    judge: JudgeConfig = JudgeConfig()
