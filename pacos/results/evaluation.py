"""What `pacos evaluate`, `score` and `contamination` write: one dataclass for each file, and its parts."""

from dataclasses import dataclass, field

from pacos.results.figures import Tokenization

# The baselines' prompt: they answer without one.
NO_PROMPT = "none"


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Everything that decides an evaluation's answers. `adapter` is "" for a model without one; `base` is "" where no
    model answers.

    `dtype` is what the server computes in, and `serve` says how it holds the weights: as a `model`, as an `adapter` on
    one, or `merged`; "" in records of earlier versions, whose `dtype` is that of the configuration.
    `max_source_tokens` is 0 where the context alone limits a prompt, and None in records of earlier versions, where it
    always did. `tokenizer` is the one that ROUGE-L is taken by ("" in records of earlier versions): it decides scores,
    not answers. `prompt_sha256` is that of all text around an instance's own: with prompt chat, of `system`, of so many
    `demonstrations` and of the model's chat template, whose own hash is `chat_template_sha256` ("" for other prompts).
    """

    model: str
    base: str
    base_sha256: str
    dtype: str
    adapter: str
    adapter_sha256: str
    suite: str
    suite_sha256: str
    n_expected: int
    prompt: str
    prompt_sha256: str
    max_tokens: int
    postprocess: str
    serve: str = ""
    max_source_tokens: int | None = None
    tokenizer: str = ""
    system: str = ""
    demonstrations: int = 0
    chat_template_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Shortened:
    """How many of a suite's prompts were shortened to fit: with a cut input, and with fewer demonstrations."""

    inputs: int = 0
    demonstrations: int = 0


@dataclass(frozen=True, slots=True)
class AdapterCheck:
    """How far a served adapter differs from its base: the largest |Δ log-probability| (nats) over `tokens` prompt
    tokens, and `noise`, the largest between repeated reads of the base.

    `nearest` is the adapter that it differs from least, "" where it is the only one.
    """

    largest_difference: float = 0.0
    noise: float = 0.0
    tokens: int = 0
    nearest: str = ""
    nearest_difference: float = 0.0


@dataclass(frozen=True, slots=True)
class Decoding:
    """Greedy decoding, of at most `max_tokens`; 0 where it is unknown."""

    temperature: float = 0.0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """How the questions were put. `preset` is "" where the evaluation is unknown.

    `truncated` prompts lost a part of their input, `fewer_demonstrations` demonstrations, to fit the context or
    `max_source_tokens` (0, and None in files of earlier versions: the context alone). `system`, `demonstrations` and
    `chat_template_sha256` are those of prompt chat.
    """

    preset: str = ""
    sha256: str = ""
    trailing_space: str = ""
    truncated: int = 0
    fewer_demonstrations: int = 0
    decoding: Decoding = field(default_factory=Decoding)
    postprocess: str = ""
    max_source_tokens: int | None = None
    system: str = ""
    demonstrations: int = 0
    chat_template_sha256: str = ""


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """The adapter that answered, and its check; empty for a model without one."""

    path: str = ""
    sha256: str = ""
    serve: str = ""
    proof: AdapterCheck = field(default_factory=AdapterCheck)


