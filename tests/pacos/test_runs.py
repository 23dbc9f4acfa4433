import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.config import Config, ModelConfig, load_config
from pacos.errors import ConfigError, DataError, ModelError, PacosError, RunError
from pacos.results.manifest import read_manifest
from pacos.run_log import RunLog
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


def test_hidden_files_of_an_output_folder_are_no_outputs(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)) as run:
        hidden = (run.dataset / ".cache" / "index.npy", run.dataset / "sub" / ".part")
        with run.stage("generate", 1) as stage:
            for path in (*hidden, run.dataset / "dataset.jsonl"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}\n", encoding="utf-8")
            stage.outputs.append(run.dataset)
        outputs = read_manifest(run.dir).stages["generate"].outputs
        assert [record.path for record in outputs] == [str(run.dataset / "dataset.jsonl")]
        for path in hidden:
            path.unlink()
        assert run.is_done("generate", 1)


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


def done_once(folder: Path) -> tuple[Config, Path]:
    """A run whose stage `generate` ended well, and what it wrote."""
    config = experiment(folder)
    with Run.open(config) as run, run.stage("generate", 1) as stage:
        output = run.dir / "out.jsonl"
        output.write_text("{}\n", encoding="utf-8")
        stage.outputs.append(output)
        stage.tokens["completion"] = 7
    return config, output


def state(run_dir: Path) -> tuple[bytes, ...]:
    return tuple((run_dir / name).read_bytes() for name in ("manifest.json", "config.yaml"))


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelError, RunError])
def test_a_refused_resume_changes_nothing(tmp_path: Path, kind: type[PacosError]) -> None:
    config, _ = done_once(tmp_path)
    before = state(config.run_dir)
    other = config.model_copy(update={"seed": 7})
    with pytest.raises(kind), Run.open(other) as run, run.stage("generate", 2) as stage:
        stage.outputs.append(run.dir / "out.jsonl")
        raise kind("other settings")
    assert state(config.run_dir) == before
    with Run.open(config) as run:
        assert run.is_done("generate", 1)


def test_a_refusal_before_the_stage_leaves_the_configuration(tmp_path: Path) -> None:
    config, _ = done_once(tmp_path)
    before = state(config.run_dir)
    with pytest.raises(DataError), Run.open(config.model_copy(update={"seed": 7})):
        raise DataError("no such suite")
    assert state(config.run_dir) == before


def test_a_stage_that_began_work_and_failed_is_failed(tmp_path: Path) -> None:
    config, output = done_once(tmp_path)
    other = config.model_copy(update={"seed": 7})
    with pytest.raises(RunError), Run.open(other) as run, run.stage("generate", 2) as stage:
        stage.tokens["completion"] = 3
        raise RunError("disk full")
    assert read_manifest(config.run_dir).stages["generate"].status == "failed"
    assert load_config(config.run_dir / "config.yaml").seed == 7
    with Run.open(config) as run, run.stage("generate", 1) as stage:
        stage.outputs.append(output)
    with pytest.raises(RunError), Run.open(other) as run, run.stage("generate", 2):
        output.write_text("{}\n{}\n", encoding="utf-8")
        raise RunError("nothing accepted")
    assert read_manifest(config.run_dir).stages["generate"].status == "failed", "its output is not what it was"


def test_a_log_that_is_a_link_is_refused(tmp_path: Path) -> None:
    with Run.open(experiment(tmp_path)) as run:
        log_file = run.dir / "log.txt"
    log_file.unlink()
    log_file.symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match=r"log\.txt: cannot write: [^\n]*\n.*does not write through links"):
        Run.open(experiment(tmp_path))
    assert not (tmp_path / "precious").exists()


def test_a_log_on_a_full_disk_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = RunLog(tmp_path / "log.txt")
    with Path("/dev/full").open("a", encoding="utf-8") as full:
        earlier = handler.setStream(full)
        assert earlier
        earlier.close()
        for _ in range(3):
            handler.emit(logging.makeLogRecord({"msg": "x" * 20_000}))
        handler.close()
    said = capsys.readouterr().err
    assert said.count("lines are missing from here on") == 1
    assert "Traceback" not in said


def test_a_file_above_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="a file has the name of a folder above it"):
        Run.open(experiment(tmp_path / "runs"))


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b"\xff", b'{"name": 5}', b'{"name": "first", "stages": {"generate": null}}', b"[" * 100_000],
)
def test_a_damaged_manifest_is_an_error_with_the_file(tmp_path: Path, damage: bytes) -> None:
    done_once(tmp_path)
    (tmp_path / "first" / "manifest.json").write_bytes(damage)
    with pytest.raises(RunError, match=r"manifest\.json"):
        Run.open(experiment(tmp_path))


def test_a_forged_manifest_names_files_that_cannot_be_read(tmp_path: Path) -> None:
    config, _ = done_once(tmp_path)
    path = config.run_dir / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in ("\0", "x" * 5000, str(tmp_path), "/proc/1/mem"):
        manifest["stages"]["generate"]["outputs"] = [{"path": name, "sha256": "0", "rows": 0}]
        path.write_text(json.dumps(manifest), encoding="utf-8")
        with Run.open(config) as run:
            assert not run.is_done("generate", 1)
