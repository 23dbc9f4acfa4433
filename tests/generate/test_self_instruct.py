"""Preset self-instruct: its settings, prompts, parsers and rules on instances."""

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pacos.config import FiltersConfig, GenerateConfig, load_config, parse_config
from pacos.generate import pipeline
from pacos.generate.filtering.filters import task_rules
from pacos.generate.filtering.instances import judge_instances
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import first_broken_rule
from pacos.generate.prompting import follow_ups
from pacos.generate.prompting.instructions import instructions_prompt, instructions_stops, parse_instructions
from pacos.records import Task

ROOT = Path(__file__).resolve().parents[2]
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru")
DATA = ("dataset.jsonl", "rejected.jsonl")

RULES = task_rules(FiltersConfig(preset="self-instruct", defects=False))


def test_the_preset_brings_the_papers_settings_and_the_file_overrides_them() -> None:
    ours = {"preset": "self-instruct", "sampling": {"top_p": 0.9}, "instances": {"max_tokens": 200}}
    generate = parse_config({"name": "a", "model": {"base": "x"}, "generate": ours}, where="test").generate
    lists, kind, examples = generate.sampling, generate.classify, generate.instances
    assert (lists.temperature, lists.top_p, lists.presence_penalty, lists.max_tokens) == (0.7, 0.9, 2.0, 1024)
    assert (kind.temperature, kind.presence_penalty, kind.max_tokens) == (0.0, 0.0, 3)
    assert (examples.temperature, examples.presence_penalty, examples.max_tokens) == (0.0, 1.5, 200)
    assert (generate.seeds_per_request, generate.machine_per_request, generate.filters.preset) == (
        6,
        2,
        "self-instruct",
    )


def test_the_shots_are_as_many_as_published() -> None:
    answers = Counter(shot.rpartition(" ")[2] for shot in follow_ups.CLASSIFY.shots)
    assert answers == {"Yes": 12, "No": 19}
    assert (len(follow_ups.OUTPUT_FIRST.shots), len(follow_ups.INPUT_FIRST.shots)) == (16, 11)


@pytest.mark.parametrize("kind", ["yes", "no"])
def test_every_shot_parses_as_the_instances_it_shows(kind: Any) -> None:
    for shot in follow_ups.ask_for_instances(kind).shots:
        task, _, body = shot.partition("\n")
        verdicts = judge_instances(follow_ups.parse_instances(task.removeprefix("Task: "), kind, body, "stop"), RULES)
        assert [verdict.reason for verdict in verdicts] == [None] * max(
            1, body.count("Class label:"), body.count("Example ")
        )


def test_instances_stop_at_the_sixth_example_and_at_the_next_task() -> None:
    assert follow_ups.INPUT_FIRST.stops == follow_ups.OUTPUT_FIRST.stops == ("\nExample 6", "\nTask:")


def test_the_list_prompt_stops_inside_the_next_item() -> None:
    assert instructions_prompt(["Name a\n lake:", "Say hi."]).endswith("\n1. Name a lake\n2. Say hi.\n3.")
    assert instructions_stops(15, chat=False) == ["\n\n", "\n16."]
    assert instructions_stops(15, chat=True) == ["\n16."]


def test_instructions_may_span_lines_and_keep_their_capitals() -> None:
    text = " explain what Python\nis good for.\n10. 3 apples cost 16. What does one cost?\n**11.** Sort the list:\n12."
    items = parse_instructions(text, "stop")
    assert [item.task.instruction if item.task else item.reason for item in items] == [
        "Explain what Python is good for.",
        "3 apples cost 16. What does one cost?",
        "Sort the list:",
        Reason.NO_INSTRUCTION,
    ]
    assert parse_instructions("\n9. A b c.\n10. D e", "length")[-1].reason is Reason.INCOMPLETE
    assert [item.raw for item in parse_instructions("9. A b c.\n10. D e", "stop")] == ["A b c.", "D e"]


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        (" Find the missing number: 4, 8, 12, __", "Find the missing number: 4, 8, 12, __"),
        (" complete the sentence:  Life is like a ____ ", "Complete the sentence: Life is like a ____"),
        (" Translate into French:\n", "Translate into French:"),
        (" Say which word is **bold**", "Say which word is **bold**"),
        ("9. Say what *this* means: _", "Say what *this* means: _"),
        ("**9. Sort the list.**", "Sort the list."),
        ("**9.** Sort the **whole** list.", "Sort the **whole** list."),
        ("__9__. Sort the list by the __", "Sort the list by the __"),
    ],
)
def test_of_an_instruction_only_white_space_and_its_labels_own_marks_go(text: str, instruction: str) -> None:
    assert [item.task for item in parse_instructions(text, "stop")] == [Task(instruction)]


