"""The commands in README, CONTRIBUTING, the tutorial and other documents work.

What needs a GPU runs with --dry-run, what needs a finished run gets the one in tests/data; CI itself runs the others.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from pacos import cli
from pacos.cli.commands import app
from pacos.config import load_config

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("generate", "train", "evaluate", "judging", "loop")
NAMES = ("index", "tutorial", "laptop", "python", *STAGES, "papers", "fidelity", "conversations")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in NAMES))
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
TEXT = "\n".join(TEXTS.values())
COMMANDS = dict.fromkeys(
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
)
# Run by CI itself (setup, test), beside it (the demonstrations take minutes), by the shell, or by other tests.
ELSEWHERE = ("scripts/", "source .venv/bin/activate", "pacos fetch ", "pacos doctor")
PLANNED = ("pacos run", "pacos generate", "pacos train", "pacos evaluate", "pacos loop", "accelerate launch")
FINISHED = ("pacos analyze ", "pacos score ", "pacos compare ", "pacos report ")
INSPECTED = ("pacos inspect ",)
PYTEST = ".venv/bin/python -m pytest "
PROGRAMS = {
    "pacos": [sys.executable, "-m", "pacos.cli"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"],
}


def commands(*starts: str) -> list[str]:
    """The documents' commands that start with one of these, without --dry-run."""
    return list(dict.fromkeys(line.removesuffix(" --dry-run") for line in COMMANDS if line.startswith(starts)))


def run(command: str, folder: Path) -> str:
    """What the command prints in this folder."""
    program, *arguments = shlex.split(command)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    ended = subprocess.run(
        [*PROGRAMS[program], *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def run_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of pacos in this process, where its imports are made already."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 0


def check_out(folder: Path) -> Path:
    """The repository as the documents leave it, with their conversations in chats.jsonl; the demonstration's suite
    stands in for SuperNI at data/superni."""
    stages = ("generate", "train", "evaluate", "self_rewarding", "sweeps")
    for name in ("configs", "demo", "train.py", "pacos", *stages, ".cache"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    [rows] = re.findall(r"```json\n(.*?)```", TEXTS["docs/conversations.md"], re.DOTALL)
    (folder / "chats.jsonl").write_text(rows, encoding="utf-8")
    (folder / "data").mkdir()
    (folder / "data" / "superni").symlink_to(ROOT / "demo" / "suite")
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_out(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the tutorial's run has finished; the run in tests/data stands in for it."""
    folder = check_out(tmp_path_factory.mktemp("finished"))
    run_dir = folder / "runs" / "qwen2.5-7b-lora"
    shutil.copytree(ROOT / "tests" / "data" / "earlier_run" / "experiments" / "earlier", run_dir)
    for name, label in (("base", "base--colours--alpaca"), ("tuned", "halfway--colours--alpaca")):
        shutil.copytree(run_dir / "eval" / label, run_dir / "eval" / name)
    return folder


def test_the_documents_have_commands() -> None:
    assert len(COMMANDS) > 20


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("command", commands("scripts/"))
def test_a_script_that_the_documents_name_can_be_run(command: str) -> None:
    assert os.access(ROOT / shlex.split(command)[0], os.X_OK)


@pytest.mark.parametrize("command", commands(*PLANNED))
def test_a_command_for_a_gpu_box_plans_without_gpu_and_network(
    command: str,
    checkout: Path,
    finished: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "quickstart" in command:
        request.getfixturevalue("smollm2")
    folder = finished if "runs/" in command else checkout
    if command.startswith("pacos "):
        monkeypatch.chdir(folder)
        run_here(f"{command} --dry-run", monkeypatch)
        printed = capsys.readouterr().out
    else:
        printed = run(f"{command} --dry-run", folder)
    config = re.search(r"configs/[\w.-]+\.yaml", command)
    assert config
    experiment = load_config(ROOT / config[0])
    assert experiment.model.base in printed or experiment.name in printed
    assert not (checkout / "runs").exists()


@pytest.mark.parametrize("command", commands(*FINISHED))
def test_a_command_for_a_finished_run_works(command: str, finished: Path) -> None:
    assert run(command, finished)


@pytest.mark.parametrize("command", commands(*INSPECTED))
def test_what_the_documents_show_of_an_inspection_is_printed(
    command: str, checkout: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(command, checkout).strip() in TEXT


@pytest.mark.parametrize("command", commands(PYTEST))
def test_a_pytest_command_selects_tests(command: str) -> None:
    arguments = shlex.split(command.removeprefix(PYTEST))
    ended = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", *arguments], cwd=ROOT, check=False)
    assert ended.returncode == 0


def test_no_command_of_the_documents_goes_unchecked() -> None:
    assert not [line for line in COMMANDS if not line.startswith((*ELSEWHERE, *PLANNED, *FINISHED, *INSPECTED, PYTEST))]


def test_every_pacos_command_that_the_documents_name_exists() -> None:
    named = set(re.findall(r"`pacos\s+([a-z]+)", TEXT))
    assert len(named) > 15
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    assert not named - group.commands.keys()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"configs/[\w./-]+\.yaml", TEXT))))
def test_a_config_that_the_documents_name_is_there(name: str) -> None:
    assert (ROOT / name).is_file()
    if "accelerate/" not in name:
        load_config(ROOT / name)
