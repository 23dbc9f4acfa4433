"""What training writes: a line of `metrics.jsonl`, `probe.json`, `pacos.json`; and what the report makes of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """A line of `metrics.jsonl`, before the objective's own figures (see `TrainingLoss.figures`).

    `loss` in nats per supervised token (dpo: per pair). `tokens` are those of the examples; `computed_tokens` count a
    shared prefix once per row. `fill` is their share of the positions computed, padding included. `eval_loss` is that
    of the held-out examples, 0.0 in steps that do not measure it. `mfu` counts computed tokens; 0.0 where the device's
    peak is unknown.
    """

    step: int
    epoch: float
    loss: float
    eval_loss: float = 0.0
    learning_rate: float
    grad_norm: float
    examples: int
    tokens: int
    computed_tokens: int = 0
    response_tokens: int
    fill: float
    tokens_per_s: float
    mfu: float = 0.0
    seconds: float


@dataclass(frozen=True, slots=True)
class StopProbe:
    """`stopped` of `prompts` answers ended within `limit` tokens; `median_tokens` counts those, EOS included."""

    prompts: int
    stopped: int
    limit: int
    median_tokens: int

    def __str__(self) -> str:
        return f"{self.stopped} of {self.prompts} greedy answers ended by themselves within {self.limit} tokens"


@dataclass(frozen=True, slots=True)
class BestStep:
    """The optimizer step after which the held-out loss was least (the earliest of equals), and that loss."""

    step: int
    eval_loss: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """`pacos.json` beside trained weights: hashes of all that they were made from.

    `start_sha256` is the adapter's that training started from, "" where it started from the base. `best` is the step
    whose weights these are (`train.keep_best`), None where they are the last step's.
    """

    base: str
    base_sha256: str
    start_sha256: str
    template: str
    template_sha256: str
    tokenizer_sha256: str
    dataset_sha256: str
    best: BestStep | None = None


@dataclass(frozen=True, slots=True)
class StepCurve:
    """A point of the report's training curve; `eval_loss` is 0.0 in steps that do not measure it."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    eval_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What the report shows of a training run; `fill` is the mean over its steps, `best` as in `Provenance`."""

    steps: list[StepCurve]
    first_loss: float
    last_loss: float
    examples: int
    tokens: int
    response_tokens: int
    tokens_per_s: float
    fill: float
    seconds: float
    best: BestStep | None = None
