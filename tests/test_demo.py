import dataclasses
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM

from demo.check import correct_answers
from demo.corpus import stretches, whole_lists
from demo.families import FAMILIES, compose, is_correct, recognise
from demo.muon import Muon
from demo.overlap import SuiteIndex, texts_of
from demo.suite import FOLDER, suite_files
from demo.suite_text import SUITE
from pacos.config_file import load_config
from pacos.records import Task
from pacos.rouge import NoveltyIndex
from tests.conftest import ROOT

OFFICIAL_CATEGORIES = {
    "Textual Entailment",
    "Coreference Resolution",
    "Answerability Classification",
    "Word Analogy",
    "Cause Effect Classification",
    "Dialogue Act Recognition",
    "Title Generation",
    "Question Rewriting",
    "Data to Text",
    "Keyword Tagging",
    "Overlap Extraction",
    "Grammar Error Correction",
}


def test_there_are_at_least_sixty_families_with_names_of_their_own():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) >= 60


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_knows_its_tasks_and_tells_right_answers_from_wrong_ones(family):
    rng = Random(family.name)
    for task in (compose(family, rng) for _ in range(60)):
        assert recognise(task.instruction) is family
        assert is_correct(task) is True
        assert is_correct(dataclasses.replace(task, output=f"{task.output} indeed")) is False
        assert is_correct(dataclasses.replace(task, output="")) is False


def test_an_instruction_of_no_family_is_not_judged():
    task = Task("Write a limerick about a lighthouse keeper.", "", "There once was a man by the sea.")
    assert recognise(task.instruction) is None
    assert is_correct(task) is None


def test_unrecognised_rows_count_against_the_share_of_correct_answers():
    right = compose(FAMILIES[0], Random(0))
    wrong = dataclasses.replace(right, output="no answer at all")
    stranger = Task("Write a limerick about a lighthouse keeper.", "", "There once was a man by the sea.")
    report = correct_answers([right, right, wrong, stranger])
    assert (report["rows"], report["unrecognised"], report["correct"]) == (4, 1, 2)
    assert report["correct_share"] == 0.5


def test_a_perfect_sampler_of_the_families_gets_hundreds_of_tasks_past_the_novelty_filter():
    rng = Random(0)
    pool = NoveltyIndex(0.7)
    for number in range(1_500):
        instruction = compose(rng.choice(FAMILIES), rng).instruction
        if pool.rejects(instruction) is None:
            pool.add(str(number), instruction)
    assert len(pool) > 500


def test_the_corpus_repeats_itself_and_holds_no_training_template():
    documents = [*islice(stretches(3), 50), *islice(whole_lists(3), 20)]
    assert documents == [*islice(stretches(3), 50), *islice(whole_lists(3), 20)]
    text = "".join(span.text for document in documents for span in document.spans())
    assert "### Instruction" not in text
    assert "### Response" not in text


def test_no_text_of_the_suite_is_in_the_corpus():
    tasks = [task for document in islice(stretches(5), 300) for task in document.tasks]
    assert SuiteIndex().overlaps(texts_of(tasks)) == []


def test_the_overlap_check_finds_what_was_planted():
    given, references = SUITE[-1].pairs()[0]
    found = SuiteIndex().overlaps([given.upper(), references[0].replace("desk", "table"), "Yes", "an unrelated text"])
    assert [overlap.measure for overlap in found] == ["exact", "rougeL"]


def test_the_suite_on_disk_is_what_its_script_writes():
    written = {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*.*")
        if path.is_file()
    }
    assert written == suite_files()


def test_the_suite_covers_every_category_in_supernis_shape():
    tasks = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "tasks").glob("*.json"))]
    assert {category for task in tasks for category in task["Categories"]} == OFFICIAL_CATEGORIES
    assert len(tasks) >= 12
    for task in tasks:
        assert len(task["Definition"]) == 1
        assert len(task["Positive Examples"]) >= 2
        assert len({instance["id"] for instance in task["Instances"]}) == len(task["Instances"]) >= 20
        for instance in task["Instances"]:
            assert len(instance["input"].split()) <= 60
            assert instance["output"]
            assert all(reference.strip() for reference in instance["output"])
        shown = {example["input"] for example in task["Positive Examples"]}
        assert shown.isdisjoint(instance["input"] for instance in task["Instances"])


def test_no_family_recognises_a_task_of_the_suite():
    assert not [task.file_name for task in SUITE if recognise(task.definition)]


def test_the_quickstart_tunes_the_demo_base_on_the_demo_suite():
    config = load_config(Path("configs/quickstart.yaml"))
    assert {suite.path for suite in config.evaluate.suites} == {"demo/suite"}
    assert config.generate.target >= 100


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_muon_steps_as_torchs_does_but_for_its_bfloat16(shape):
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=draw)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.1),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=draw)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.norm(ours - theirs) < 0.03 * torch.norm(theirs - start)


def test_the_base_comes_from_its_command_and_is_not_built_twice(tmp_path):
    command = [sys.executable, "-m", "demo.base", "--out", str(tmp_path / "base"), "--steps", "2", "--threads", "1"]
    for expected in ("built in", "already built"):
        ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert expected in ended.stdout
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "base").num_parameters() > 4_000_000
