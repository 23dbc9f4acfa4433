"""The family `replies`: what servers send, through the checks before the journal, and what models write, through the
parsers of lists, follow-ups and verdicts."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.mutations import as_json, damaged_bytes, mutated
from benchmarks.fuzz.outcomes import Failure, Outcome, Tried, attempt, run_cases
from benchmarks.fuzz.texts import mutated_text
from pacos.evaluate.judge.kinds import judge_kind
from pacos.extensions import JUDGE_KINDS
from pacos.files import JsonlWriter
from pacos.generate.filtering.defects import DEFECTS
from pacos.generate.journal import read_responses
from pacos.generate.prompting.follow_ups import Classification, parse_classification, parse_instances
from pacos.generate.prompting.instructions import parse_instructions
from pacos.generate.prompting.items import ParsedItem
from pacos.generate.prompting.parsing import parse_answer
from pacos.records import Response
from pacos.serving import replies

WHERE = "http://127.0.0.1:1/v1/completions"
PROMPT = [5, 6, 7]
REASONS = ("stop", "length", "abort", "content_filter", "", "tool_calls")

CHOICE = {"index": 0, "text": " Name a lake.\n4. Output:\nBaikal", "finish_reason": "stop", "logprobs": None}
USAGE = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
COMPLETION = {"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}
LOGPROBS = [None, *({str(token): {"logprob": -1.5, "rank": 1}} for token in PROMPT[1:])]
SCORED = COMPLETION | {"choices": [CHOICE | {"prompt_logprobs": LOGPROBS}]}
BASE = {"id": "m", "object": "model", "root": "/models/m", "parent": None, "max_model_len": 4096}
MODELS = {"object": "list", "data": [BASE, BASE | {"id": "adapter", "parent": "m", "max_model_len": None}]}
ERROR = {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}


@dataclass(frozen=True, slots=True)
class Reply:
    """A kind of reply: a valid one, and the function that reads it."""

    name: str
    valid: Any
    read: Callable[[str], Any]


def fuzz_replies(cases: int, seed: int, names: list[str] | None = None) -> tuple[dict[str, int], list[Failure]]:
    """Run `cases` cases over all kinds in turn, or those whose names begin with one of `names`."""
    with tempfile.TemporaryDirectory(prefix="pacos-fuzz-") as folder:
        kinds = [one for one in _kinds(Path(folder)) if not names or one.name.startswith(tuple(names))]
        return run_cases("replies", cases, seed, [(kind.name, partial(_tried, kind)) for kind in kinds])


def _tried(kind: Reply, draw: Random) -> Tried:
    text, how, harmless = _case(kind, draw)
    outcome = attempt(partial(kind.read, text))
    return Tried(outcome, _wrong(kind, outcome, harmless), text.encode("utf-8", "surrogatepass"), how)


def _wrong(kind: Reply, outcome: Outcome, harmless: bool) -> str:
    """What is wrong with an outcome; "" if nothing is."""
    if outcome.kind == "failed":
        return outcome.detail
    if outcome.kind == "refused":
        if harmless:
            return f"a change that means nothing is refused: {outcome.detail}"
        return "" if WHERE in outcome.detail else f"the error does not name the address: {outcome.detail}"
    if harmless and outcome.value != attempt(partial(kind.read, _sent(kind))).value:
        return f"reads something else: {outcome.value}"
    return ""


def _kinds(folder: Path) -> list[Reply]:
    return [
        Reply("completion", COMPLETION, lambda text: _journalled(folder / "responses.jsonl", text)),
        Reply("log-probabilities", SCORED, lambda text: replies.read_prompt_logprobs(text, PROMPT, WHERE)),
        Reply("models", MODELS, lambda text: replies.read_models(text, WHERE)),
        Reply("error", ERROR, lambda text: str(replies.refusal(400, text, WHERE, "KEY"))),
        Reply("list of tasks", None, _answer(lambda text, end: _whole(parse_answer(text, end)))),
        Reply("list of tasks, as published", None,
              _answer(lambda text, end: _whole(parse_answer(text, end, as_published=True), may_be_empty=True))),
        Reply("list of instructions", None,
              _answer(lambda text, end: _whole(parse_instructions(text, end), may_be_empty=True))),
        Reply("follow-up", None, _answer(_follow_up)),
        Reply("verdict", None, _answer(_verdicts)),
    ]  # fmt: skip


def _case(kind: Reply, draw: Random) -> tuple[str, str, bool]:
    """(a reply, how it was made, whether it must read as the valid one does)"""
    if kind.valid is None:
        return mutated_text(draw), "text", False
    if draw.random() < 0.1:
        known = kind.valid if kind.name == "error" else kind.valid | {"service_tier": None, "kv_transfer_params": {}}
        return json.dumps(dict(reversed(known.items())), indent=1), "keys in another order, unknown ones", True
    if draw.random() < 0.35:
        content, how = damaged_bytes(_sent(kind).encode(), draw)
        return content.decode("utf-8", "replace"), how, False
    changed, how = mutated(kind.valid, draw)
    if draw.random() < 0.3:
        changed, more = mutated(changed, draw) if isinstance(changed, dict | list) else (changed, "")
        how = f"{how}; {more}"
    return as_json(changed, draw).decode("utf-8", "replace"), how, False


def _sent(kind: Reply) -> str:
    return json.dumps(kind.valid)


def _journalled(journal: Path, text: str) -> Any:
    """The completion as a later run reads it from the journal. Raises AssertionError where that is another."""
    answer = replies.read_completion(text, WHERE, 0.5)
    journal.unlink(missing_ok=True)
    response = Response(
        1,
        answer.text,
        answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        seconds=answer.seconds,
    )
    with JsonlWriter(journal) as writer:
        writer.write(response)
    [found] = read_responses(journal).everything()
    if found != response:
        raise AssertionError("the journal reads as another answer")
    return found


def _answer(parse: Callable[[str, str], Any]) -> Callable[[str], Any]:
    """A reader of what a model wrote, as it comes out of a server's reply."""

    def read(text: str) -> Any:
        choice = CHOICE | {"text": text, "finish_reason": REASONS[len(text) % len(REASONS)]}
        answer = replies.read_completion(json.dumps(COMPLETION | {"choices": [choice]}), WHERE, 0.5)
        return parse(answer.text, answer.finish_reason)

    return read


def _whole(items: list[ParsedItem], *, may_be_empty: bool = False) -> list[ParsedItem]:
    """The items. Raises AssertionError for one that is neither a task with its fields nor a reason, or for none."""
    if not items:
        raise AssertionError("no item, not even a broken one")
    for item in items:
        if (item.task is None) == (item.reason is None):
            raise AssertionError(f"neither a task nor a reason: {item}")
        if item.task and not (item.task.instruction.strip() and (may_be_empty or item.task.output.strip())):
            raise AssertionError(f"a task without its fields: {item}")
        if item.task:
            for rule in DEFECTS:
                rule.check(item.task)
    return items


def _follow_up(text: str, end: str) -> Any:
    kinds: tuple[Classification, ...] = ("yes", "no", "unknown")
    parsed = [_whole(parse_instances("Ask.", kind, text, end), may_be_empty=True) for kind in kinds]
    return [parse_classification(text), *parsed]


def _verdicts(text: str, end: str) -> dict[str, str]:
    return {name: judge_kind(name).read_verdict(text, end) for name in JUDGE_KINDS}
