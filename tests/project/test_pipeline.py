"""The main job on real parts: a small base that writes lists, vLLM, `accelerate launch`, PEFT, SuperNI files."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.list_writer import build_list_writer

ROOT = Path(__file__).resolve().parents[2]
PACOS = [sys.executable, "-m", "pacos.cli"]
EXPERIMENT = """
model: {dtype: float32}
engine:
  max_in_flight: 24
  args: {max_model_len: 2048}
generate:
  target: 60
  sampling: {temperature: 0.5, top_p: 1.0, max_tokens: 1200}
  budget: {requests: 200}
train:
  lora: {r: 8, alpha: 16, dropout: 0.0, targets: all-linear}
  epochs: 1
  learning_rate: 3e-3
  batch_size: 16
  max_length: 256
  pack_tokens: 4096
  save_steps: 100
evaluate:
  serve: adapter # tests/pacos/test_merged.py has merged copies
  suites:
    - {name: demo, path: demo/suite, prompt: alpaca, max_tokens: 32, limit: 2}
"""


@pytest.fixture(scope="session")
def listing_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small base that writes lists that parse."""
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    return build_list_writer(tmp_path_factory.mktemp("models") / "listing-base", steps=200)


def pacos(*arguments: object) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run([*PACOS, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-5000:]
    return ended


def run_all(runs: Path, name: str, base: Path, *overrides: str) -> Path:
    """The run directory of `pacos run`."""
    config = runs / "experiment.yaml"
    config.write_text(EXPERIMENT, encoding="utf-8")
    pacos("run", "--config", config, f"name={name}", f"runs_dir={runs}", f"model.base={base}", *overrides)
    return runs / name


@pytest.fixture(scope="session")
def finished_run(listing_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tracked = ["train.report_to=tensorboard"] if importlib.util.find_spec("tensorboard") else []
    return run_all(tmp_path_factory.mktemp("runs"), "whole", listing_base, *tracked)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_one_command_takes_seeds_to_a_report(finished_run: Path) -> None:
    manifest = read_json(finished_run / "manifest.json")
    assert {name: stage["status"] for name, stage in manifest["stages"].items()} == {
        "generate": "done",
        "train": "done",
        "evaluate": "done",
    }
    for name in ("config.yaml", "log.txt", "report.html", "report.json", "dataset/README.md", "train/metrics.jsonl"):
        assert (finished_run / name).stat().st_size > 0, name
    rows = (finished_run / "dataset" / "dataset.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == read_json(finished_run / "dataset" / "stats.json")["funnel"]["accepted"] == 60
    assert len(read_json(finished_run / "dataset" / "alpaca_data.json")) == 60


def test_the_funnel_adds_up(finished_run: Path) -> None:
    funnel = read_json(finished_run / "dataset" / "stats.json")["funnel"]
    rejected = (finished_run / "dataset" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert funnel["items"] == funnel["accepted"] + sum(funnel["rejected"].values())
    assert len(rejected) == sum(funnel["rejected"].values())


def test_the_dataset_folder_loads_in_datasets(finished_run: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(finished_run / "dataset"), split="train")
    assert rows.num_rows == 60
    assert rows.column_names[:3] == ["instruction", "input", "output"]


def test_base_adapter_and_copy_baseline_are_scored_on_the_same_instances(finished_run: Path) -> None:
    scores = {
        label: read_json(finished_run / "eval" / label / "scores.json") for label in ("base", "tuned", "copy-input")
    }
    tasks = len(list((ROOT / "demo" / "suite" / "tasks").glob("*.json")))
    assert {score["n"] for score in scores.values()} == {2 * tasks}
    proof = scores["tuned"]["adapter"]["proof"]
    assert proof["largest_difference"] > 10 * proof["noise"]
    comparison = read_json(finished_run / "eval" / "comparison.json")
    assert [one["name"] for one in comparison["contestants"]] == ["tuned", "copy-input", "copy-demonstration"]


def test_the_tracker_has_the_losses_the_scores_and_the_report(finished_run: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install pacos[tracking]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished_run / "train" / "tensorboard")).Reload()
    lines = map(json.loads, (finished_run / "train" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    losses = {line["step"]: line["loss"] for line in lines}
    assert {event.step: event.value for event in events.Scalars("train/loss")} == pytest.approx(losses)
    [score] = events.Scalars("eval/demo-alpaca/tuned/rougeL")
    assert score.value == pytest.approx(read_json(finished_run / "eval" / "tuned" / "scores.json")["rougeL"])
    page = events.Tensors("report/text_summary")[0].tensor_proto.string_val[0].decode()
    assert Path(page).samefile(finished_run / "report.html")


def test_the_adapter_loads_in_peft(finished_run: Path, listing_base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(listing_base), str(finished_run / "train" / "adapter")
    )
    weights = [value for name, value in model.named_parameters() if "lora_B" in name]
    assert weights and all(value.abs().max() > 0 for value in weights)


def test_a_finished_run_does_nothing_when_started_again(finished_run: Path, listing_base: Path) -> None:
    before = read_json(finished_run / "manifest.json")["stages"]
    pacos("run", "--config", finished_run / "config.yaml")
    assert read_json(finished_run / "manifest.json")["stages"] == before


def test_another_adapter_joins_an_evaluation_without_asking_the_others_again(finished_run: Path) -> None:
    base = finished_run / "eval" / "base" / "predictions.jsonl"
    before = base.stat().st_mtime_ns
    adapter = finished_run / "train" / "adapter"
    for _ in range(2):  # the second time, the run's own config.yaml names it already
        pacos("evaluate", "--config", finished_run / "config.yaml", "--adapter", f"again={adapter}")
    assert base.stat().st_mtime_ns == before
    again, tuned = (read_json(finished_run / "eval" / label / "scores.json") for label in ("again", "tuned"))
    assert again["rougeL"] == tuned["rougeL"]


def test_official_seeds_and_real_superni_tasks_go_the_same_way(
    listing_base: Path, shared_data: Path, tmp_path: Path
) -> None:
    seeds = shared_data / "self_instruct" / "seed_tasks.jsonl"
    suite = f"[{{name: superni, path: {shared_data / 'superni'}, max_tokens: 16, limit: 1, prompt: 'tk-instruct:def'}}]"
    overrides = [f"generate.seeds={seeds}", f"evaluate.suites={suite}", "generate.target=20", "train.max_steps=2"]
    run = run_all(tmp_path, "real", listing_base, *overrides)
    scores = read_json(run / "eval" / "tuned" / "scores.json")
    assert (scores["n"], scores["n_expected"], scores["complete"]) == (32, 11_810, False)
    assert "not comparable" in scores["note"]


def test_nothing_is_left_running(finished_run: Path, listing_base: Path) -> None:
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(listing_base) in _words(process)]
    assert not (finished_run / "engine.json").exists()


def _words(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []
