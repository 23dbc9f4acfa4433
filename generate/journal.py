"""The journal `responses.jsonl`: every answer that came, in the order of coming, flushed before it counts.

Beside it `journal.json` keeps the settings that decided the requests, so that answers are never mixed with
those to other questions, and the seconds spent so far, which money and time budgets go on from.
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
from pacos.generate.prompting import alpaca as prompts
from pacos.generate.prompting.classify import classify_prompt
from pacos.generate.prompting.instances import instances_prompt
from pacos.generate.prompting.instructions import instructions_prompt
from pacos.records import JsonlWriter, Response, read_records, write_json
from pacos.runs import file_sha256

SAVE_SECONDS_EVERY = 10.0
DETAIL_PHASES = ("classify", "instances")


class Answers(dict[int, Response]):
    """Answers to the requests for lists, by number; `details` are those about one instruction, by (phase, key)."""

    def __init__(self) -> None:
        super().__init__()
        self.details: dict[tuple[str, str], Response] = {}

    def add(self, answer: Response) -> None:
        """Of two answers to a request the first counts."""
        if answer.phase in DETAIL_PHASES:
            self.details.setdefault((answer.phase, answer.key), answer)
        else:
            self.setdefault(answer.request, answer)

    def everything(self) -> Iterator[Response]:
        yield from self.values()
        yield from self.details.values()


class Journal:
    """Opened for one run; `answers` are those of earlier sessions and of this one, by request.

    Raises RunError when its answers were asked for with other settings than `settings`; nothing is changed then.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / "responses.jsonl"
        self._companion = folder / "journal.json"
        self.answers = read_responses(self.path) if self.path.exists() else Answers()
        before = self._read_companion()
        if self.answers and before:
            _refuse_other_settings(before["settings"], settings, self._companion)
        self.prompt_tokens = sum(answer.prompt_tokens for answer in self.answers.everything())
        self.completion_tokens = sum(answer.completion_tokens for answer in self.answers.everything())
        self._settings = dict(settings)
        self._seconds_before = float(before["seconds"]) if self.answers and before else 0.0
        self._began: float | None = None
        self.save_seconds()
        self._writer = JsonlWriter(self.path)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds with the engine up, over all sessions."""
        return self._seconds_before + (time.monotonic() - self._began if self._began is not None else 0.0)

    @property
    def count(self) -> int:
        return len(self.answers) + len(self.answers.details)

    def start_clock(self) -> None:
        self._began = time.monotonic()

    def append(self, answer: Response) -> None:
        self._writer.write(answer)
        self.answers.add(answer)
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        if time.monotonic() - self._saved > SAVE_SECONDS_EVERY:
            self.save_seconds()

    def save_seconds(self) -> None:
        write_json(self._companion, {"settings": self._settings, "seconds": round(self.seconds, 3)})
        self._saved = time.monotonic()

    def close(self) -> None:
        self._writer.close()
        self.save_seconds()

    def _read_companion(self) -> dict[str, Any] | None:
        if not self._companion.exists():
            return None
        try:
            content = json.loads(self._companion.read_text(encoding="utf-8"))
            return {"settings": dict(content["settings"]), "seconds": float(content["seconds"])}
        except (ValueError, KeyError, TypeError) as broken:
            raise RunError(
                f"does not read: {broken}",
                where=str(self._companion),
                todo="delete it: the answers lie in responses.jsonl, and each is checked against its own prompt",
            ) from None


def request_settings(config: Config, seeds: Path) -> dict[str, Any]:
    """What decides the requests. Target and budgets do not, and filters only where prompts show accepted tasks."""
    generate = config.generate
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
        "sha256 of pacos's own prompt text": _prompts_sha256(generate.preset),
    }
    if generate.machine_per_request:
        settings |= {"generate.window": generate.window, "generate.known": generate.known} | _flat(
            "generate.filters", generate.filters
        )
    if generate.preset == "self-instruct":
        settings |= _flat("generate.classify", generate.classify) | _flat("generate.instances", generate.instances)
    return settings


def _flat(name: str, section: BaseModel) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in section.model_dump(mode="json").items()}


def _prompts_sha256(preset: str) -> str:
    texts = [prompts.list_prompt([], 1)]
    if preset == "self-instruct":
        texts = [instructions_prompt([]), classify_prompt(""), instances_prompt("", "yes"), instances_prompt("", "no")]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def read_responses(path: Path) -> Answers:
    """A journal's answers; a torn last line is left out.

    Lines need only `request`, `text` and `finish_reason`. Raises DataError with the file and what is wrong there.
    """
    answers = Answers()
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
        f"the answers so far were asked for with other settings: {changes}",
        where=str(where),
        todo="put them back to go on with these answers, or choose another `name`; nothing was changed",
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
