"""The record of an evaluation (`eval/<label>/evaluation.json`): read, and compared with what is to be evaluated now.

Answers are kept only where everything that decides them is unchanged; a retrained adapter under the old name is
evaluated again.
"""

import logging
from dataclasses import fields, replace
from pathlib import Path

from pacos.adapters import WEIGHTS, weights_sha256
from pacos.evaluate.metrics import ROUGE_L
from pacos.files import disk_error, write_jsonl
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
    """Whether the answers in `folder` were given under `settings`. Others are archived, and a warning says why."""
    earlier = read_evaluation(folder)
    changed = _changes(earlier.settings, settings) if earlier else ["no evaluation.json says what answered"]
    if earlier is None or changed:
        _forget_scores(folder)
        if (folder / ANSWERS).is_file():
            log.warning("%s: asked again, not as it was: %s", folder, "; ".join(changed))
            archive(folder / ANSWERS, "earlier answers are in")
        return False
    if earlier.settings.max_source_tokens is None and settings.max_source_tokens:
        log.warning(
            "%s: answers of an earlier version are kept; where a prompt was over %d tokens, no demonstrations were "
            "dropped to shorten it (delete the folder to ask again)",
            folder,
            settings.max_source_tokens,
        )
    elif earlier.settings.max_source_tokens not in (None, settings.max_source_tokens):
        # Prompts that change are asked again, and answers to the others kept: each names its prompt.
        _forget_scores(folder)
    if earlier.settings.adapter_sha256 != settings.adapter_sha256:
        earlier = _with_whole_adapter(folder, earlier, settings.adapter_sha256)
    if earlier.settings.tokenizer != settings.tokenizer:
        _score_again(folder, earlier, settings.tokenizer)
    return True


def _forget_scores(folder: Path) -> None:
    path = folder / "scores.json"
    try:
        path.unlink(missing_ok=True)
    except OSError as failure:
        raise disk_error(failure, path) from failure


def _with_whole_adapter(folder: Path, earlier: Evaluation, adapter_sha256: str) -> Evaluation:
    """The record of an earlier version, which knew the adapter's weights alone, with the whole adapter from now on."""
    log.warning(
        "%s: answers of an earlier version are kept; it did not record adapter_config.json, which is taken to be "
        "unchanged (delete the folder to ask again)",
        folder,
    )
    known = replace(earlier, settings=replace(earlier.settings, adapter_sha256=adapter_sha256))
    write_evaluation(folder, known)
    return known


def _score_again(folder: Path, earlier: Evaluation, tokenizer: str) -> None:
    """Score the answers by another tokenizer, and then record it: interrupted in between, it is done again."""
    path, measure = folder / ANSWERS, ROUGE_L.measure_by(tokenizer)
    if path.is_file() and (earlier.settings.tokenizer or "rouge") != tokenizer:
        rows = read_records(path, Prediction, torn_tail=True)
        write_jsonl(path, [replace(row, rougeL=measure(row.prediction, row.references)) for row in rows])
    write_evaluation(folder, replace(earlier, settings=replace(earlier.settings, tokenizer=tokenizer)))


def _changes(earlier: EvaluationSettings, now: EvaluationSettings) -> list[str]:
    """What decides the answers and is not as it was, a line for each; prompts that `max_source_tokens` changes are
    told one by one.

    An adapter is compared by its content, wherever its folder is. A hub model has no fingerprint before its download,
    and earlier versions recorded less: what is unknown is assumed to be the same.
    """
    lines = []
    for field in fields(EvaluationSettings):
        before, after = getattr(earlier, field.name), getattr(now, field.name)
        if before != after and not _is_assumed_same(field.name, earlier, now):
            lines.append(_WHAT_CHANGED.get(field.name) or f"`{field.name}` was {before!r}, is {after!r}")
    return lines


# For settings whose values say nothing to people.
_WHAT_CHANGED = {
    "base_sha256": "the weights of the base, under the same name or path",
    "adapter_sha256": "the adapter, its weights or its adapter_config.json",
    "suite_sha256": "the tasks of the suite",
    "prompt_sha256": "the text of the prompt",
    "chat_template_sha256": "the model's chat template",
}


def _is_assumed_same(key: str, earlier: EvaluationSettings, now: EvaluationSettings) -> bool:
    if key in ("adapter", "max_source_tokens", "tokenizer"):
        return True
    if key == "base_sha256":
        return not (earlier.base_sha256 and now.base_sha256)
    if key in ("serve", "dtype"):
        return not earlier.serve
    if key != "adapter_sha256" or not now.adapter or not (Path(now.adapter) / WEIGHTS).is_file():
        return False
    return earlier.adapter_sha256 == weights_sha256(Path(now.adapter))
