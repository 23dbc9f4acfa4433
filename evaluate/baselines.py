"""Scores that need no model: what a model has to beat.

Published ROUGE-L on the default track (Tk-Instruct README): copying the input 14.20, copying the output of the
task's first demonstration 28.54.
"""

from collections.abc import Callable
from pathlib import Path

from pacos.config import SuiteConfig
from pacos.evaluate.evaluation import Evaluation, Settings
from pacos.evaluate.models import COPY_DEMONSTRATION, COPY_INPUT
from pacos.evaluate.score import metrics
from pacos.records import Prediction, write_jsonl
from pacos.superni.tasks import Instance, Suite

NO_PROMPT = "none"

ANSWERS: dict[str, Callable[[Instance], str]] = {
    COPY_INPUT: lambda instance: instance.input,
    COPY_DEMONSTRATION: lambda instance: instance.positive[0].output,
}


def baselines(suite: Suite) -> list[str]:
    """Those that can answer the whole suite."""
    has_demonstrations = all(instance.positive for instance in suite.instances)
    return [COPY_INPUT, COPY_DEMONSTRATION] if has_demonstrations else [COPY_INPUT]


def write_baseline(name: str, suite_config: SuiteConfig, suite: Suite, folder: Path) -> None:
    """Write the predictions and the evaluation's record to `folder`."""
    settings = Settings(
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
    )
    rows = [_answered(name, suite_config.name, instance) for instance in suite.instances]
    write_jsonl(folder / "predictions.jsonl", rows)
    Evaluation(settings).write(folder)


def _answered(name: str, suite: str, instance: Instance) -> Prediction:
    raw = ANSWERS[name](instance)
    text = raw.strip()
    rouge, exact = metrics(text, instance.references)
    return Prediction(
        model=name,
        suite=suite,
        task=instance.task,
        instance=instance.id,
        category=instance.category,
        prompt_sha256="",
        prediction=text,
        raw=raw,
        references=list(instance.references),
        rougeL=rouge,
        exact_match=exact,
        finish_reason="stop",
    )
