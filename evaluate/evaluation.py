"""The record of an evaluation (`eval/<label>/evaluation.json`): read, and compared with what is to be evaluated now.

Answers are kept only where everything that decides them is unchanged; a retrained adapter under the old name is
evaluated again.
"""

import logging
from dataclasses import replace
from pathlib import Path

from pacos.evaluate.metrics import ROUGE_L
from pacos.files import write_jsonl
from pacos.records import Prediction, read_records
from pacos.results import read_result, write_result
from pacos.results.evaluation import Evaluation, EvaluationSettings
from pacos.serving.requests import archive

log = logging.getLogger("pacos")

RECORD = "evaluation.json"
ANSWERS = "predictions.jsonl"


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
        if earlier.settings.max_source_tokens is None and settings.max_source_tokens:
            log.warning(
                "%s: answers of an earlier version are kept; where a prompt was over %d tokens, no demonstrations were "
                "dropped to shorten it (delete the folder to ask again)",
                folder,
                settings.max_source_tokens,
            )
        elif earlier.settings.max_source_tokens not in (None, settings.max_source_tokens):
            # Prompts that change are asked again, and answers to the others kept: each names its prompt.
            (folder / "scores.json").unlink(missing_ok=True)
        if earlier.settings.tokenizer != settings.tokenizer:
            _score_again(folder, earlier, settings.tokenizer)
        return True
    (folder / "scores.json").unlink(missing_ok=True)
    predictions = folder / ANSWERS
    if predictions.is_file():
        archive(predictions, "the model, the suite or the decoding has changed; earlier answers are in")
    return False


def _score_again(folder: Path, earlier: Evaluation, tokenizer: str) -> None:
    """Score the answers by another tokenizer, and then record it: interrupted in between, it is done again."""
    path, measure = folder / ANSWERS, ROUGE_L.measure_by(tokenizer)
    if path.is_file() and (earlier.settings.tokenizer or "rouge") != tokenizer:
        rows = read_records(path, Prediction, torn_tail=True)
        write_jsonl(path, [replace(row, rougeL=measure(row.prediction, row.references)) for row in rows])
    write_evaluation(folder, replace(earlier, settings=replace(earlier.settings, tokenizer=tokenizer)))


def _same(earlier: EvaluationSettings, now: EvaluationSettings) -> bool:
    """Whether both decide the same answers, apart from prompts that `max_source_tokens` changes.

    An adapter is compared by its content, wherever its folder is. A hub model has no fingerprint before its download,
    and earlier versions recorded less: what is unknown is assumed to be the same.
    """
    unknown = not (earlier.base_sha256 and now.base_sha256)
    base_sha256 = now.base_sha256 if unknown else earlier.base_sha256
    if not earlier.serve:
        earlier = replace(earlier, serve=now.serve, dtype=now.dtype)
    earlier = replace(earlier, max_source_tokens=now.max_source_tokens, tokenizer=now.tokenizer)
    return replace(earlier, adapter=now.adapter, base_sha256=base_sha256) == now
