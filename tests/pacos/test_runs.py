import json
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.config import Config, ModelConfig, load_config
from pacos.errors import RunError
from pacos.results.manifest import read_manifest
from pacos.runs import Run


def experiment(folder: Path, name: str = "first") -> Config:
    return Config(name=name, runs_dir=str(folder), model=ModelConfig(base="x"))


def test_a_run_leaves_a_config_that_runs_again(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    with Run.open(config):
        pass
    assert load_config(tmp_path / "first" / "config.yaml") == config


def test_the_manifest_tells_a_stage_from_its_start(tmp_path: Path) -> None:
    source = tmp_path / "seeds.jsonl"
    source.write_text("{}\n{}\n", encoding="utf-8")
    with Run.open(experiment(tmp_path)) as run, run.stage("generate", "decides", inputs=[source]) as stage:
        begun = read_manifest(run.dir).stages["generate"]
        assert begun.status == "running"
        assert begun.inputs[0].rows == 2
        stage.tokens["completion"] = 7
    ended = read_manifest(tmp_path / "first").stages["generate"]
    assert (ended.status, ended.tokens["completion"]) == ("done", 7)


def test_a_stage_that_raises_is_marked_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run.open(experiment(tmp_path)) as run, run.stage("train", 1):
        _ = 1 / 0
    assert read_manifest(tmp_path / "first").stages["train"].status == "failed"


def test_done_means_same_config_and_files_as_they_were(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)) as run:
        output = run.dir / "out.jsonl"
        with run.stage("generate", {"a": 1}) as stage:
            output.write_text("{}\n", encoding="utf-8")
            stage.outputs.append(output)
        assert run.is_done("generate", {"a": 1})
        assert not run.is_done("generate", {"a": 2})
        assert not run.is_done("train", {"a": 1})
        output.write_text("{}\n{}\n", encoding="utf-8")
        assert not run.is_done("generate", {"a": 1})


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"not a pacos run \(thesis\.tex"):
        Run.open(experiment(tmp_path))
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["thesis.tex"]


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)):
        pass
    (tmp_path / "first").rename(tmp_path / "second")
    with pytest.raises(RunError, match="belongs to the run 'first'"):
        Run.open(experiment(tmp_path, "second"))


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)):
        pass
    (tmp_path / "first" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"manifest\.json: not JSON"):
        Run.open(experiment(tmp_path))


def test_two_processes_cannot_work_in_one_run(tmp_path: Path) -> None:
    program = (
        "import sys; from pacos.config import *; from pacos.runs import Run\n"
        f"Run.open(Config(name='first', runs_dir={str(tmp_path)!r}, model=ModelConfig(base='x')))"
    )
    with Run.open(experiment(tmp_path)):
        second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another pacos process is working in this run" in second.stderr
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_manifest_names_revision_versions_and_hardware(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)) as run, run.stage("generate", 1):
        pass
    manifest = json.loads((tmp_path / "first" / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["git"]) == {"rev", "dirty"}
    assert manifest["versions"]["transformers"].startswith("5.")
    assert manifest["hardware"]["cpus"] >= 1
