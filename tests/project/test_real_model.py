"""The main job on a pretrained model: SmolLM2-135M-Instruct writes tasks, is tuned on them and scored."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.records import read_tasks

ROOT = Path(__file__).resolve().parents[2]
# As scripts/demo runs it, but for sizes: what a server writes and reads takes the time.
TARGET, TASKS = 6, 10
SMALL = (
    f"generate.target={TARGET}",
    "generate.sampling.max_tokens=120",
    "engine={max_in_flight: 10, args: {max_model_len: 2048}}",
)


def write_suite(folder: Path) -> Path:
    """The first tasks of the demonstration's suite as a suite of their own."""
    names = (ROOT / "demo/suite/splits/default/test_tasks.txt").read_text(encoding="utf-8").split()[:TASKS]
    (folder / "splits/default").mkdir(parents=True)
    (folder / "splits/default/test_tasks.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "tasks").mkdir()
    for name in names:
        shutil.copy(ROOT / "demo/suite/tasks" / f"{name}.json", folder / "tasks")
    return folder


@pytest.fixture(scope="module")
def run(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    runs = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "pacos.cli", "run", "--config", "configs/quickstart.yaml"]
    suite = {"name": "demo", "path": str(write_suite(runs / "suite")), "max_tokens": 8, "limit": 1}
    overrides = [f"runs_dir={runs}", f"model.base={smollm2}", f"evaluate.suites=[{json.dumps(suite)}]", *SMALL]
    ended = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-5000:]
    return runs / "quickstart"


def test_the_model_writes_tasks_that_pass_the_filters(run: Path) -> None:
    tasks = read_tasks(run / "dataset")
    assert len(tasks) == TARGET == len({task.instruction for task in tasks})
    assert all(len(task.instruction.split()) > 3 and task.output for task in tasks)


def test_it_is_tuned_on_them_and_scored_as_a_merged_copy(run: Path) -> None:
    scores = {
        name: json.loads((run / "eval" / name / "scores.json").read_text(encoding="utf-8"))
        for name in ("base", "tuned", "copy-input", "copy-demonstration")
    }
    assert {score["n"] for score in scores.values()} == {TASKS}
    tuned = scores["tuned"]["adapter"]
    assert tuned["serve"] == "merged" and tuned["proof"]["largest_difference"] > 0.1 > tuned["proof"]["noise"]
    assert scores["base"]["base"]["dtype"] == scores["tuned"]["base"]["dtype"]
    assert scores["base"]["rougeL"] > 0
    assert not (run / "merged").exists()


def test_the_report_shows_the_gain_with_its_interval(run: Path) -> None:
    comparison = json.loads((run / "eval" / "comparison.json").read_text(encoding="utf-8"))
    [tuned] = [one["against_base"]["rougeL"] for one in comparison["contestants"] if one["name"] == "tuned"]
    # Eight tokens of ten answers may all score alike: the interval may be a point.
    assert tuned["low"] <= tuned["difference"] <= tuned["high"]
    assert (tuned["n"], tuned["tasks"]) == (TASKS, TASKS)
    assert (run / "report.html").stat().st_size > 10_000
