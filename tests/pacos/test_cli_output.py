"""What scripts rely on: one JSON document on stdout, exit codes, no colours with NO_COLOR, completion."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from pacos import cli
from pacos.config import Config, ModelConfig
from pacos.runs import Run
from tests.support.evaluation_folder import write_evaluation

PACOS = "import sys; sys.argv[0] = 'pacos'; from pacos.cli import main; main()"


def pacos(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PACOS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["pacos", *map(str, arguments)])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return ending.value.code or 0


@pytest.fixture
def experiment(tmp_path: Path, tiny_base: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"name: planned\nruns_dir: {tmp_path}/runs\nmodel: {{base: {tiny_base}}}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("stage", "planned"), [("run", ["generate", "train", "evaluate"]), ("generate", ["generate"])])
def test_a_plan_as_json_is_all_that_stdout_gets(
    stage: str,
    planned: list[str],
    experiment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert called(monkeypatch, stage, "--config", experiment, "--dry-run", "--json", "seed=7") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["plan"]) == planned
    assert all(document["plan"].values())
    assert document["config"]["seed"] == 7
    assert document["run_dir"] == f"{experiment.parent}/runs/planned"


def test_a_training_plan_as_json_is_all_that_stdout_gets(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say \\u007f", "input": "", "output": "hi"}\n' * 4, encoding="utf-8")
    arguments = ("train", "--config", experiment, "--dry-run", "--json", f"train.data=[{{path: {rows}}}]")
    assert called(monkeypatch, *arguments) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]["train"]
    assert any("4 examples" in line for line in plan)


@pytest.mark.parametrize("stage", ["run", "generate", "train", "evaluate"])
def test_json_is_for_plans(
    stage: str, experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, stage, "--config", experiment, "--json") == 2
    said = capsys.readouterr()
    assert said.out == "" and "--json: is for plans" in said.err


def test_a_comparison_as_json_is_all_that_stdout_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"base\x7f\x1b[2J": "no", "tuned": "yes"}
    folders = [
        write_evaluation(tmp_path / str(n), name, {"task1": [(text, "yes")]})
        for n, (name, text) in enumerate(answers.items())
    ]
    assert called(monkeypatch, "compare", *folders, "--out", tmp_path, "--json") == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert document["comparison"]["base"]["name"] == "base\x7f\x1b[2J"
    assert document["comparison"]["contestants"][0]["rougeL"] == 100
    assert Path(document["report"]).is_file()
    assert out.replace("\n", "").isprintable()


def test_exit_code_0_is_for_what_went_well() -> None:
    ended = pacos("config", "train.lora.r")
    assert ended.returncode == 0 and "train.lora.r" in ended.stdout and ended.stderr == ""


def test_exit_code_2_is_for_what_the_user_can_fix() -> None:
    for arguments in (["report", "/none"], ["no-such-command"], ["report", "--no-such-option"]):
        ended = pacos(*arguments)
        assert ended.returncode == 2 and ended.stdout == "" and ended.stderr, arguments


def test_exit_code_1_is_for_a_fault_of_pacos(tmp_path: Path) -> None:
    fault = (
        "import sys; import pacos.report.render as r; r.render = lambda _: 1 / 0; sys.argv = ['pacos', 'report', 'x']; "
    )
    command = [sys.executable, "-c", fault + "from pacos.cli import main; main()"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 1 and "ZeroDivisionError" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_128_and_its_number(number: signal.Signals, tmp_path: Path) -> None:
    """The command sends it to itself where it would write its report."""
    program = (
        "import os, sys, time; import pacos.report.render as r; "
        f"r.render = lambda _: (os.kill(os.getpid(), {int(number)}), time.sleep(60)); "
        "sys.argv = ['pacos', 'report', 'x']; from pacos.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 128 + number
    assert "rerun the same command to resume" in ended.stderr


def at_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x28\x00\x64\x00\x00\x00\x00\x00")
    command = [sys.executable, "-c", PACOS, *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    ended = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=kept | {"TERM": "xterm-256color"} | environment)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65_536):
            written += block
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert ended.wait(60) in (0, 2)
    return written.decode()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["config", "train.lora"], ["report", "--nothing"]]
)
def test_nothing_is_coloured_where_no_color_is_set(arguments: list[str]) -> None:
    # Parameters 30 to 49 and 90 to 107 of CSI … m are colours; bold and dim are none.
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:[34]\d|9[0-7]|10[0-7])(?:;\d+)*m")
    assert not colour.search(at_a_terminal(*arguments, NO_COLOR="1"))
    if "--help" in arguments:
        assert colour.search(at_a_terminal(*arguments)), "the same is coloured without it"


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete -o default -F _pacos_completion pacos"), ("zsh", "compdef _pacos_completion pacos")],
)
def test_completion_scripts_are_printed(shell: str, line: str) -> None:
    shown = pacos("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode == 0 and line in shown.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=shown.stdout, text=True, check=False).returncode == 0


def test_commands_are_completed() -> None:
    found = pacos(_PACOS_COMPLETE="complete_bash", COMP_WORDS="pacos eval", COMP_CWORD="1")
    assert found.stdout.split() == ["evaluate"]


def test_the_report_is_opened_in_the_browser(tmp_path: Path) -> None:
    config = Config(name="shown", runs_dir=str(tmp_path), model=ModelConfig(base="llama"))
    with Run.open(config):
        pass
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n', encoding="utf-8")
    browser.chmod(0o755)
    assert pacos("report", config.run_dir, "--open", BROWSER=f"{browser} %s").returncode == 0
    assert opened.read_text().strip() == (config.run_dir / "report.html").as_uri()
    none = pacos("report", config.run_dir, "--open", BROWSER="/none %s")
    assert none.returncode == 2 and "open" in none.stderr
