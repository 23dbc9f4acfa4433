"""What others run: the workflow calls .ci/run, hooks call tools that are there, and the citation names the papers."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacos import __version__

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted(path.name for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def loaded(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


WORKFLOW = loaded(".github/workflows/ci.yml")
CITATION = loaded("CITATION.cff")


def commands(job: str) -> list[dict[str, Any]]:
    return [step for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def test_two_pythons_run_what_must_pass_here() -> None:
    assert WORKFLOW["jobs"]["tested"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert [step["run"] for step in commands("tested")] == [".ci/run"]


def test_the_nightly_run_takes_the_newest_versions() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads `on` as true
    assert re.fullmatch(r"\d+ \d+ \* \* \*", triggers["schedule"][0]["cron"])
    assert commands("latest")[0] == {"run": ".ci/run", "env": {"PACOS_VERSIONS": "latest"}}
    assert "schedule" not in WORKFLOW["jobs"]["latest"]["if"] and "push" in WORKFLOW["jobs"]["latest"]["if"]


def test_a_workflow_can_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("job", WORKFLOW["jobs"])
def test_what_a_job_calls_is_there_and_can_be_run(job: str) -> None:
    for step in commands(job):
        program = step["run"].split()[0]
        if program.startswith((".ci/", "scripts/")):
            assert os.access(ROOT / program, os.X_OK)
        for module in re.findall(r"-m (scripts\.\w+)", step["run"]):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_hooks_run_the_locked_tools() -> None:
    [local] = loaded(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert [hook["id"] for hook in local["hooks"]] == ["ruff", "ruff-format", "mypy"]
    for hook in local["hooks"]:
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert re.search(rf"^{Path(tool).name}==", (ROOT / "locks" / "dev.txt").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_asks_labelled_questions(name: str) -> None:
    form = loaded(f".github/ISSUE_TEMPLATE/{name}")
    assert form["name"] and form["description"]
    ids = [question["id"] for question in form["body"]]
    assert len(ids) == len(set(ids)) and all(question["attributes"]["label"] for question in form["body"])


def test_the_citation_is_of_this_version() -> None:
    assert (CITATION["cff-version"], CITATION["version"], CITATION["license"]) == ("1.2.0", __version__, "Apache-2.0")


def test_the_citation_names_the_three_papers() -> None:
    found = [(paper["title"].partition(":")[0], paper["year"], paper["url"]) for paper in CITATION["references"]]
    assert found == [
        ("Self-Instruct", 2022, "https://arxiv.org/abs/2212.10560"),
        ("Stanford Alpaca", 2023, "https://github.com/tatsu-lab/stanford_alpaca"),
        ("Self-Rewarding Language Models", 2024, "https://arxiv.org/abs/2401.10020"),
    ]
    assert all(author["family-names"] for paper in CITATION["references"] for author in paper["authors"])
