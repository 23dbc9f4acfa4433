"""Reads a server's replies. Each is checked for form and types before anything uses or journals it."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.errors import DataError, EngineError
from pacos.json_text import parse_json
from pacos.serving.completion import Completion

# No prompt, answer or context has as many tokens.
MOST_TOKENS = 2**24
LONGEST_REASON = 300
# Room in a reply for what is not the answer.
REPLY_BYTES = 2**20
# A token's text, with every character escaped in JSON, or a prompt token's log-probability.
BYTES_PER_TOKEN = 1024

OTHER_SERVER = "`engine.url` must name the /v1 of an OpenAI-compatible completions server; vLLM is one"

_REFUSALS = {
    401: "put the server's key into the environment variable {key_env}",
    403: "put the server's key into the environment variable {key_env}, or ask for access there",
    404: "`engine.url` must end where /completions begins, usually in /v1, and the server must serve the model",
    405: OTHER_SERVER,
    413: "the server, or a proxy before it, takes no request of this size: shorten the prompts, or raise its limit",
    422: "the server does not take a field that vLLM takes: serve the model with vLLM",
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """An entry of `/models`. `root` is what the server loaded, `parent` an adapter's base; "" where it does not say.

    `max_model_len` is 0 where it does not say.
    """

    id: str
    root: str = ""
    parent: str = ""
    max_model_len: int = 0

    def __str__(self) -> str:
        return f"{self.id} ({self.root})" if self.root not in ("", self.id) else self.id


def largest_reply(tokens: int) -> int:
    """The most bytes of a reply to a request whose prompt and answer have so many tokens."""
    return REPLY_BYTES + BYTES_PER_TOKEN * tokens


def read_completion(text: str, where: str, seconds: float) -> Completion:
    """The answer in a reply of `/completions`. Raises EngineError for anything else."""
    choice, usage = _choice_and_usage(text, where)
    answer, reason = choice.get("text"), choice.get("finish_reason", ...)
    if not isinstance(answer, str):
        raise _unfit(f"`text` of the answer is {_kind(answer)}, not text", where)
    if reason is not None and not isinstance(reason, str):
        raise _unfit(f"`finish_reason` is {'absent' if reason is ... else _kind(reason)}, not text", where)
    return Completion(
        text=answer,
        finish_reason=(reason or "")[:LONGEST_REASON],
        prompt_tokens=_count(usage, "prompt_tokens", where),
        completion_tokens=_count(usage, "completion_tokens", where),
        seconds=seconds,
    )


def read_prompt_logprobs(text: str, prompt_ids: Sequence[int], where: str) -> list[float]:
    """The log-probability of each prompt token after the first. Raises EngineError where the reply lacks one."""
    choice, _ = _choice_and_usage(text, where)
    entries = choice.get("prompt_logprobs")
    if not isinstance(entries, list) or len(entries) != len(prompt_ids):
        raise EngineError(
            "the server gives no log-probabilities of prompts, by which adapters are told from their base",
            where=where,
            todo="serve the model with vLLM, or merge the adapter (`pacos merge`) and evaluate that",
        )
    found = []
    for entry, token in zip(entries[1:], prompt_ids[1:], strict=True):
        value = entry.get(str(token)) if isinstance(entry, dict) else None
        logprob = value.get("logprob") if isinstance(value, dict) else None
        if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
            raise _unfit(f"`prompt_logprobs` has no number for token {token}", where)
        found.append(float(logprob))
    return found


def read_models(text: str, where: str) -> list[ServedModel]:
    """What a reply of `/models` lists: one model at least. Raises EngineError for anything else."""
    values = _object(text, where, "a list of models")
    listed = values.get("data")
    if not isinstance(listed, list):
        raise _unfit(f"`data` is {_kind(listed)}, not a list of models", where)
    if not listed:
        raise EngineError("the server serves no model", where=where, todo="start it with a model")
    return [_served(entry, where) for entry in listed]


def _served(entry: Any, where: str) -> ServedModel:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
        raise _unfit(f"a model is {_kind(entry)} without an `id` that is text", where)
    texts = {key: entry[key] for key in ("root", "parent") if isinstance(entry.get(key), str)}
    length = entry.get("max_model_len")
    if length is not None and (type(length) is not int or not 1 <= length <= MOST_TOKENS):
        raise _unfit(f"`max_model_len` of {entry['id']!r} is {_kind(length)}, not a number of tokens", where)
    return ServedModel(entry["id"], **texts, max_model_len=length or 0)


def refusal(status: int, text: str, url: str, key_env: str) -> EngineError:
    """The error of a status other than 200, with the server's own reason and what to do."""
    reason = message(text)
    todo = _REFUSALS.get(status, "").format(key_env=key_env)
    if status == 400 and "context" in reason.lower():
        todo = "lower max_tokens or shorten the prompts, or start the server with a larger --max-model-len"
    if 300 <= status < 400:
        todo = "the server redirects, which is not followed: put the address that it redirects to into `engine.url`"
    does = "refuses" if status >= 400 else "does not answer"
    return EngineError(f"the server {does} ({status}): {reason}", where=url, todo=todo or None)


def message(text: str) -> str:
    """The message of an OpenAI-style error body, or its first line; LONGEST_REASON characters at most."""
    reason = text.strip().splitlines()[0] if text.strip() else "no reason given"
    with contextlib.suppress(DataError):
        values = parse_json(text, "", repair=True)
        error = values.get("error", values) if isinstance(values, dict) else values
        found = error.get("message", error.get("detail")) if isinstance(error, dict) else error
        reason = str(found) if found else reason
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


def _choice_and_usage(text: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    values = _object(text, where, "an OpenAI completion")
    choices, usage = values.get("choices"), values.get("usage")
    if not isinstance(choices, list):
        raise _unfit(f"not an OpenAI completion: {_short(text)}", where)
    if not isinstance(usage, dict):
        raise _unfit(f"`usage` is {_kind(usage)}, not an object that counts tokens: {_short(text)}", where)
    if len(choices) != 1 or not isinstance(choices[0], dict):
        raise _unfit(f"one answer was asked for, and `choices` has {len(choices)}: {_short(text)}", where)
    return choices[0], usage


def _object(text: str, where: str, what: str) -> dict[str, Any]:
    try:
        values = parse_json(text, where, repair=True)
    except DataError as broken:
        raise _unfit(f"not {what}: {_short(text)} ({broken.what})", where) from None
    if not isinstance(values, dict):
        raise _unfit(f"not {what}: {_short(text)}", where)
    return values


def _count(usage: dict[str, Any], key: str, where: str) -> int:
    value = usage.get(key)
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise _unfit(f"`usage.{key}` is {_kind(value)}, not a number of tokens", where)
    return value


def _kind(value: Any) -> str:
    """A value as an error shows it: a number itself, of anything else the kind."""
    if value is None:
        return "null or absent"
    if isinstance(value, bool | int | float):
        return str(value)[:40] if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _short(text: str) -> str:
    return repr(text[:200]) + ("…" if len(text) > 200 else "")


def _unfit(what: str, where: str) -> EngineError:
    return EngineError(what, where=where, todo=OTHER_SERVER)
