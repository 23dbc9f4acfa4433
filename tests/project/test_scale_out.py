"""scripts/slurm_generate.sbatch, submitted to a stub of sbatch that runs an array's tasks one after another."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.generate.curate_shards import curate_shards
from pacos.generate.union import journal_files
from tests.support.generated_run import experiment, generate
from tests.support.killed_run import generate_command
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "slurm_generate.sbatch"
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
