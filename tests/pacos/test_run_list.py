"""`pacos runs` and `pacos clean`: what is there, what may go, and what never goes."""

import json
import os
import sys
from pathlib import Path

import pytest

from pacos import cli
from pacos.config import Config, ModelConfig
from pacos.errors import RunError
from pacos.files import write_json
from pacos.run_cleaning import clean, find_removable
from pacos.run_list import list_runs, size_text
from pacos.runs import Run


def new_run(folder: Path, name: str) -> Path:
    config = Config(name=name, runs_dir=str(folder), model=ModelConfig(base="llama"))
    with Run.open(config) as run, run.stage("generate"):
        pass
    return config.run_dir


def fill(path: Path, size: int = 10_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def add_checkpoint(run: Path, step: int, best: int | None = None, *, complete: bool = True) -> Path:
    folder = run / "train" / "checkpoints" / f"step-{step}"
    fill(folder / "adapter" / "adapter_model.safetensors")
    write_json(
        folder / "state" / "progress.json", {"step": step, "best": {"step": best, "eval_loss": 1.0} if best else None}
    )
    if complete:
        write_json(folder / "COMPLETE", {})
    return folder


@pytest.fixture
def used_run(tmp_path: Path) -> Path:
    """A run that has one of everything."""
    run = new_run(tmp_path / "runs", "used")
    for step, best in ((10, None), (20, 20), (30, 20)):
        add_checkpoint(run, step, best)
    add_checkpoint(run, 40, complete=False)
    for name in (
        "train/tokenized/abc.bin", "train/adapter/adapter_model.safetensors", "train/metrics.jsonl",
        "dataset/.novelty/ids", "dataset/.known/ids", "dataset/dataset.jsonl", "dataset/responses.jsonl",
        "eval/base/responses.jsonl", "eval/base/superseded-1.jsonl", "eval/base/predictions.jsonl", "report.html",
    ):  # fmt: skip
        fill(run / name)
    return run


def test_runs_are_listed_with_stages_size_and_change(tmp_path: Path) -> None:
    older, newer = (new_run(tmp_path, name) for name in ("older", "newer"))
    fill(newer / "dataset" / "dataset.jsonl", 1_000_000)
    (tmp_path / "no-run").mkdir()
    for path in older.rglob("*"):
        os.utime(path, (86_400, 86_400))
    first, second = list_runs(tmp_path)
    assert (first.name, second.name) == ("newer", "older")
    assert first.stages == {"generate": "done"} and first.process == 0
    assert first.bytes >= 1_000_000 > second.bytes
    assert second.changed == "1970-01-02T00:00:00+00:00"


def test_a_run_at_work_names_its_process(tmp_path: Path) -> None:
    config = Config(name="busy", runs_dir=str(tmp_path), model=ModelConfig(base="llama"))
    with Run.open(config):
        assert list_runs(tmp_path)[0].process == os.getpid()
    assert list_runs(tmp_path)[0].process == 0


def test_a_broken_manifest_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    new_run(tmp_path, "whole")
    (new_run(tmp_path, "torn") / "manifest.json").write_text("{", encoding="utf-8")
    found = {run.name: run for run in list_runs(tmp_path)}
    assert found["torn"].flaw and not found["torn"].stages
    assert found["whole"].stages


def test_cleaning_leaves_results_weights_and_the_checkpoints_that_count(used_run: Path) -> None:
    before = {path for path in used_run.rglob("*") if path.is_file()}
    removed = {str(one.path.relative_to(used_run)) for one in clean(used_run)}
    assert removed == {
        "train/checkpoints/step-10", "train/checkpoints/step-40", "train/tokenized", "dataset/.novelty",
        "dataset/.known", "eval/base/superseded-1.jsonl",
    }  # fmt: skip
    gone = {str(path.relative_to(used_run)) for path in before if not path.exists()}
    assert all(name.startswith(tuple(removed)) for name in gone)
    assert not find_removable(used_run)


def test_sizes_are_those_on_the_disk(used_run: Path) -> None:
    sizes = {one.path.name: one.bytes for one in find_removable(used_run)}
    assert sizes["tokenized"] == (used_run / "train/tokenized/abc.bin").stat().st_blocks * 512 >= 10_000
    assert [size_text(size) for size in (900, 12_345, 1_200_000, 3_450_000_000)] == [
        "1 KB",
        "12 KB",
        "1.2 MB",
        "3.5 GB",
    ]


def test_a_run_in_use_is_not_cleaned(used_run: Path) -> None:
    config = Config(name="used", runs_dir=str(used_run.parent), model=ModelConfig(base="llama"))
    with Run.open(config), pytest.raises(RunError, match="a pacos process is working in this run"):
        clean(used_run)
    assert find_removable(used_run)


def test_links_are_neither_followed_nor_removed(used_run: Path, tmp_path: Path) -> None:
    kept = fill(tmp_path / "elsewhere" / "tokenized" / "kept.bin")
    trials = used_run / "trials"
    trials.mkdir()
    (trials / "tokenized").symlink_to(kept.parent)
    (used_run / "eval" / "linked").symlink_to(kept.parent.parent)
    inside = used_run / "train" / "tokenized" / "linked"
    inside.symlink_to(kept.parent)
    clean(used_run)
    assert kept.is_file() and (trials / "tokenized").is_symlink()
    assert not (used_run / "train" / "tokenized").exists()


def test_runs_within_a_run_are_cleaned_by_their_own_names(used_run: Path) -> None:
    trial = new_run(used_run / "trials", "lr")
    fill(trial / "train" / "tokenized" / "ids.bin")
    assert not [one for one in find_removable(used_run) if trial in one.path.parents]
    assert [one.path for one in find_removable(trial)] == [trial / "train" / "tokenized"]


def test_a_checkpoint_that_does_not_say_which_is_best_stops_the_cleaning(used_run: Path) -> None:
    (used_run / "train/checkpoints/step-30/state/progress.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match=r"step-30/state/progress.json: cannot be read"):
        clean(used_run)
    assert (used_run / "train/checkpoints/step-10").is_dir()


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["pacos", *map(str, arguments)])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code in (0, None)


def test_nothing_is_removed_without_a_yes(
    used_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["--dry-run"], ["--dry-run", "--yes"]):
        command(monkeypatch, "clean", used_run, *arguments)
        assert "train/tokenized" in capsys.readouterr().out
        assert len(find_removable(used_run)) == 6
    command(monkeypatch, "clean", used_run, "--yes")
    assert "freed" in capsys.readouterr().out
    assert not find_removable(used_run)


def test_the_list_is_one_json_document(
    used_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "runs", used_run.parent, "--json")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["name"], run["stages"], run["process"]) == ("used", {"generate": "done"}, 0)
    command(monkeypatch, "runs", used_run.parent)
    assert "done: generate" in capsys.readouterr().out


def test_no_cell_of_the_list_is_cut_in_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new_run(tmp_path, name := "llama-3.1-8b-alpaca-lora-r16-seed-42")
    monkeypatch.setenv("COLUMNS", "60")
    command(monkeypatch, "runs", tmp_path)
    printed = capsys.readouterr().out
    assert name in "".join(line[:60].split("  ")[0].strip() for line in printed.splitlines())
    assert "…" not in printed and list_runs(tmp_path)[0].changed[:10] in printed
