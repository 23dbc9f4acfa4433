"""The report's part on training: a summary of `metrics.jsonl`, and which step's weights were exported."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pacos.errors import DataError
from pacos.files import read_jsonl, read_object
from pacos.results import parse_result
from pacos.results.training import BestStep, StepCurve, TrainingStep, TrainingSummary


def summarize_training(path: Path) -> TrainingSummary | None:
    """Totals and the curve of a run's `metrics.jsonl`; None where there are no steps. A torn last line is left out.

    Raises DataError for a line that is not a step's metrics, or a `pacos.json` beside the weights that is broken.
    """
    lines = [values for _, values in read_jsonl(path, torn_tail=True)] if path.is_file() else []
    try:
        steps = TypeAdapter(list[TrainingStep]).validate_python(lines)
    except ValidationError as invalid:
        line, key = invalid.errors(include_url=False)[0]["loc"][:2]
        where = f"{path}:{int(line) + 1}"
        raise DataError(f"`{key}` is missing or not a number", where=where, todo="train again") from None
    if not steps:
        return None
    seconds, tokens = sum(step.seconds for step in steps), sum(step.tokens for step in steps)
    return TrainingSummary(
        steps=[
            StepCurve(step.step, step.epoch, step.loss, step.learning_rate, step.grad_norm, step.eval_loss)
            for step in steps
        ],
        first_loss=steps[0].loss,
        last_loss=steps[-1].loss,
        examples=sum(step.examples for step in steps),
        tokens=tokens,
        response_tokens=sum(step.response_tokens for step in steps),
        tokens_per_s=tokens / seconds if seconds else 0.0,
        fill=sum(step.fill for step in steps) / len(steps),
        seconds=seconds,
        best=_best_step(path.parent),
    )


def _best_step(folder: Path) -> BestStep | None:
    """The step whose weights were exported because they were the best; None where they are the last step's."""
    for exported in (folder / "adapter" / "pacos.json", folder / "model" / "pacos.json"):
        if exported.is_file() and (best := read_object(exported, todo="train again").get("best")):
            return parse_result(best, BestStep, where=exported, todo="train again")
    return None