@pytest.mark.parametrize("text", [" **Bold task** Explain tides in two sentences.", ' "Run" is which part of speech?'])
def test_an_instruction_that_starts_with_punctuation_is_refused_with_its_marks(text: str) -> None:
    [item] = parse_instructions(text, "stop")
    assert item.task
    broken = first_broken_rule(item.task, RULES)
    assert broken and broken.reason is Reason.STARTS_WITH_PUNCTUATION


@pytest.mark.parametrize(
    ("text", "kind"), [(" Yes\n", "yes"), ("**No.**", "no"), (" NO, it", "no"), ("Not", "unknown"), ("", "unknown")]
)
def test_the_answer_to_is_it_classification(text: str, kind: str) -> None:
    assert follow_ups.parse_classification(text) == kind


def judged(kind: Any, text: str, finish_reason: str = "stop") -> list[Any]:
    """(input, output) of each instance, or the reason why it is rejected."""
    verdicts = judge_instances(follow_ups.parse_instances("Do it with care.", kind, text, finish_reason), RULES)
    return [
        (parsed.task.input, parsed.task.output) if parsed.task and not reason else str(reason)
        for parsed, reason in verdicts
    ]


def test_instances_are_parsed_and_judged_by_the_papers_rules() -> None:
    number = "9" * 5_000  # more digits than Python makes a number of
    assert judged("no", f"Example 1\nInput: a\nOutput: b\nExample {number}\nc") == [("a", f"b\nExample {number}\nc")]
    assert judged("no", "Output: An Example of\nExample 7 stays.") == [("", "An Example of\nExample 7 stays.")]
    assert judged("no", "Example 1\nInput: a\nOutput: b\nInput: c\nOutput: d") == [("a", "b")]
    assert judged("no", "Example 1\nA: x\nOutput: y\nExample 2\nA: z\nOutput: cu", "length") == [
        ("A: x", "y"),
        "incomplete",
    ]
    assert judged("no", "nothing here") == ["no_instance"]
    assert judged("no", "Example 1\nA: x\nOutput:\nExample 2\nsame\nOutput: same\nExample 3\nA:\nOutput: y") == [
        "empty_output", "output_copies_input", "ends_with_colon",
    ]  # fmt: skip
    assert judged("yes", "Class label: up\nWord: rise\nClass label: down") == [("Word: rise", "up"), ("", "down")]


@pytest.mark.parametrize("text", ["None", "N/A", "-", "<noinput>", "no input needed"])
def test_labels_and_inputs_that_say_none_stay(text: str) -> None:
    """As in prepare_for_finetuning.py, which empties nothing and looks for no placeholders."""
    rules = task_rules(GenerateConfig.model_validate({"preset": "self-instruct"}).filters)
    cases: tuple[tuple[follow_ups.Classification, str, tuple[str, str]], ...] = (
        ("yes", f"Class label: {text}\nSentence: It rained.", ("Sentence: It rained.", text)),
        ("yes", f"Class label: Person\n{text}", (text, "Person")),
        ("no", f"Example 1\n{text}\nOutput: It rained.", (text, "It rained.")),
        ("no", f"Example 1\nSentence: It rained.\nOutput: {text}", ("Sentence: It rained.", text)),
    )
    for kind, answer, task in cases:
        instances = follow_ups.parse_instances("Name the entity type.", kind, answer, "stop")
        assert [(one.parsed.task, one.reason) for one in judge_instances(instances, rules)] == [
            (Task("Name the entity type.", *task), None)
        ]


def test_one_input_with_two_outputs_rejects_all_and_a_repeated_instance_only_itself() -> None:
    assert judged("yes", "Class label: a\nx\nClass label: b\nx\nClass label: c\nz") == ["contradictory"] * 3
    assert judged("yes", "Class label: a\nClass label: b\nClass label: a") == [("", "a"), ("", "b"), "duplicate"]
    many = "".join(f"Class label: {number}\nword {number}\n" for number in range(7))
    assert judged("yes", many)[5:] == ["past_five"] * 2


@pytest.mark.parametrize("name", ["alpaca", "self-instruct"])
def test_the_full_runs_do_every_stage_and_can_be_planned(name: str) -> None:
    script, file = str(ROOT / "scripts" / name), f"configs/{name}-7b-lora.yaml"
    ended = subprocess.run(
        [script, "--dry-run", "seed=7"], env=os.environ | {"PACOS": "echo"}, capture_output=True, text=True, check=True
    )
    stages = [f"{stage} --config {file} --dry-run seed=7" for stage in ("generate", "train", "evaluate")]
    assert ended.stdout.splitlines() == stages
    config = load_config(ROOT / file)
    plan = "\n".join(pipeline.plan(config))
    assert "per 1,000 accepted tasks" in plan
    # 7 asked for, 60 % accepted: 4 a list; 52,445 instructions are 13,112 lists and twice 52,445 requests about them.
    assert "about 118,002 for 52,445 instructions" in plan or name == "alpaca"
