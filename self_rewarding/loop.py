"""`pacos loop`: Self-Rewarding Language Models, round after round, each step a command in a process of its own.

Commands that use the same base share one server, which is stopped before the GPU is needed for training. Completed
steps are recorded in `loop.json`; a killed loop resumes there, and the step that was running resumes where it was.
"""

import json
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

from pacos.config import Config, resolved_yaml, section_sha256
from pacos.errors import RunError
from pacos.files import write_text
from pacos.models import model_sha256
from pacos.results import read_result, write_result
from pacos.results.manifest import describe_files
from pacos.results.rounds import StepRecord
from pacos.runs import Run, locked
from pacos.self_rewarding.rounds import measured_rounds, raise_alarm
from pacos.self_rewarding.steps import LoopStep, Served, all_steps, input_files
from pacos.serving import guarded
from pacos.serving.connect import LENT_ENGINE, serves_merged
from pacos.serving.cpu import Workload
from pacos.serving.engine import RESTARTS
from pacos.serving.server import ManagedServer

log = logging.getLogger("pacos")


def main(config: Config) -> None:
    """Run the steps that are not done yet; `rounds.json` in the run directory has the figures.

    Raises RunError where a step fails, where another process works on this loop, and where the loop has gone wrong
    (`loop.stops`); ConfigError as `all_steps`.
    """
    steps = all_steps(config)
    with Run.open(config) as run:  # creates the folder, or refuses another run's; the commands open it again
        run.keep_config()
    with locked(config.run_dir / ".loop", "another loop is working in this run"), SharedServer(config) as server:
        base_sha256 = model_sha256(config.student, config.model)
        done = CompletedSteps(config.run_dir / "loop.json", input_files(config), base_sha256)
        for number, step in enumerate(steps, 1):
            if done.includes(step):
                continue
            if step.words[0] in ("generate", "train"):  # the expensive part of a round
                raise_alarm(config)
            log.info("loop: step %d of %d: %s", number, len(steps), step.name)
            began = time.monotonic()
            run_step(config.run_dir, step, server)
            done.add(step, round(time.monotonic() - began, 1))
            write_result(config.run_dir / "rounds.json", measured_rounds(config))
    raise_alarm(config)


def plan(config: Config) -> list[str]:
    """Return the commands in order, for --dry-run."""
    return [f"{step.name}: pacos {shlex.join(step.words)}" for step in all_steps(config)]


class CompletedSteps:
    """`loop.json`: the steps that succeeded. A step is identified by its command and configuration, by those before
    it, by the content of the files that the loop starts from, and by the weights of its base (`base_sha256`, "" where
    they are not on this machine)."""

    def __init__(self, path: Path, files: Sequence[Path], base_sha256: str = "") -> None:
        self._path = path
        self._base_sha256 = base_sha256
        self._steps = read_result(path, dict[str, StepRecord], todo="delete it") if path.is_file() else {}
        self._chain = section_sha256([asdict(file) for file in describe_files(files)])

    def includes(self, step: LoopStep) -> bool:
        """Return whether the step is done. Steps must be passed in their order."""
        self._chain = section_sha256(self._chain, list(step.words), step.config)
        done = self._steps.get(step.name)
        if done is None or done.sha256 != self._chain:
            return False
        # Earlier versions did not record the base: it is assumed to be the same.
        if done.base_sha256 and self._base_sha256 and done.base_sha256 != self._base_sha256:
            log.warning("loop: %s is done again: the weights of the base changed under its name or path", step.name)
            return False
        return True

    def add(self, step: LoopStep, seconds: float) -> None:
        """Record the step that was last passed to `includes`."""
        self._steps[step.name] = StepRecord(self._chain, seconds, self._base_sha256)
        write_result(self._path, self._steps)


class SharedServer:
    """One model server at a time, lent to the commands that use its model."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: ManagedServer | None = None
        self._serves = Served()

    def environment(self, step: LoopStep) -> dict[str, str]:
        """Start or stop the server as the step needs, and return the environment that tells its command about it."""
        wanted = Served() if self._config.engine.url else self._wanted(step)
        if wanted != self._serves or self.has_died:
            self.stop()
            if wanted.model:
                self._start(wanted)
        if self._running is None:
            return {}
        return {LENT_ENGINE: json.dumps({"model": wanted.model, "url": self._running.url, "key": self._running.key})}

    def _wanted(self, step: LoopStep) -> Served:
        """What the step is lent. A merged copy is served by the command that uses it."""
        if not serves_merged(self._config):
            return step.served
        return Served(step.served.model) if step.words[0] == "generate" else Served()

    @property
    def has_died(self) -> bool:
        """Whether the server ended by itself."""
        return self._running is not None and not self._running.is_alive

    def _start(self, served: Served) -> None:
        config = self._config
        longest = max(config.generate.sampling.max_tokens, config.answers.max_tokens, config.evaluate.judge.max_tokens)
        workload = Workload(answer_tokens=longest)
        server = ManagedServer.of(config, config.run_dir, served.model, served.adapters, workload=workload)
        server.start()
        self._running, self._serves = server, served

    def stop(self) -> None:
        """Stop the server, if one is running."""
        if self._running:
            self._running.stop()
        self._running, self._serves = None, Served()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run_step(home: Path, step: LoopStep, server: SharedServer) -> None:
    """Run a step's command. Raises RunError where it fails; where its server died, both are started again first."""
    command = [sys.executable, "-m", "pacos.cli", *step.words]
    if step.config:
        file = home / "steps" / f"{step.name.replace('/', '-')}.yaml"
        write_text(file, resolved_yaml(step.config))
        command += ["--config", str(file)]
    for attempt in range(RESTARTS + 1):
        # Guarded: an orphaned step would hold its run, and the GPU.
        code = guarded.run(home / guarded.STEP_RECORD, command, server.environment(step))
        if code == 0:
            return
        if not server.has_died or attempt == RESTARTS:
            break
        log.warning("loop: the server died; starting it again (%d of %d)", attempt + 1, RESTARTS)
    raise RunError(
        f"`pacos {shlex.join(step.words)}` failed with exit code {code}; its own message is above",
        where=str(home / step.name),
        todo="fix the error and rerun; the loop resumes with this step",
    )
