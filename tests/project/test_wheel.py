"""What is published works without the repository: the wheel is built from the source distribution and installed.

The libraries that it needs come from the environment of the tests; the repository itself is not on the path.
"""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

from pacos import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    for source in (ROOT / name for name in files):
        target = copy / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            target.write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel, and sees this one's libraries."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    # A path file of a folder that a path file names is not read, so the editable pacos stays unseen.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    [wheel] = distributions.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--quiet", "--ignore-installed", str(wheel)], check=True, stdin=subprocess.DEVNULL)
    return venv / "bin"


def run(installed: Path, folder: Path, program: str, *arguments: str) -> str:
    """What a program of the environment prints in this folder; it must succeed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = kept | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "COLUMNS": "200"}
    command = [str(installed / program), *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]
    return ended.stdout


def test_the_files_are_named_for_the_version_in_the_code(distributions: Path) -> None:
    names = sorted(path.name for path in distributions.iterdir())
    assert names == [f"pacos-{__version__}-py3-none-any.whl", f"pacos-{__version__}.tar.gz"]


def test_the_wheel_holds_every_module_and_config_once(distributions: Path) -> None:
    [wheel] = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert len(held) == len(set(held)) and all(name.startswith("pacos/") for name in held)
    folders = ("pacos", "generate", "train", "evaluate", "self_rewarding", "sweeps", "demo")
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            if not any(parent.is_symlink() for parent in file.parents):
                inside = file.relative_to(ROOT / "pacos" if folder == "pacos" else ROOT)
                assert f"pacos/{inside}" in held
    shipped = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "demo" / "suite").rglob("*.json")]
    assert {f"pacos/{path.relative_to(ROOT)}" for path in shipped} <= set(held)


def test_pacos_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import pacos, pacos.train, importlib.metadata as m; print(pacos.__file__, m.version('pacos'))"
    file, version = run(installed, tmp_path, "python", "-c", program).split()
    assert Path(file).is_relative_to(installed.parent) and version == __version__


def test_doctor_finds_every_stage(installed: Path, tmp_path: Path) -> None:
    assert "ok    stages" in run(installed, tmp_path, "pacos", "doctor")


def test_configs_lists_every_shipped_config_with_its_purpose(installed: Path, tmp_path: Path) -> None:
    lines = run(installed, tmp_path, "pacos", "configs").splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    assert all(len(line.split()) > 5 for line in lines)


def test_a_run_is_planned_from_a_config_that_init_wrote(installed: Path, tmp_path: Path, tiny_base: Path) -> None:
    run(installed, tmp_path, "pacos", "init", "mine", "--from", "quickstart", "--seeds")
    plan = run(installed, tmp_path, "pacos", "run", "--config", "mine.yaml", f"model.base={tiny_base}", "--dry-run")
    assert "mine-seeds.jsonl" in plan and "demo" in plan
    assert not (tmp_path / "runs").exists()


def test_training_is_planned_by_accelerate(installed: Path, tmp_path: Path, tiny_base: Path) -> None:
    run(installed, tmp_path, "pacos", "init", "mine", "--from", "quickstart")
    launch = ("-m", "accelerate.commands.launch", "--num_processes", "1", "--module", "pacos.train")
    plan = run(installed, tmp_path, "python", *launch, "--config", "mine.yaml", f"model.base={tiny_base}", "--dry-run")
    assert f"base {tiny_base}" in plan


def test_the_usage_of_training_names_the_shipped_configs(installed: Path, tmp_path: Path) -> None:
    usage = run(installed, tmp_path, "python", "-m", "pacos.train", "--help")
    assert "llama-3.1-8b-lora" in usage and "pacos init" in usage


def test_the_seeds_of_the_self_rewarding_demonstration_are_written(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "pacos", "init", "mine", "--from", "self-rewarding-quickstart")
    run(installed, tmp_path, "python", "-m", "pacos.demo.rewards", "--out", ".cache/demo-rewards")
    named = yaml.safe_load((tmp_path / "mine.yaml").read_text(encoding="utf-8"))["loop"]
    assert (tmp_path / named["ranked"]).is_file() and (tmp_path / named["judging"][0]["path"]).is_file()