@dataclass(frozen=True, slots=True)
class ServedBase:
    """The base that answered; empty for baselines and unknown evaluations."""

    model: str = ""
    sha256: str = ""
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`evaluation.json`: one model on one suite with one prompt and one way of decoding; its folder is
    `eval/<label>/`."""

    settings: EvaluationSettings
    shortened: Shortened = field(default_factory=Shortened)
    proof: AdapterCheck = field(default_factory=AdapterCheck)

    @property
    def prompt(self) -> AskedPrompt:
        """How the questions were put, as `scores.json` has it."""
        return AskedPrompt(
            preset=self.settings.prompt,
            sha256=self.settings.prompt_sha256,
            trailing_space="stripped",
            truncated=self.shortened.inputs,
            fewer_demonstrations=self.shortened.demonstrations,
            decoding=Decoding(max_tokens=self.settings.max_tokens),
            postprocess=self.settings.postprocess,
            max_source_tokens=self.settings.max_source_tokens,
            system=self.settings.system,
            demonstrations=self.settings.demonstrations,
            chat_template_sha256=self.settings.chat_template_sha256,
        )

    @property
    def adapter(self) -> ServedAdapter:
        """The adapter, as `scores.json` has it."""
        settings = self.settings
        serve = settings.serve if settings.adapter else ""
        return ServedAdapter(settings.adapter, settings.adapter_sha256, serve, self.proof)

    @property
    def base(self) -> ServedBase:
        """The base, as `scores.json` has it."""
        return ServedBase(self.settings.base, self.settings.base_sha256, self.settings.dtype)


@dataclass(frozen=True, slots=True)
class MeanScores:
    """The published metrics, averaged over instances; 0–100."""

    rougeL: float = 0.0
    exact_match: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskScores:
    """One task's row of `scores.json`."""

    rougeL: float
    exact_match: float
    n: int
    category: str


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """One category's row of `scores.json`."""

    rougeL: float
    exact_match: float
    n: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Scores:
    """`scores.json`: one model's scores on one suite, 0–100.

    `first_line` scores the same answers cut at their first line: a model that has only learned to stop gains in
    `rougeL` and not there. `metrics` has every metric of extensions.METRICS by name. ROUGE-L is over the tokens of
    `tokenizer`: rouge_score's own (rouge), or GPT-2's pieces (gpt2). A file of predictions alone does not say what was
    evaluated: its `n_expected` is 0, and `prompt`, `adapter` and `base` are empty.
    """

    rougeL: float
    exact_match: float
    first_line: MeanScores
    n: int
    n_expected: int
    complete: bool
    note: str
    model: str
    suite: str
    per_task: dict[str, TaskScores]
    per_category: dict[str, CategoryScores]
    prompt: AskedPrompt = field(default_factory=AskedPrompt)
    adapter: ServedAdapter = field(default_factory=ServedAdapter)
    base: ServedBase = field(default_factory=ServedBase)
    metrics: dict[str, float] = field(default_factory=dict)
    tokenizer: str = "rouge"

    @property
    def is_baseline(self) -> bool:
        """Whether the answers are copies, written by no model."""
        return self.prompt.preset == NO_PROMPT

    def __str__(self) -> str:
        """A table for the terminal: the whole suite, then its categories."""
        whole = CategoryScores(self.rougeL, self.exact_match, self.n, len(self.per_task))
        rows = {"all": whole, **self.per_category}
        width = max(len(name) for name in rows)
        lines = [f"{self.model} on {self.suite}: {self.note}", f"{'':{width}}  ROUGE-L  exact match      n  tasks"]
        for name, row in rows.items():
            lines.append(f"{name:{width}}  {row.rougeL:7.2f}  {row.exact_match:11.2f}  {row.n:5}  {row.tasks:5}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and where it was found: the row or instance, and which part of it."""

    owner: str
    part: str
    text: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """An evaluation text found in the training data; `measure` is exact, run or rougeL."""

    measure: str
    rougeL: float
    evaluation: Passage
    training: Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """`contamination.json`: the texts of a suite that were found in training data.

    A text that several instances share counts once; `owners` counts what the found texts belong to (definitions by
    task). `tokenization` is that of the evaluation texts.
    """

    training: list[str] = field(default_factory=list)
    rows: int = 0
    texts: int
    too_short: int
    overlapping: int
    by_measure: dict[str, int]
    by_part: dict[str, int] = field(default_factory=dict)
    owners: int = 0
    overlaps: list[Overlap]
    tokenization: Tokenization = field(default_factory=Tokenization)

    @property
    def exact(self) -> int:
        """Texts with the same words as a training text."""
        return self.by_measure.get("exact", 0)

    @property
    def with_run(self) -> int:
        """Texts that share a run of words with a training text."""
        return self.by_measure.get("run", 0)

    @property
    def similar(self) -> int:
        """Texts whose ROUGE-L to a training text is high."""
        return self.by_measure.get("rougeL", 0)
