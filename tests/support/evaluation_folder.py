"""`eval/<label>/` folders with given answers, for tests of scoring, comparing and reporting."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pacos.evaluate import evaluation as record
from pacos.evaluate.score import score_file
from pacos.files import write_jsonl
from pacos.records import Prediction
from pacos.results.evaluation import Evaluation, EvaluationSettings

Answers = Mapping[str, Sequence[tuple[str, str]]]


def write_evaluation(
    folder: Path,
    model: str,
    answers: Answers,
    *,
    suite: str = "superni",
    prompt: str = "alpaca",
    categories: Mapping[str, str] | None = None,
) -> Path:
    """`answers` are {task: [(prediction, reference), …]}."""
    rows = [
        prediction(model, suite, task, str(index), (categories or {}).get(task, "title_generation"), text, [reference])
        for task, pairs in answers.items()
        for index, (text, reference) in enumerate(pairs)
    ]
    write_jsonl(folder / "predictions.jsonl", rows)
    settings = EvaluationSettings(
        model=model,
        base="llama",
        base_sha256="",
        dtype="float32",
        adapter="",
        adapter_sha256="",
        suite=suite,
        suite_sha256="",
        n_expected=len(rows),
        prompt=prompt,
        prompt_sha256="",
        max_tokens=128,
        postprocess="none",
    )
    record.write_evaluation(folder, Evaluation(settings))
    score_file(folder / "predictions.jsonl", folder / "scores.json")
    return folder


def prediction(
    model: str, suite: str, task: str, instance: str, category: str, text: str, references: list[str]
) -> Prediction:
    return Prediction(
        model=model,
        suite=suite,
        task=task,
        instance=instance,
        category=category,
        prompt_sha256="",
        prediction=text,
        raw=text,
        references=references,
        rougeL=0.0,
        exact_match=0.0,
        finish_reason="stop",
    )
