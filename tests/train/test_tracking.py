"""Every tracker with its real library, offline: configuration, loss curve, scores and report arrive in one run."""

import json
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig
from pacos.errors import RunError
from pacos.evaluate.compare import compare
from pacos.report.render import render
from pacos.tracking import flat_config, scores, track_report
from tests.support.evaluation_folder import write_evaluation
from tests.support.small_training import read_metrics, train_here, training_config

SECRET = "not-for-trackers-7e31"
ROUGE = "eval/superni-alpaca/tuned/rougeL"


@pytest.fixture(scope="module", autouse=True)
def trackio_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """trackio reads where its data goes when it is imported."""
    folder = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(folder))
        yield folder


def tracked_run(tmp_path: Path, base: Path, tasks: Path, tracker: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A training that was interrupted after eight of ten steps and resumed, its scores, and its report."""
    monkeypatch.setenv("VLLM_API_KEY", SECRET)
    engine = EngineConfig(args={"hf-token": SECRET})
    config = training_config(tmp_path, base, tasks, report_to=tracker, save_steps=4)
    config = config.model_copy(update={"engine": engine})
    train_here(config)
    joined = (config.run_dir / "tracker.json").read_text(encoding="utf-8")
    shutil.rmtree(config.run_dir / "train" / "checkpoints" / "step-10")
    shutil.rmtree(config.run_dir / "train" / "adapter")
    train_here(config)
    write_scores(config)
    track_report(config, render(config.run_dir))
    assert (config.run_dir / "tracker.json").read_text(encoding="utf-8") == joined
    return config


def write_scores(config: Config) -> None:
    """The tuned model is right in three of four words, its base never."""
    folder = config.run_dir / "eval"
    answers = {"base": "no", "tuned": "a red round"}
    compare(
        [
            write_evaluation(folder / name, name, {"task1": [(text, "a red round ball")]})
            for name, text in answers.items()
        ],
        folder,
    )


def losses(config: Config) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(config)}


def assert_no_secret(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_scores_are_those_of_the_comparison(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    write_scores(config)
    found = scores(config.run_dir)
    # Three words of three and of four: precision 1, recall 3/4.
    assert found[ROUGE] == pytest.approx(100 * 2 * 0.75 / 1.75, abs=1e-4)
    assert found["eval/superni-alpaca/base/rougeL"] == 0
    assert found[f"{ROUGE}_against_base"] == found[ROUGE]


def test_the_configuration_is_flat_and_has_nothing_of_the_engine(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    flat = flat_config(config.model_copy(update={"engine": EngineConfig(args={"hf-token": SECRET})}))
    assert (flat["name"], flat["train.lora.r"], flat["train.max_steps"]) == ("run", 8, "null")
    assert json.loads(str(flat["train.data"]))[0]["path"] == str(tasks)
    assert SECRET not in str(flat)


def test_tensorboard_gets_the_whole_run(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install pacos[tracking]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tracked_run(tmp_path, tiny_base, tasks, "tensorboard", monkeypatch)
    folder = config.run_dir / "train" / "tensorboard"
    events = EventAccumulator(str(folder)).Reload()
    assert {event.step: event.value for event in events.Scalars("train/loss")} == pytest.approx(losses(config))
    assert events.Scalars(ROUGE)[0].value == pytest.approx(scores(config.run_dir)[ROUGE])
    page = events.Tensors("report/text_summary")[0].tensor_proto.string_val[0]
    assert Path(page.decode()).samefile(config.run_dir / "report.html")
    (parameters,) = folder.glob("*/hparams.yml")
    assert "train.lora.r: 8" in parameters.read_text(encoding="utf-8")
    assert_no_secret(folder)


def test_wandb_gets_the_whole_run(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs wandb: pip install pacos[tracking]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = tracked_run(tmp_path, tiny_base, tasks, "wandb", monkeypatch)
    folder = config.run_dir / "train" / "wandb"
    records = finished_records(folder, sessions=3)
    started = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert {run.run_id for run in started} == {json.loads((config.run_dir / "tracker.json").read_text())["run"]}
    given = {item.key: item.value_json for run in started for item in run.config.update}
    given |= {item.key: item.value_json for record in records for item in record.config.update}
    assert json.loads(given["train.lora.r"]) == 8
    history = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    curve = {row["_step"]: row["train/loss"] for row in history if "train/loss" in row}
    assert curve == pytest.approx(losses(config))
    assert [row[ROUGE] for row in history if ROUGE in row] == pytest.approx([scores(config.run_dir)[ROUGE]])
    artifacts = [
        record.request.log_artifact.artifact for record in records if record.WhichOneof("record_type") == "request"
    ]
    artifacts += [record.artifact for record in records if record.WhichOneof("record_type") == "artifact"]
    assert "run-report" in [artifact.name for artifact in artifacts]
    assert_no_secret(folder)


def finished_records(folder: Path, sessions: int) -> list[Any]:
    """All records, once wandb's own process has written the last of each session."""
    for _ in range(600):
        records = [record for file in sorted(folder.glob("offline-run-*/*.wandb")) for record in wandb_records(file)]
        if sum(record.WhichOneof("record_type") == "exit" for record in records) == sessions:
            return records
        time.sleep(0.05)
    raise AssertionError(f"not {sessions} whole sessions in {folder}")


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a run's log, whose form is LevelDB's: blocks of 32 KiB, and records in one piece or several."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, pieces = file.read_bytes(), 7, b""
    whole, last = 1, 4
    while at + 7 <= len(content):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        if at + 7 + length > len(content):
            return  # it is being written
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (whole, last):
            yield Record.FromString(pieces)
            pieces = b""


def test_trackio_gets_the_whole_run(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, trackio_folder: Path
) -> None:
    trackio = pytest.importorskip("trackio", reason="needs trackio: pip install pacos[tracking]")
    from trackio.sqlite_storage import SQLiteStorage

    config = tracked_run(tmp_path, tiny_base, tasks, "trackio", monkeypatch)
    (run,) = trackio.Api().runs("pacos")
    assert run.config["train.lora.r"] == 8
    rows = SQLiteStorage.get_logs("pacos", run.name)
    assert {row["step"]: row["train/loss"] for row in rows if "train/loss" in row} == pytest.approx(losses(config))
    assert [row[ROUGE] for row in rows if ROUGE in row] == pytest.approx([scores(config.run_dir)[ROUGE]])
    page = (config.run_dir / "report.html").read_bytes()
    assert any(file.read_bytes() == page for file in trackio_folder.rglob("*") if file.is_file())
    assert_no_secret(trackio_folder)


def test_mlflow_gets_the_whole_run(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs MLflow: pip install pacos[tracking]")
    store = tmp_path / "mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # of mlflow-skinny's stores the one on this machine
    config = tracked_run(tmp_path, tiny_base, tasks, "mlflow", monkeypatch)
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'pacos'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["train.lora.r"] == "8"
    curve = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "train/loss")}
    assert curve == pytest.approx(losses(config))
    assert run.data.metrics[ROUGE] == pytest.approx(scores(config.run_dir)[ROUGE])
    (page,) = store.rglob("report.html")
    assert page.read_bytes() == (config.run_dir / "report.html").read_bytes()
    assert_no_secret(store)


def test_a_tracker_that_does_not_start_is_named(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs MLflow: pip install pacos[tracking]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-store://here")
    with pytest.raises(RunError, match=r"mlflow: .*no-such-store") as refused:
        train_here(training_config(tmp_path, tiny_base, tasks, report_to="mlflow"))
    assert "train.report_to=none" in str(refused.value)
