"""The record of an evaluation (`eval/<label>/evaluation.json`): read, and compared with what is to be evaluated now.

Answers are kept only where everything that decides them is unchanged; a retrained adapter under the old name is
evaluated again.
"""

from dataclasses import replace
from pathlib import Path

from pacos.results import read_result, write_result
from pacos.results.evaluation import Evaluation, EvaluationSettings
from pacos.serving.requests import archive

RECORD = "evaluation.json"


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the record of `eval/<label>/`."""
    write_result(folder / RECORD, evaluation)


def read_evaluation(folder: Path) -> Evaluation | None:
    """The record of `eval/<label>/`, None where no evaluation was begun. Raises DataError for a broken file."""
    path = folder / RECORD
    if not path.is_file():
        return None
    return read_result(path, Evaluation, todo="delete its folder and evaluate again")


def keep_answers(folder: Path, settings: EvaluationSettings) -> bool:
    """Whether the answers in `folder` were given under `settings`; answers under others are archived."""
    earlier = read_evaluation(folder)
    if earlier is None:
        return False
    if _same(earlier.settings, settings):
        return True
    (folder / "scores.json").unlink(missing_ok=True)
    predictions = folder / "predictions.jsonl"
    if predictions.is_file():
        archive(predictions, "the model, the suite or the decoding has changed; earlier answers are in")
    return False


def _same(earlier: EvaluationSettings, now: EvaluationSettings) -> bool:
    """Whether both decide the same answers.

    An adapter is compared by its content, wherever its folder is. A hub model has no fingerprint before its download,
    and earlier versions recorded less: what is unknown is assumed to be the same.
    """
    unknown = not (earlier.base_sha256 and now.base_sha256)
    base_sha256 = now.base_sha256 if unknown else earlier.base_sha256
    if not earlier.serve:
        earlier = replace(earlier, serve=now.serve, dtype=now.dtype)
    return replace(earlier, adapter=now.adapter, base_sha256=base_sha256) == now
