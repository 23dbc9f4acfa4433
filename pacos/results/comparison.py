"""What `pacos compare` and an evaluation of several models write: `comparison.json`."""

from dataclasses import dataclass, field

from pacos.results.figures import Difference


@dataclass(frozen=True, slots=True)
class AdjustedDifference(Difference):
    """A difference with its p-value adjusted over all models (Holm); baselines keep their own `p`."""

    p_holm: float


@dataclass(frozen=True, slots=True)
class ComparedBase:
    """The model that the others are compared with; `label` is its folder's name."""

    name: str
    label: str
    rougeL: float
    exact_match: float
    first_line_rougeL: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model or baseline against the base, by metric: over all instances, and by category.

    `step` is the optimizer step of a checkpoint, 0 for any other model.
    """

    name: str
    label: str
    step: int
    rougeL: float
    exact_match: float
    first_line_rougeL: float
    against_base: dict[str, AdjustedDifference]
    per_category: dict[str, dict[str, Difference]]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupScores:
    """A category or a task: {model: {metric: mean}}. A category's own name is its `category`, too."""

    category: str
    n: int
    tasks: int
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A published ROUGE-L, and where it was published."""

    name: str
    rougeL: float
    source: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`comparison.json`: models on one suite against the first of them, paired by instance.

    `contestants` are the models under evaluation besides the base, and the baselines. `tokenizer` is as in
    `scores.json`. `cautions` say in what else than the models the evaluations differ, where that is known.
    """

    suite: str
    prompt: str
    note: str
    confidence: float
    n: int
    tasks: int
    base: ComparedBase
    contestants: list[ComparedModel]
    published: list[PublishedScore]
    per_category: dict[str, GroupScores]
    per_task: dict[str, GroupScores]
    tokenizer: str = "rouge"
    cautions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise ValueError where parts are at odds: every model has its scores everywhere."""
        if not (self.contestants and self.per_category and self.per_task):
            raise ValueError("there are no contestants, categories or tasks")
        for name, group in (*self.per_category.items(), *self.per_task.items()):
            if lacking := [model for model in self.labels if "rougeL" not in group.scores.get(model, {})]:
                raise ValueError(f"{name!r} has no ROUGE-L of {lacking[0]!r}")
        for model in self.contestants:
            lacks = [name for name in self.per_category if "rougeL" not in model.per_category.get(name, {})]
            if lacks or not {"rougeL", "first_line_rougeL"} <= model.against_base.keys():
                raise ValueError(f"{model.name!r} is not compared by ROUGE-L throughout")
            if lacking := [name for name in self.further_metrics if name not in model.metrics]:
                raise ValueError(f"{model.name!r} has no {lacking[0]!r}")

    @property
    def labels(self) -> dict[str, str]:
        """{name: folder below `eval/`}, the base's first."""
        return {self.base.name: self.base.label} | {model.name: model.label for model in self.contestants}

    @property
    def further_metrics(self) -> list[str]:
        """Names of the metrics that have no column of their own in the report."""
        return [name for name in self.base.metrics if name not in ("rougeL", "exact_match", "first_line_rougeL")]
