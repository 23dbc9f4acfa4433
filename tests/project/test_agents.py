"""AGENTS.md is short and true: what it names is there, and its commands can be run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import FOLDERS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
[BLOCK] = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line.partition("  #")[0].strip() for line in BLOCK.splitlines()]
# In code spans: what has a slash, or a file's ending.
PATHS = sorted(set(re.findall(r"`([\w./-]+(?:/|\.py|\.md|\.yml))`", TEXT)) | set(re.findall(r"\]\(([\w./-]+)\)", TEXT)))
ABSENT = "evaluate/__init__.py"  # which it says not to add


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 60


@pytest.mark.parametrize("path", [path for path in PATHS if path != ABSENT])
def test_a_path_that_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_what_it_says_not_to_add_is_not_there() -> None:
    assert ABSENT in PATHS
    assert not (ROOT / ABSENT).exists()


def test_its_tree_has_every_folder_of_the_code() -> None:
    assert not [folder for folder in FOLDERS if f"`{folder}/`" not in TEXT]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_can_be_run(command: str) -> None:
    program, *arguments = shlex.split(command)
    if "pytest" in arguments:
        collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments[3:]]
        assert subprocess.run(collect, cwd=ROOT, check=False).returncode == 0
        return
    assert os.access(ROOT / program, os.X_OK)
    if arguments:  # a word that the script knows
        assert arguments[0] in (ROOT / program).read_text(encoding="utf-8")
