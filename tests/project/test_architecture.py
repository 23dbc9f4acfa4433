"""docs/architecture.md is true: its tree is the source's, and its examples of additions work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.source_tree import PAGE, ROOT, page_with_tree

EXAMPLE = re.compile(
    r"### (?P<title>[^\n]+)\n.*?`(?P<file>\w+\.py)`, in `extensions\.(?P<table>\w+)`:\s+"
    r'`"(?P<name>[\w-]+)": "(?P<place>[\w.]+:\w+)"`.*?```python\n(?P<code>.*?)```',
    re.DOTALL,
)

# What each addition must do once its line is in the table; `base` is a tiny model.
CHECKS = """
import json, sys
import torch
from pacos import extensions
for table, name, place in json.loads(sys.argv[1]):
    getattr(extensions, table)[name] = place
from pacos.config import load_config
from pacos.records import Task

base = sys.argv[2]
suites = "evaluate.suites=[{name: own, path: x, prompt: bare}]"
words = ["generate.preset=short-lists", "generate.filters.preset=calm", "train.template=question", suites]
config = load_config(None, ["name=added", f"model.base={base}", "train.method=lora-float32", *words])

from pacos.templates import template
assert template("question").render(Task("Why?", "", "So."), "") == ("Question: Why?\\nAnswer:", " So.")
assert len(template("question").sha256) == 64

assert config.generate.tasks_per_request == 5
from pacos.generate.filtering.filters import task_rules
from pacos.generate.filtering.rule import first_broken_rule
shouted = first_broken_rule(Task("NAME FIVE KINDS OF RED FRUIT", "", "x"), task_rules(config.generate.filters))
assert shouted.reason == "shouting"

from pacos.evaluate.metrics import score_answer
assert score_answer("It is Paris, of course.", ["Paris"])["contains"] == 100.0

from pacos.superni.prompts import prompt_preset
assert len(prompt_preset("bare").sha256) == 64

from pacos.evaluate.judge.kinds import judge_kind
assert judge_kind("strict").name == "strict" and "nothing could be better" in judge_kind("strict").prompt

from pacos.train.attention.dispatch import SEGMENTS, register_attention
from pacos.train.model.load import load_model
register_attention()
model = load_model(config, "cpu", SEGMENTS)
assert {weight.dtype for weight in model.parameters()} == {torch.float32}

per_example = load_config(None, ["name=added", f"model.base={base}", "train.objective=sft-per-example"]).train
from pacos.train.data.examples import Example
from pacos.train.interfaces import objective_of
from pacos.train.packing.batch import collate
from pacos.train.attention.dispatch import plain_attention
from pacos.train.isolation import logits_alone
examples = [Example(ids=[1, 5, 6, 7, 8], prompt_length=3, row="a"), Example(ids=[1, 9, 10], prompt_length=2, row="b")]
loss = objective_of(per_example).loss(per_example)
found, _ = loss.sums(model.eval(), collate([examples], 8, 0), examples)
with plain_attention(model):
    alone = logits_alone(model, examples)
expected = sum(
    torch.nn.functional.cross_entropy(logits[one.prompt_length - 1 :], torch.tensor(one.ids[one.prompt_length :]))
    for one, logits in zip(examples, alone)
)
assert loss.count([(one,) for one in examples]) == 2
assert torch.allclose(found, expected, rtol=1e-4), (found, expected)
"""


def test_the_tree_is_that_of_the_source() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_tree(page), "run `python -m tests.support.source_tree`"


def test_every_file_that_the_documents_name_is_there() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]:
        if page.name in ("formats.md", "AGENTS.md"):  # files of a run; test_agents.py
            continue
        named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml|md))`", page.read_text(encoding="utf-8")))
        assert not [name for name in named if not (ROOT / name).exists()], page.name


def test_every_addition_shown_works(tmp_path: Path, tiny_base: Path) -> None:
    found = [match.groupdict() for match in EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))]
    assert {one["table"] for one in found} == {
        "TEMPLATES", "PRESETS", "FILTER_PRESETS", "OBJECTIVES", "METHODS", "METRICS", "PROMPTS", "JUDGE_KINDS",
    }  # fmt: skip
    for one in found:
        (tmp_path / one["file"]).write_text(one["code"], encoding="utf-8")
    lines = json.dumps([[one["table"], one["name"], one["place"]] for one in found])
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", CHECKS, lines, str(tiny_base)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
