"""Copying the input: what a score is worth that needs no model. Published for all of SuperNI: ROUGE-L 14.20."""

from pathlib import Path

from pacos.config import SuiteConfig
from pacos.evaluate.contestants import COPY_INPUT
from pacos.evaluate.evaluation import Evaluation, Settings
from pacos.evaluate.score import metrics
from pacos.records import Prediction, write_jsonl
from pacos.superni import Instance, Suite

NO_PROMPT = "none"


def copy_input(suite_config: SuiteConfig, suite: Suite, folder: Path) -> None:
    """Write the predictions and the evaluation's record to `folder`."""
    settings = Settings(
        model=COPY_INPUT,
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
    write_jsonl(folder / "predictions.jsonl", [_copied(suite_config.name, instance) for instance in suite.instances])
    Evaluation(settings).write(folder)


def _copied(suite: str, instance: Instance) -> Prediction:
    text = instance.input.strip()
    rouge, exact = metrics(text, instance.references)
    return Prediction(
        model=COPY_INPUT,
        suite=suite,
        task=instance.task,
        instance=instance.id,
        category=instance.category,
        prompt_sha256="",
        prediction=text,
        raw=instance.input,
        references=list(instance.references),
        rougeL=rouge,
        exact_match=exact,
        finish_reason="stop",
    )
