"""The journal `responses.jsonl`: every answer, in the order in which they came, on the disk before it is used.

Next to it, `journal.json` has the settings that determined the requests and what answered them, so that answers to
different requests or by different models are never mixed, and the seconds spent so far, from which time and money
budgets continue.
"""

import hashlib
import json
import time
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pacos.config import Config
from pacos.durable import DurableJournal
from pacos.errors import DataError, RunError
from pacos.files import file_sha256, write_json
from pacos.generate.presets import Preset, preset
from pacos.generate.stats import token_counts
from pacos.records import Response, read_records
from pacos.results.dataset import TokenCounts

JOURNAL, COMPANION = "responses.jsonl", "journal.json"
SAVE_SECONDS_EVERY = 10.0
FOLLOW_UP_PHASES = ("classify", "instances")


class Responses(dict[int, Response]):
    """Answers to list requests, by number; `follow_ups` are those about one instruction, by (phase, key)."""

    def __init__(self) -> None:
        super().__init__()
        self.follow_ups: dict[tuple[str, str], Response] = {}

    def add(self, answer: Response) -> None:
        """Add an answer, unless there is one to the same request."""
        if answer.phase in FOLLOW_UP_PHASES:
            self.follow_ups.setdefault((answer.phase, answer.key), answer)
        else:
            self.setdefault(answer.request, answer)

    def everything(self) -> Iterator[Response]:
        """All answers: to lists, then to follow-ups."""
        yield from self.values()
        yield from self.follow_ups.values()


class Journal:
    """The answers of one run, from earlier sessions and this one, and what they took.

    `source` says what answers, as far as it is known: a key that is known now and was known before must be the same.
    `shard` are values that `journal.json` is to have besides, of a journal of a part of the requests.
    Raises RunError, and changes nothing, when its answers were requested with other settings, or are another model's.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        source: Mapping[str, str] | None = None,
        shard: Mapping[str, int] | None = None,
    ) -> None:
        self.path = folder / JOURNAL
        self._companion = folder / COMPANION
        self.answers = read_responses(self.path) if self.path.exists() else Responses()
        before = read_companion(self._companion)
        if self.answers and before:
            _refuse_other_settings(before["settings"], settings, self._companion)
            refuse_other_source(before["source"], source or {}, self._companion)
        self.tokens = token_counts(self.answers.everything())
        self._settings, self._shard = dict(settings), dict(shard or {})
        self._source = {**(before["source"] if self.answers and before else {}), **(source or {})}
        self._seconds_before = float(before["seconds"]) if self.answers and before else 0.0
        self._started: float | None = None
        self._closed = False
        self.save_seconds()
        self._writer = DurableJournal(self.path)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds with the engine up, over all sessions."""
        return self._seconds_before + (time.monotonic() - self._started if self._started is not None else 0.0)

    @property
    def count(self) -> int:
        """Number of answers."""
        return len(self.answers) + len(self.answers.follow_ups)

    def start_clock(self) -> None:
        """Count seconds from now on."""
        self._started = time.monotonic()

    def answered_by(self, source: Mapping[str, str]) -> None:
        """Note what answers from now on. Raises RunError where the answers so far are another model's."""
        refuse_other_source(self._source, source, self._companion)
        self._source |= source
        self.save_seconds()

    def append(self, answer: Response) -> Coroutine[Any, Any, None]:
        """Write an answer to the journal now; what is returned adds it to `answers` once it is on the disk."""
        return self._add(answer, self._writer.append(answer))

    async def _add(self, answer: Response, on_disk: Coroutine[Any, Any, None]) -> None:
        await on_disk
        self.answers.add(answer)
        self.tokens = TokenCounts(
            self.tokens.prompt + answer.prompt_tokens, self.tokens.completion + answer.completion_tokens
        )
        if time.monotonic() - self._saved > SAVE_SECONDS_EVERY:
            self.save_seconds()

    def save_seconds(self) -> None:
        """Write `journal.json` with the settings, the source and the seconds so far."""
        values = {"settings": self._settings, "source": self._source, "seconds": round(self.seconds, 3)}
        if self._shard:
            values["shard"] = self._shard
        write_json(self._companion, values)
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close the journal and save its seconds; once, as the file is among a finished stage's outputs."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self.save_seconds()


