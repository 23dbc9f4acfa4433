"""The recipes in scripts/ that run shards on many machines: each asks for the shard that it is to ask for.

Slurm's is submitted to a stub of sbatch that runs an array's tasks one after another, Ray's to a real cluster; those
for Kubernetes and SkyPilot are checked against the schemas of these, and what they run is run with a stub of pacos.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacos.generate.curate_shards import curate_shards
from pacos.generate.union import journal_files
from tests.support.generated_run import experiment, generate
from tests.support.killed_run import generate_command
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "slurm_generate.sbatch"
JOB = ROOT / "scripts" / "kubernetes_generate.yaml"
SKY = ROOT / "scripts" / "skypilot_generate.yaml"
# Takes the options that come before the script, as sbatch does, and knows --array=1-3 and --array=1,3.
SBATCH = """#!/usr/bin/env bash
set -euo pipefail
indices=$(sed 's/^--array=//; s/,/ /g' <<< "$1")
[[ $indices == *-* ]] && indices=$(seq "${indices%-*}" "${indices#*-}")
shift
for index in $indices; do SLURM_ARRAY_TASK_ID=$index SLURM_SUBMIT_DIR=$PWD bash "$@"; done
"""


def sbatch(tmp_path: Path, *arguments: str, pacos: str) -> subprocess.CompletedProcess[str]:
    stub = tmp_path / "sbatch"
    stub.write_text(SBATCH, encoding="utf-8")
    environment = os.environ | {"PACOS": pacos}
    return subprocess.run(
        ["bash", str(stub), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_an_array_index_is_a_shard(tmp_path: Path) -> None:
    ran = sbatch(tmp_path, "--array=2,5", str(SCRIPT), "my.yaml", "8", "--until-request", "99", "seed=3", pacos="echo")
    assert ran.stdout.splitlines() == [
        f"generate --config my.yaml --shard {shard}/8 --until-request 99 seed=3" for shard in (2, 5)
    ]


def test_it_is_not_run_without_slurm(tmp_path: Path) -> None:
    ran = subprocess.run(["bash", str(SCRIPT), "my.yaml", "8"], capture_output=True, text=True, check=False)
    assert ran.returncode and "submit this with sbatch" in ran.stderr


def test_its_options_are_ones_that_sbatch_reads() -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    code = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert options and max(options) < code, "sbatch stops reading at the first command"
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[number]) for number in options)


def test_an_array_writes_what_one_machine_writes(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=30)
        alone = generate(config.model_copy(update={"name": "alone"}))
        file = generate_command(config, tmp_path)[-1]
        ran = sbatch(
            tmp_path, "--array=1-2", str(SCRIPT), file, "2", "--until-request", "12",
            pacos=f"{sys.executable} -m pacos.cli",
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    curate_shards(journal_files([config.run_dir / "shards"]), "shards", tmp_path / "out", config)
    for name in ("dataset.jsonl", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == alone[name]


def test_ray_runs_shards_as_tasks(tiny_base: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install ray")
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=30)
        alone = generate(config.model_copy(update={"name": "alone"}))
        file = generate_command(config, tmp_path)[-1]
        ray.init(num_cpus=2, include_dashboard=False)
        script = [sys.executable, str(ROOT / "scripts" / "ray_generate.py"), file, "2"]
        address = ray.get_runtime_context().gcs_address
        try:
            subprocess.run(
                [*script, "--gpus", "0", "--until-request", "12"],
                env=os.environ | {"RAY_ADDRESS": address}, cwd=ROOT, check=True,
            )  # fmt: skip
        finally:
            ray.shutdown()
    curate_shards(journal_files([config.run_dir / "shards"]), "shards", tmp_path / "out", config)
    assert (tmp_path / "out" / "dataset.jsonl").read_bytes() == alone["dataset.jsonl"]


def test_a_pod_of_the_kubernetes_job_asks_the_shard_of_its_index(tmp_path: Path) -> None:
    pod = _job()["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one["value"] for one in pod["env"]}
    stub = _stub(tmp_path / "pacos")
    ran = subprocess.run(
        [*pod["command"], *pod["args"]],
        env=given | {"JOB_COMPLETION_INDEX": "7", "PATH": f"{stub.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "generate --config my.yaml --shard 8/8 --until-request 4800\n"


def test_the_kubernetes_job_has_a_pod_for_each_shard() -> None:
    spec = _job()["spec"]
    given = {one["name"]: one["value"] for one in spec["template"]["spec"]["containers"][0]["env"]}
    assert spec["completionMode"] == "Indexed" and spec["completions"] == int(given["SHARDS"])


@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_the_kubernetes_job_has_the_form_that_kubernetes_takes(version: str) -> None:
    schema = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")
    schema.validate(_job(), version, strict=True)
    wrong = _job()
    wrong["spec"]["completion"] = 8
    with pytest.raises(schema.ValidationError):
        schema.validate(wrong, version, strict=True)


def test_a_skypilot_job_asks_the_shard_that_it_is_given(tmp_path: Path) -> None:
    job = yaml.safe_load(SKY.read_text(encoding="utf-8"))
    _stub(tmp_path / ".venv" / "bin" / "pacos")
    ran = subprocess.run(
        ["bash", "-c", job["run"]],
        env=job["envs"] | {"SHARD": "3", "PATH": os.environ["PATH"]},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == (
        "generate --config configs/qwen2.5-7b-lora.yaml --shard 3/8 --until-request 4800 runs_dir=/runs\n"
    )
    assert (ROOT / job["setup"]).is_file() and (ROOT / job["envs"]["CONFIG"]).is_file()


def test_skypilot_reads_its_job_and_wants_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    sky = pytest.importorskip("sky", reason="needs SkyPilot: pip install skypilot")
    monkeypatch.chdir(ROOT)
    job = yaml.safe_load(SKY.read_text(encoding="utf-8"))
    task = sky.Task.from_yaml_config(job, env_overrides=[("SHARD", "3")])
    assert task.envs["SHARD"] == "3" and all(one.use_spot for one in task.resources)
    with pytest.raises(ValueError, match="SHARD"):
        sky.Task.from_yaml(str(SKY))


def _job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(JOB.read_text(encoding="utf-8"))
    return job


def _stub(path: Path) -> Path:
    """A command that prints its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/usr/bin/env bash\necho "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path
