"""`pacos loop`: Self-Rewarding Language Models, round after round, each step a command in a process of its own.

Commands that ask the same base share one server, which is stopped before the GPU goes to training. What ended well is
noted in `loop.json`; a loop that was killed goes on there, and the step that was under way goes on where it was.
"""

import contextlib
import fcntl
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pacos.config import Config, resolved_yaml, section_sha256
from pacos.errors import RunError
from pacos.records import write_json, write_text
from pacos.runs import Run, describe_files
from pacos.self_rewarding.rounds import gather, raise_alarm, write_rounds
from pacos.self_rewarding.steps import Step, all_steps, learnt_files
from pacos.serving import guard
from pacos.serving.cpu import Workload
from pacos.serving.engine import LENT_ENGINE, RESTARTS, serves_merged
from pacos.serving.server import ManagedServer

log = logging.getLogger("pacos")


def main(config: Config) -> None:
    """Do what is left of all rounds; `rounds.json` in the run directory holds the figures.

    Raises RunError where a step failed, where another process is at it, and where the loop has gone wrong
    (`loop.stops`); ConfigError as `all_steps` does.
    """
    steps = all_steps(config)
    with Run.open(config):  # makes the folder, or refuses one that is another run's; the commands open it again
        pass
    with _alone(config.run_dir), Server(config) as server:
        done = Done(config.run_dir / "loop.json", learnt_files(config))
        for number, step in enumerate(steps, 1):
            if done.knows(step):
                continue
            if step.words[0] in ("generate", "train"):  # a round's costs begin
                raise_alarm(config)
            log.info("loop: step %d of %d: %s", number, len(steps), step.name)
            began = time.monotonic()
            run_step(config.run_dir, step, server)
            done.add(step, round(time.monotonic() - began, 1))
            write_rounds(config.run_dir, gather(config))
    raise_alarm(config)


def plan(config: Config) -> list[str]:
    """The commands in order, for --dry-run."""
    return [f"{step.name}: pacos {shlex.join(step.words)}" for step in all_steps(config)]


class Done:
    """The steps that ended well. A step is known by its command and configuration, by those before it, and by the
    content of the files that the loop began with."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self._path = path
        self._steps: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self._chain = section_sha256(describe_files(files))

    def knows(self, step: Step) -> bool:
        self._chain = section_sha256(self._chain, list(step.words), step.config)
        return self._steps.get(step.name, {}).get("sha256") == self._chain

    def add(self, step: Step, seconds: float) -> None:
        """The step that was asked about last."""
        self._steps[step.name] = {"sha256": self._chain, "seconds": seconds}
        write_json(self._path, self._steps)


class Server:
    """One model server at a time, lent to the commands that ask its model."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: ManagedServer | None = None
        self._serves: tuple[str, tuple[Path, ...]] = ("", ())

    def environment(self, step: Step) -> dict[str, str]:
        """What a command must know of the server that is up for it, starting and stopping it as need be."""
        wanted = ("", ()) if self._config.engine.url else self._wanted(step)
        if wanted != self._serves or self.has_died:
            self.stop()
            if wanted[0]:
                self._start(*wanted)
        if self._running is None:
            return {}
        return {LENT_ENGINE: json.dumps({"model": wanted[0], "url": self._running.url, "key": self._running.key})}

    def _wanted(self, step: Step) -> tuple[str, tuple[Path, ...]]:
        """(model, adapters) of the server to lend. A merged copy is served by the command that asks it."""
        if not serves_merged(self._config):
            return step.engine, step.adapters
        return (step.engine if step.words[0] == "generate" else ""), ()

    @property
    def has_died(self) -> bool:
        return self._running is not None and not self._running.is_alive

    def _start(self, model: str, adapters: tuple[Path, ...]) -> None:
        config = self._config
        longest = max(config.generate.sampling.max_tokens, config.answers.max_tokens, config.evaluate.judge.max_tokens)
        workload = Workload(answer_tokens=longest)
        server = ManagedServer(config, config.run_dir, model, adapters, workload=workload)
        server.start()
        self._running, self._serves = server, (model, adapters)

    def stop(self) -> None:
        if self._running:
            self._running.stop()
        self._running, self._serves = None, ("", ())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run_step(home: Path, step: Step, server: Server) -> None:
    """Raises RunError for a command that fails, except where its server died under it: then both start again."""
    command = [sys.executable, "-m", "pacos.cli", *step.words]
    if step.config:
        file = home / "steps" / f"{step.name.replace('/', '-')}.yaml"
        write_text(file, resolved_yaml(step.config))
        command += ["--config", str(file)]
    for attempt in range(RESTARTS + 1):
        code = _run_guarded(command, home / "step.json", server.environment(step))
        if code == 0:
            return
        if not server.has_died or attempt == RESTARTS:
            break
        log.warning("loop: the server died; starting it again (%d of %d)", attempt + 1, RESTARTS)
    raise RunError(
        f"`pacos {shlex.join(step.words)}` ended with exit code {code}; what went wrong is said above",
        where=str(home / step.name),
        todo="mend it and run the same command again: it goes on with this step",
    )


def _run_guarded(command: Sequence[str], record: Path, environment: dict[str, str]) -> int:
    """Run a command that cannot outlive this process: a half-dead step would hold its run, and the GPU."""
    if reaped := guard.reap(record):
        log.warning("stopped %d process(es) that an earlier loop had left behind", reaped)
    process = subprocess.Popen(
        [sys.executable, guard.__file__, str(record), *command],
        stdin=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        return process.wait()
    finally:
        process.stdin.close()
        process.wait()
        record.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    lock = os.open(home / ".loop", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError("another loop is working in this run", where=str(home), todo="wait for it or stop it") from None
    finally:
        os.close(lock)
