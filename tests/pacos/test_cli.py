"""Bad input at the command line: one clear message, exit code 2, no traceback, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pacos import cli

ROOT = Path(__file__).resolve().parents[2]

TASK = {
    "Definition": ["Say yes."],
    "Categories": ["Title Generation"],
    "Instances": [{"id": "1", "input": "x", "output": ["yes"]}],
}


@pytest.fixture
def config(tmp_path: Path, tiny_base: Path) -> Path:
    """An experiment that is in order: tiny base, own seeds, a suite of one instance."""
    suite = tmp_path / "suite"
    (suite / "tasks").mkdir(parents=True)
    (suite / "splits" / "default").mkdir(parents=True)
    (suite / "tasks" / "task1_x.json").write_text(json.dumps(TASK), encoding="utf-8")
    (suite / "splits" / "default" / "test_tasks.txt").write_text("task1_x\n", encoding="utf-8")
    path = tmp_path / "experiment.yaml"
    path.write_text(
        f"name: bad-input\nruns_dir: {tmp_path}/runs\nmodel: {{base: {tiny_base}}}\n"
        f"evaluate: {{suites: [{{name: own, path: {suite}}}]}}\n",
        encoding="utf-8",
    )
    return path


def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says on stderr when it ends with 2."""
    monkeypatch.setattr(sys, "argv", ["pacos", *map(str, arguments)])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    message = capsys.readouterr().err
    assert ending.value.code == 2, message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--config", "CONFIG", "generate.seeds=/none.jsonl"], "/none.jsonl: no such file"),
        (["generate", "--config", "CONFIG", "train.lora.rank=8"], "unknown key `train.lora.rank`"),
        (["generate", "--config", "CONFIG", "model.base=./nowhere"], "./nowhere: no such model folder"),
        (["generate", "--config", "CONFIG", "engine.url=http://127.0.0.1:9/v1"], "no server answers"),
        (["train", "--config", "CONFIG"], "this run has no dataset yet"),
        (["train", "--config", "CONFIG", "train.data=[{path: CONFIG}]"], "not JSON"),
        (["evaluate", "--config", "CONFIG", "evaluate.suites=[{name: a, path: /none}]"], "/none: no such folder"),
        (["evaluate", "--config", "CONFIG", "evaluate.suites=[]"], "nothing to evaluate on"),
        (["evaluate", "--config", "CONFIG", "--adapter", "mine=/none"], "no adapter_config.json"),
        (["evaluate", "--config", "CONFIG", "--adapter", "mine"], "is not NAME=PATH"),
        (["run", "--config", "CONFIG", "evaluate.suites=[{name: a, path: /none}]"], "/none: no such folder"),
        (["filter", "/none.json", "--out", "OUT"], "/none.json: no such file"),
        (["curate", "/none.jsonl", "--out", "OUT"], "/none.jsonl: no such file"),
        (["score", "/none.jsonl"], "/none.jsonl: no such file"),
        (["report", "/none"], "/none"),
        (["compare", "/none"], "two evaluations"),
        (["judge", "--kind", "rubric", "--config", "CONFIG"], "no model has been evaluated in this run"),
        (["judge", "--kind", "rubric", "--config", "CONFIG", "--answers", "/none.jsonl"], "/none.jsonl: no such file"),
        (["agreement", "/none", "/none"], "/none: no such file"),
        (["contamination", "/none.jsonl", "--suite", "/none"], "/none: no such folder"),
        (["winrate", "/none.json"], "/none.json: no such file"),
        (["ranked", "/none.jsonl", "--out", "OUT"], "/none.jsonl: no such file"),
        (["judging", "/none.jsonl", "/none.jsonl", "--out", "OUT"], "/none.jsonl: no such file"),
    ],
)
def test_bad_input_is_one_clear_message(
    arguments: list[str],
    said: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [word.replace("CONFIG", str(config)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    assert said in complaint(monkeypatch, capsys, *filled)


def test_a_malformed_seed_is_named_by_its_line(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"id": "a", "instruction": "Say hi.", "instances": []}\n', encoding="utf-8")
    message = complaint(monkeypatch, capsys, "generate", "--config", config, f"generate.seeds={seeds}")
    assert f"{seeds}:1: `instances`" in message


def test_a_suite_without_splits_says_which_file_is_missing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suite" / "splits" / "default" / "test_tasks.txt").unlink()
    assert "splits/default/test_tasks.txt" in complaint(monkeypatch, capsys, "evaluate", "--config", config)


def test_an_empty_dataset_is_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    message = complaint(
        monkeypatch, capsys, "train", "--config", config, f"train.data=[{{path: {empty}}}]", "--dry-run"
    )
    assert "holds no tasks" in message


def test_an_output_folder_of_another_run_is_left_alone(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "runs" / "bad-input"
    foreign.mkdir(parents=True)
    (foreign / "thesis.tex").write_text("mine", encoding="utf-8")
    assert "not a pacos run" in complaint(monkeypatch, capsys, "generate", "--config", config)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_a_dry_run_prints_the_plan_of_every_stage_and_leaves_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pacos", "run", "--config", str(config), "--dry-run"])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    printed = capsys.readouterr().out
    assert ending.value.code == 0
    assert all(f"{stage}:\n" in printed for stage in ("generate", "train", "evaluate"))
    assert not (tmp_path / "runs").exists()


def test_a_bug_keeps_its_traceback(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("pacos.generate.pipeline.plan", broken)
    monkeypatch.setattr(sys, "argv", ["pacos", "generate", "--config", str(config), "--dry-run"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_doctor_finds_this_machine_fit() -> None:
    answer = subprocess.run([sys.executable, "-m", "pacos.cli", "doctor"], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for subject in ("python", "stages", "torch", "transformers", "vllm"):
        assert f"ok    {subject}" in answer.stdout


def test_a_name_that_is_too_long_is_an_error_without_a_traceback() -> None:
    command = [sys.executable, "-m", "pacos.cli", "compare", "n" * 300, "m" * 300]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "cannot open: File name too long" in ended.stderr and "Traceback" not in ended.stderr
