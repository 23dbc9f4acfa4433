"""The journal `responses.jsonl`: every answer, in the order in which they came, flushed before it is used.

Next to it, `journal.json` has the settings that determined the requests, so that answers to different requests are
never mixed, and the seconds spent so far, from which time and money budgets continue.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pacos.config import Config
from pacos.errors import DataError, RunError
from pacos.files import JsonlWriter, file_sha256, write_json
from pacos.generate.presets import Preset, preset
from pacos.generate.stats import token_counts
from pacos.records import Response, read_records
from pacos.results.dataset import TokenCounts

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

    Raises RunError, and changes nothing, when its answers were requested with settings other than `settings`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / "responses.jsonl"
        self._companion = folder / "journal.json"
        self.answers = read_responses(self.path) if self.path.exists() else Responses()
        before = self._read_companion()
        if self.answers and before:
            _refuse_other_settings(before["settings"], settings, self._companion)
        self.tokens = token_counts(self.answers.everything())
        self._settings = dict(settings)
        self._seconds_before = float(before["seconds"]) if self.answers and before else 0.0
        self._started: float | None = None
        self.save_seconds()
        self._writer = JsonlWriter(self.path)

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

    def append(self, answer: Response) -> None:
        """Write an answer to the journal, then add it to `answers`."""
        self._writer.write(answer)
        self.answers.add(answer)
        self.tokens = TokenCounts(
            self.tokens.prompt + answer.prompt_tokens, self.tokens.completion + answer.completion_tokens
        )
        if time.monotonic() - self._saved > SAVE_SECONDS_EVERY:
            self.save_seconds()

    def save_seconds(self) -> None:
        """Write `journal.json` with the settings and the seconds so far."""
        write_json(self._companion, {"settings": self._settings, "seconds": round(self.seconds, 3)})
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close the journal and save its seconds."""
        self._writer.close()
        self.save_seconds()

    def _read_companion(self) -> dict[str, Any] | None:
        if not self._companion.exists():
            return None
        try:
            content = json.loads(self._companion.read_text(encoding="utf-8"))
            return {"settings": dict(content["settings"]), "seconds": float(content["seconds"])}
        except (ValueError, KeyError, TypeError, RecursionError) as broken:
            raise RunError(
                f"cannot parse: {broken}",
                where=str(self._companion),
                todo="delete it: the answers are in responses.jsonl, and each is checked against its own prompt",
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
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not changed:
        return
    changes = "; ".join(f"`{key}` was {_short(before.get(key))}, is {_short(now.get(key))}" for key in changed)
    raise RunError(
        f"the answers so far were requested with other settings: {changes}",
        where=str(where),
        todo="restore them to resume from these answers, or choose another `name`; nothing was changed",
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
