"""Every command of the README is run here (what needs a GPU or a download with --dry-run) or by CI."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.config import load_config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
# Run by CI itself (setup, test), beside it (demo: ten minutes), or not ours (the shell); tests/test_fetch.py fetches.
ELSEWHERE = ("scripts/setup", "scripts/demo", "scripts/test", "source .venv/bin/activate", "pacos fetch ")
PLANNED = ("pacos run", "pacos generate", "pacos train", "pacos evaluate", "accelerate launch")
PROGRAMS = {
    "pacos": [sys.executable, "-m", "pacos.cli"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"],
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as the README leaves it: SuperNI at data/superni (the demonstration's suite stands for it)."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "train.py", "pacos", "generate", "train", "evaluate"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "data").mkdir()
    (folder / "data" / "superni").symlink_to(ROOT / "demo" / "suite")
    return folder


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith(ELSEWHERE)])
def test_a_script_that_the_readme_names_can_be_run(command: str) -> None:
    if command.startswith("scripts/"):
        assert os.access(ROOT / command, os.X_OK)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith(PLANNED)])
def test_a_command_for_a_gpu_box_plans_without_gpu_and_network(command: str, checkout: Path) -> None:
    program, *arguments = shlex.split(command)
    if "--dry-run" not in arguments:
        arguments.append("--dry-run")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    ended = subprocess.run(
        [*PROGRAMS[program], *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "qwen" in ended.stdout.lower()
    assert not (checkout / "runs").exists()


def test_no_command_of_the_readme_goes_unchecked() -> None:
    run_by_other_tests = ("pacos doctor", "pacos report ")
    unchecked = [line for line in COMMANDS if not line.startswith((*ELSEWHERE, *PLANNED, *run_by_other_tests))]
    assert not unchecked


@pytest.mark.parametrize("name", sorted(set(re.findall(r"configs/[\w./-]+\.yaml", README))))
def test_a_config_that_the_readme_names_is_there(name: str) -> None:
    assert (ROOT / name).is_file()
    if "accelerate/" not in name:
        load_config(ROOT / name)
