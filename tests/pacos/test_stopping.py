"""Stopped commands: one line, nothing left running, a run that can be opened, and the same result afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pacos import cli
from pacos.config import Config
from pacos.results.manifest import read_manifest
from pacos.runs import Run
from tests.support.generated_run import derived, experiment, generate
from tests.support.killed_run import ROOT
from tests.support.scripted_server import ScriptedServer
from tests.support.stopped_command import StoppedCommand


def words(config: Config, folder: Path) -> list[str]:
    file = folder / f"{config.name}.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return ["generate", "--config", str(file)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_generation_says_one_line_and_goes_on_to_the_same_dataset(
    number: signal.Signals, tmp_path: Path, tiny_base: Path, seeds: Path
) -> None:
    with ScriptedServer(delay=lambda prompt: 0.03) as server:
        whole = generate(experiment(tmp_path, tiny_base, server.url, seeds, name="whole"))
        asked = len(server.asked)
        config = experiment(tmp_path, tiny_base, server.url, seeds, name="stopped")
        with StoppedCommand(words(config, tmp_path), tmp_path / "log") as command:
            assert not command.stop(number, lambda: len(server.asked) >= asked + 6)
            assert command.process.returncode == 128 + number
        said = [line for line in command.said().splitlines() if not line.startswith(("pacos: generate", "generate"))]
        assert said[-1] == "pacos: stopped; rerun the same command to resume" and "Traceback" not in command.said()
        assert read_manifest(config.run_dir).stages["generate"].status == "failed"
        assert generate(config) == whole


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(delay=lambda prompt: 0.03) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=8)
        command = [sys.executable, "-m", "pacos.cli", *words(config, tmp_path)]
        hung_up = subprocess.Popen(["nohup", *command], cwd=ROOT, stderr=subprocess.DEVNULL)
        server.on_arrival = lambda arrival: os.kill(hung_up.pid, signal.SIGHUP) if arrival == 2 else None
        assert hung_up.wait(120) == 0
    assert derived(config)


def test_who_holds_the_run_is_named(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", None)
    program = (
        "import sys, time; from pathlib import Path; from pacos.config import load_config; from pacos.runs import Run\n"
        "with Run.open(load_config(Path(sys.argv[1]))): print('open', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", program, words(config, tmp_path)[-1]]
    holder = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    second = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"another pacos process is working in this run (process {holder.pid})" in second.stderr
    holder.kill()
    holder.wait()
    with Run.open(config):
        pass


def test_the_lock_is_not_written_through_a_link(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", None)
    with Run.open(config):
        pass
    target = tmp_path / "thesis.tex"
    target.write_text("mine", encoding="utf-8")
    (config.run_dir / ".lock").unlink()
    (config.run_dir / ".lock").symlink_to(target)
    with pytest.raises(Exception, match=r"\.lock: cannot write"):
        Run.open(config)
    assert target.read_text(encoding="utf-8") == "mine"


def test_handlers_of_signals_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setattr(sys, "argv", ["pacos", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_an_interrupt_that_a_finalizer_loses_is_raised_again() -> None:
    program = """
import signal, time
from pacos.cli.stopping import stopped_by_signals

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

with stopped_by_signals() as received:
    try:
        Finalized()
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopped by", received[0].name)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (ended.stdout, ended.stderr) == ("stopped by SIGTERM\n", "")


def test_an_interrupt_that_leaves_an_exec_ends_in_the_exit_code_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "from pacos import cli\n"
        "import pacos.cli.commands, pacos.serving.guard, pacos.terminal\n"
        "pacos.terminal.complain('loads what it needs')\n"
        "pacos.cli.commands.app = lambda: exec('raise KeyboardInterrupt')\n"
        "cli.main()\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 130
