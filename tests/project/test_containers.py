"""The images and compose.yaml: what they copy is there, their commands exist, nothing listens beyond loopback.

No builder is needed: RUN lines that install packages or add a user are parsed by the shell, and the one that installs
pacos runs, in a fresh folder that holds what .dockerignore lets through.
"""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from pacos.cli.commands import app

ROOT = Path(__file__).resolve().parents[2]
FILES = ("Dockerfile", "Dockerfile.gpu")
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def instructions(file: str) -> list[tuple[str, str]]:
    """[(instruction, its text)], lines joined and comments left out."""
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def texts(file: str, instruction: str) -> list[str]:
    return [text for name, text in instructions(file) if name == instruction]


def context(folder: Path) -> Path:
    """A copy of the files that git knows and .dockerignore lets through."""
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*" and rules[-1] == "**/__pycache__"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    for name in names:
        source, target = ROOT / name, folder / name
        if not any(name == rule or name.startswith(f"{rule}/") for rule in kept):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            target.write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="module")
def image_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return context(tmp_path_factory.mktemp("context"))


def is_command(words: list[str]) -> bool:
    """Whether `pacos` takes these arguments."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    name, *arguments = words
    command = group.commands[name]
    command.make_context(name, arguments, resilient_parsing=False)
    return True


@pytest.mark.parametrize("file", FILES)
def test_the_base_is_a_build_argument_with_a_digest(file: str) -> None:
    (first, argument), (second, base) = instructions(file)[:2]
    assert (first, second, base) == ("ARG", "FROM", "${BASE_IMAGE}")
    assert re.fullmatch(r"BASE_IMAGE=docker\.io/[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", argument)


@pytest.mark.parametrize("file", FILES)
def test_what_is_copied_is_in_the_build_context(file: str, image_source: Path) -> None:
    sources = [source for text in texts(file, "COPY") for source in shlex.split(text)[:-1]]
    assert "." in sources and len(sources) == 2
    assert all((image_source / source).exists() for source in sources)


@pytest.mark.parametrize("file", FILES)
def test_every_run_line_is_a_shell_command(file: str) -> None:
    lines = [re.sub(r"^(?:--mount=\S+ +)*", "", text) for text in texts(file, "RUN")]
    assert len(lines) == 4
    for line in lines:
        parsed = subprocess.run(["sh", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, f"{line}: {parsed.stderr}"


@pytest.mark.parametrize("file", FILES)
def test_downloads_are_kept_in_cache_mounts(file: str) -> None:
    for line in texts(file, "RUN"):
        if re.search(r"apt-get install|pip install", line):
            assert line.startswith("--mount=type=cache,target=/")


@pytest.mark.parametrize("file", FILES)
def test_it_does_not_run_as_root(file: str) -> None:
    users = [text for name, text in instructions(file) if name in ("USER", "CMD", "ENTRYPOINT")]
    assert users[0] == "${UID}" and texts(file, "ARG")[1] == "UID=1000"


def test_the_build_context_is_enough_for_a_whole_wheel(image_source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(image_source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = wheel.namelist()
    assert len(held) > 300
    for name in ("pacos/configs/quickstart.yaml", "pacos/train/__main__.py", "pacos/generate/data/seed_tasks.jsonl"):
        assert name in held


def test_the_build_context_has_nothing_else(image_source: Path) -> None:
    assert not [name for name in ("tests", "docs", ".git", ".venv", "runs") if (image_source / name).exists()]
    assert {path.name for path in (image_source / "locks").iterdir()} == {"cpu.txt", "gpu.txt"}


def test_the_cpu_image_runs_the_demonstration() -> None:
    shell, flags, script = json.loads(texts("Dockerfile", "CMD")[0])
    assert (shell, flags) == ("sh", "-ec")
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    commands = re.findall(r"pacos ([^;|]+)", script)
    assert [command.split()[0] for command in commands] == ["init", "fetch", "run"]
    assert all(is_command(shlex.split(command)) for command in commands)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_publishes_no_port_and_has_no_privileges(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    assert "ports" not in service and service["network_mode"] == "host"
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]


def test_the_server_listens_on_loopback_and_needs_a_key() -> None:
    server = SERVICES["server"]
    command = server["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert server["environment"]["VLLM_API_KEY"].startswith("${VLLM_API_KEY:?")
    assert SERVICES["pipeline"]["environment"]["VLLM_API_KEY"] == server["environment"]["VLLM_API_KEY"]


def test_the_pipeline_asks_the_server_that_the_file_starts() -> None:
    server = SERVICES["server"]["command"]
    port = server[server.index("--port") + 1]
    assert f"engine.url=http://127.0.0.1:{port}/v1" in SERVICES["pipeline"]["command"]


@pytest.mark.parametrize("name", ["pipeline", "review"])
def test_a_service_runs_a_command_of_pacos(name: str) -> None:
    program, *arguments = SERVICES[name]["command"]
    assert program == "pacos" and is_command(arguments)


def test_the_review_page_keeps_its_default_address() -> None:
    assert not any(fnmatch(word, "--host*") for word in SERVICES["review"]["command"])
