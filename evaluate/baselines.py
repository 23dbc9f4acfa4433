"""What a model's scores are read against: baselines that copy, and published figures.

Copying the input scores 14.20 on the default track, and copying the output of the task's first demonstration 28.54
(ROUGE-L, Tk-Instruct README). Published figures are shown next to our own and never as measured here: Self-Instruct
(Wang et al. 2212.10560, Table 3) zero-shot, 1,024 tokens, nothing cut; Tk-Instruct (README of its repository, updated
script) with definition and two positive examples, where the GPT-3 row cuts each answer at the first period.
"""

from collections.abc import Callable
from pathlib import Path

from pacos.config import SuiteConfig
from pacos.evaluate.evaluation import write_evaluation
from pacos.evaluate.metrics import EXACT_MATCH, ROUGE_L
from pacos.evaluate.models import COPY_DEMONSTRATION, COPY_INPUT
from pacos.evaluate.tracks import DEFAULT_INSTANCES, XLINGUAL_INSTANCES, suite_tokenizer
from pacos.files import write_jsonl
from pacos.records import Prediction
from pacos.results.comparison import PublishedScore
from pacos.results.evaluation import NO_PROMPT, Evaluation, EvaluationSettings
from pacos.superni.tasks import Instance, Suite

ANSWERS: dict[str, Callable[[Instance], str]] = {
    COPY_INPUT: lambda instance: instance.input,
    COPY_DEMONSTRATION: lambda instance: instance.positive[0].output,
}


def baselines(suite: Suite) -> list[str]:
    """Names of the baselines that can answer the whole suite."""
    has_demonstrations = all(instance.positive for instance in suite.instances)
    return [COPY_INPUT, COPY_DEMONSTRATION] if has_demonstrations else [COPY_INPUT]


def write_baseline(name: str, suite_config: SuiteConfig, suite: Suite, folder: Path) -> None:
    """Write a baseline's predictions and the record of the evaluation to `folder`."""
    settings = EvaluationSettings(
        model=name,
        base="",
        base_sha256="",
        dtype="",
        adapter="",
        adapter_sha256="",
        suite=suite_config.name,
        suite_sha256=suite.sha256,
        n_expected=suite.n_expected,
        prompt=NO_PROMPT,
        prompt_sha256="",
        max_tokens=0,
        postprocess="none",
        tokenizer=suite_tokenizer(suite_config, suite),
    )
    rows = [_answered(settings, instance) for instance in suite.instances]
    write_jsonl(folder / "predictions.jsonl", rows)
    write_evaluation(folder, Evaluation(settings))


def _answered(settings: EvaluationSettings, instance: Instance) -> Prediction:
    raw = ANSWERS[settings.model](instance)
    text = raw.strip()
    return Prediction(
        model=settings.model,
        suite=settings.suite,
        task=instance.task,
        instance=instance.id,
        category=instance.category,
        prompt_sha256="",
        prediction=text,
        raw=raw,
        references=list(instance.references),
        rougeL=ROUGE_L.measure_by(settings.tokenizer)(text, instance.references),
        exact_match=EXACT_MATCH.measure(text, instance.references),
        finish_reason="stop",
    )


TABLE_3 = "Self-Instruct, Table 3"
TK_README = "Tk-Instruct README"

DEFAULT_TRACK = (
    ("T5-LM 11B", 25.7, TABLE_3),
    ("GPT-3 175B", 6.8, TABLE_3),
    ("T0 11B", 33.1, TABLE_3),
    ("GPT-3 + T0 training", 37.9, TABLE_3),
    ("GPT-3 Self-Instruct", 39.9, TABLE_3),
    ("InstructGPT-001", 40.8, TABLE_3),
    ("Tk-Instruct 11B", 46.0, TABLE_3),
    ("GPT-3 + SuperNI training", 49.5, TABLE_3),
    ("GPT-3 Self-Instruct + SuperNI training", 51.6, TABLE_3),
    ("copy input", 14.20, TK_README),
    ("copy demonstration", 28.54, TK_README),
    ("T5-LM 11B", 30.16, TK_README),
    ("T0 11B", 32.28, TK_README),
    ("GPT-3 175B", 45.05, TK_README),
    ("InstructGPT", 52.06, TK_README),
    ("Tk-Instruct 3B", 54.33, TK_README),
    ("Tk-Instruct 11B", 60.07, TK_README),
)
XLINGUAL_TRACK = (
    ("copy input", 5.44, TK_README),
    ("copy demonstration", 50.31, TK_README),
    ("GPT-3 175B", 51.20, TK_README),
    ("InstructGPT", 53.74, TK_README),
    ("mTk-Instruct 3B", 56.72, TK_README),
)
# By the number of instances of the official tracks, and the tokenizer that their figures were taken by.
TRACKS = {(DEFAULT_INSTANCES, "rouge"): DEFAULT_TRACK, (XLINGUAL_INSTANCES, "gpt2"): XLINGUAL_TRACK}


def published_scores(n_expected: int, tokenizer: str = "rouge") -> list[PublishedScore]:
    """Published figures of the official track with so many instances; none for any other suite, and none where ROUGE-L
    is taken by another tokenizer than theirs."""
    return [PublishedScore(name, rouge, source) for name, rouge, source in TRACKS.get((n_expected, tokenizer), ())]