def read_companion(path: Path) -> dict[str, Any] | None:
    """Settings, source, seconds and shard from `journal.json`, or None without one. Raises RunError for a broken one.

    `shard` is empty for the journal of a whole run.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        source = {str(key): str(value) for key, value in content.get("source", {}).items()}
        seconds = float(content["seconds"])
        if not 0 <= seconds < float("inf"):
            raise ValueError("`seconds` is no time")
        shard = {str(key): int(value) for key, value in content.get("shard", {}).items()}
        return {"settings": dict(content["settings"]), "source": source, "seconds": seconds, "shard": shard}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise RunError(
            f"cannot parse: {broken}",
            where=str(path),
            todo=f"delete it: the answers are in {JOURNAL}, and each is checked against its own prompt",
        ) from None


def request_settings(config: Config, seeds: Path) -> dict[str, Any]:
    """The settings that determine the requests.

    Target and budgets do not, and filters do only where prompts show accepted tasks.
    """
    generate, chosen = config.generate, preset(config.generate.preset)
    settings = {
        "seed": config.seed,
        "engine.model": config.teacher,
        "model.revision": config.model.revision,
        "model.chat": config.model.chat,
        "generate.preset": generate.preset,
        "generate.tasks_per_request": generate.tasks_per_request,
        "generate.seeds_per_request": generate.seeds_per_request,
        "generate.machine_per_request": generate.machine_per_request,
        **_flat("generate.sampling", generate.sampling),
        "sha256 of the seed tasks": file_sha256(seeds),
        "sha256 of pacos's own prompt text": _prompts_sha256(chosen),
    }
    if generate.forbid_eos:
        settings["generate.forbid_eos"] = True
    if config.engine.deterministic:
        settings["engine.deterministic"] = True
    if generate.machine_per_request:
        settings |= {"generate.window": generate.window, "generate.known": generate.known} | _flat(
            "generate.filters", generate.filters
        )
    if chosen.follow_ups:
        settings |= _flat("generate.classify", generate.classify) | _flat("generate.instances", generate.instances)
    return settings


def _flat(name: str, section: BaseModel) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in section.model_dump(mode="json").items()}


def _prompts_sha256(chosen: Preset) -> str:
    follow_ups = [follow_up.prompt("") for follow_up in chosen.follow_ups]
    texts = [chosen.lists.prompt([], 1), *follow_ups]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def read_responses(path: Path) -> Responses:
    """The answers in a journal, without an unfinished last line.

    Lines need only `request`, `text` and `finish_reason`. Raises DataError with the file and what is wrong in it.
    """
    answers = Responses()
    for answer in read_records(path, Response, torn_tail=True):
        if not isinstance(answer.request, int) or not isinstance(answer.text, str):
            raise DataError(
                f"`request` must be a number and `text` text, not {answer.request!r} and {type(answer.text).__name__}",
                where=str(path),
            )
        answers.add(answer)
    return answers


def _refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    if not (changes := changed_settings(before, now)):
        return
    raise RunError(
        f"the answers so far were requested with other settings: {changes}",
        where=str(where),
        todo="restore them to resume from these answers, or choose another `name`; nothing was changed",
    )


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between the settings of two journals, as an error tells it; "" if nothing does."""
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"`{key}` was {_short(before.get(key))}, is {_short(now.get(key))}" for key in changed)


def refuse_other_source(before: Mapping[str, str], now: Mapping[str, str], where: Path) -> None:
    """Raise RunError where what answers now is known to be another model than what answered before."""
    changed = [key for key in now if before.get(key, now[key]) != now[key]]
    if not changed:
        return
    changes = "; ".join(f"{key} was {_short(before[key])}, is {_short(now[key])}" for key in changed)
    raise RunError(
        f"the answers so far are another model's, and the two would be mixed: {changes}",
        where=str(where),
        todo="restore that model to resume from these answers, or choose another `name`; nothing was changed",
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
