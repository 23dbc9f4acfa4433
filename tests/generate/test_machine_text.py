"""What models and servers put around an answer is taken for no task: thoughts, fences, control tokens, odd forms."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pacos.config import FiltersConfig, GenerateConfig, LimitsConfig
from pacos.files import read_jsonl, write_jsonl
from pacos.generate.curate import curate, filter_file
from pacos.generate.filtering.defects import control_tokens, invisible_characters, placeholder_output
from pacos.generate.filtering.reasons import Reason
from pacos.generate.presets import preset
from pacos.generate.prompting.alpaca import format_item
from pacos.generate.prompting.follow_ups import parse_classification, parse_instances
from pacos.generate.prompting.instructions import parse_instructions
from pacos.generate.prompting.parsing import parse_answer
from pacos.records import Task
from tests.support.linear_time import least_seconds

TASKS = [
    Task("Name a river of Asia.", "", "The Indus."),
    Task("Say it in other words.", "It rains.", "Rain is falling."),
    Task("Explain why dough rises.", "", "Yeast turns sugar into gas."),
]
DRAFT = "###\n1. Instruction: Draft an idea to be thrown away.\n1. Input:\n<noinput>\n1. Output: Not good, drop it.\n"
CUT_OFF = ["length", "abort", "error", "content_filter", "ABORT"]


def listed(tasks: list[Task] = TASKS) -> str:
    return "".join(format_item(number, task) for number, task in enumerate(tasks, 4))


def tasks_in(text: str, finish_reason: str = "stop") -> list[Task]:
    return [item.task for item in parse_answer(text, finish_reason) if item.task]


@pytest.mark.parametrize(
    "thought",
    [
        f"<think>\n{DRAFT}</think>\n\n",
        f" <think>{DRAFT}That will do.</think>\n",
        f"<thinking>\n{DRAFT}</thinking>",
        f"[THINK]{DRAFT}[/THINK]",
        f"{DRAFT}\n</think>\n\n",
        f"<think>\n{DRAFT}</think>\n<think>\n{DRAFT}</think>\n",
    ],
)
def test_a_draft_in_a_thought_is_no_task(thought: str) -> None:
    assert tasks_in(thought + listed()) == TASKS


def test_an_unfinished_thought_has_no_tasks() -> None:
    [item] = parse_answer(f"<think>\n{DRAFT}{listed()}", "length")
    assert (item.task, item.reason) == (None, Reason.INCOMPLETE)
    assert item.raw.startswith("<think>\n###\n1. Instruction: Draft"), "the ledger shows what was refused"
    assert tasks_in(f"{listed()}<think>\n{DRAFT}") == TASKS


def test_tags_that_a_task_speaks_of_are_text() -> None:
    task = Task("Explain the <think> tag of a reasoning model.", "", "It ends with </think>, then the answer follows.")
    assert tasks_in(listed([task, *TASKS])) == [task, *TASKS]


@pytest.mark.parametrize("name", ["alpaca", "alpaca-original", "self-instruct", "self-rewarding"])
def test_no_preset_takes_drafts_or_the_end_of_a_cut_answer(name: str) -> None:
    lists = preset(name).lists
    answer = listed() if lists.whole_tasks else "".join(f"{n}. {task.instruction}\n" for n, task in enumerate(TASKS, 9))
    found = [item.task.instruction for item in lists.parse(f"<think>{DRAFT}</think>\n{answer}", "stop") if item.task]
    assert found == [task.instruction for task in TASKS]
    for reason in CUT_OFF:
        assert lists.parse(answer, reason)[-1].reason is Reason.INCOMPLETE


def test_thoughts_before_an_answer_to_a_follow_up_are_passed_over() -> None:
    assert parse_classification("<think>\nNo, or yes?\n</think>\n\nYes.") == "yes"
    assert parse_classification("<think>\nNo, or") == "unknown"
    text = "<think>Output: a draft</think>\nInput: 2 and 3\nOutput: 5<|im_end|>"
    [item] = parse_instances("Add the numbers.", "no", text, "stop")
    assert item.task == Task("Add the numbers.", "2 and 3", "5")
    for reason in CUT_OFF:
        assert parse_instances("Add the numbers.", "no", text, reason)[-1].reason is Reason.INCOMPLETE


@pytest.mark.parametrize(
    "fenced",
    [
        "```markdown\n{}```",
        "```\n{}\n```\n",
        "Here is the list:\n\n~~~text\n{}~~~",
        "{}```<|im_end|>",
        "{}<|im_end|>\n```",
        "{}###\n```",
    ],
)
def test_a_fence_around_a_list_is_taken_off(fenced: str) -> None:
    assert tasks_in(fenced.format(listed())) == TASKS


def test_items_may_be_fenced_one_by_one() -> None:
    text = "\n\n".join(f"```\n{format_item(number, task)}```" for number, task in enumerate(TASKS, 4))
    assert tasks_in(text) == TASKS


def test_a_fence_that_belongs_to_an_output_stays() -> None:
    code = Task("Print a word in Python.", "", 'Like this:\n```python\nprint("word")\n```')
    assert tasks_in(listed([code, *TASKS, code])) == [code, *TASKS, code]
    assert tasks_in(f"```\n{listed([*TASKS, code])}```") == [*TASKS, code]


@pytest.mark.parametrize(
    "token", ["<|im_end|>", "</s>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "[/INST]"]
)
def test_control_tokens_at_the_end_of_a_text_are_cut(token: str) -> None:
    text = listed()
    for task in TASKS:
        text = text.replace(task.output, f"{task.output}{token} {token}\n")
    assert tasks_in(text) == TASKS


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"output": "Gas.<|im_end|>\n<|im_start|>user\nThanks."}, True),
        ({"output": "Gas.</s> More."}, True),
        ({"input": "[INST] Hi [/INST]"}, True),
        ({"output": "It was <s>wrong</s> right."}, False),
        ({"output": "f <| x |> g, and a | b"}, False),
    ],
)
def test_control_tokens_inside_a_text_are_a_defect(parts: dict[str, str], found: bool) -> None:
    assert (control_tokens(Task("Tell me about it.", **parts)) is not None) is found


@pytest.mark.parametrize(
    ("error", "change"),
    [
        ("numbers in parentheses", lambda number: f"({number})"),
        ("numbers in brackets", lambda number: f"[{number}]"),
        ("a bullet before the number", lambda number: f"- {number}."),
        ("a star, and a parenthesis behind the number", lambda number: f"* {number})"),
        ("a parenthesis alone", lambda number: f"{number})"),
    ],
)
def test_other_ways_to_number_a_list(error: str, change: Callable[[int], str]) -> None:
    text = listed()
    for number in (4, 5, 6):
        text = text.replace(f"{number}. ", f"{change(number)} ")
    assert tasks_in(text) == TASKS


def test_instructions_may_be_numbered_in_other_ways() -> None:
    for form in ("({})", "- {}.", "* **{}.**"):
        text = "".join(f"{form.format(n)} {task.instruction}\n" for n, task in enumerate(TASKS, 9))
        found = [item.task for item in parse_instructions(text, "stop") if item.task]
        assert found == [Task(task.instruction) for task in TASKS]
    parts = "Answer both:\n(1) Who was it?\n(2) Why then?"
    assert [item.task for item in parse_instructions(parts, "stop")] == [Task(" ".join(parts.split()))]


ROWS = [{"instruction": task.instruction, "input": task.input, "output": task.output} for task in TASKS]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        f"Here they are:\n```json\n{json.dumps(ROWS, indent=2)}\n```\nI hope this helps.",
        "\n".join(json.dumps(row) for row in ROWS),
        json.dumps({"tasks": ROWS}),
        json.dumps([{key.title(): value for key, value in row.items()} for row in ROWS]),
        json.dumps([{key: value or None for key, value in row.items()} for row in ROWS]),
        f"<think>\n{json.dumps(ROWS[::-1])}\n</think>\n{json.dumps(ROWS)}",
    ],
)
def test_json_answers_are_read(text: str) -> None:
    assert tasks_in(text) == TASKS


def test_a_cut_json_answer_keeps_what_is_whole() -> None:
    for text in (json.dumps(ROWS), json.dumps({"tasks": ROWS})):
        items = parse_answer(text[: text.index("Yeast") + 9], "length")
        assert [item.task or item.reason for item in items] == [*TASKS[:2], Reason.INCOMPLETE]
    assert [item.task or item.reason for item in parse_answer(json.dumps(ROWS), "abort")][-1] is Reason.INCOMPLETE


def test_json_items_that_are_no_tasks_have_a_reason() -> None:
    rows = [
        {"instruction": "Name two colours.", "output": ["red", "blue"]},
        {"instruction": "Say nothing.", "output": ""},
        {"instruction": "", "output": "Yes."},
        {"instruction": "Add 2 and 3.", "output": 5},
        {"instruction": "Show half a pair.", "output": "\ud83d"},
    ]
    assert [item.task or item.reason for item in parse_answer(json.dumps(rows), "stop")] == [
        Reason.NOT_TEXT,
        Reason.NO_OUTPUT,
        Reason.NO_INSTRUCTION,
        Task("Add 2 and 3.", "", "5"),
        Reason.NOT_TEXT,
    ]


def test_a_broken_json_item_does_not_cost_its_neighbours() -> None:
    text = json.dumps(ROWS).replace('"Rain is falling."', "Rain is falling.")
    assert [item.task or item.reason for item in parse_answer(text, "stop")] == [TASKS[0], Reason.INCOMPLETE, TASKS[2]]


def test_json_that_a_task_shows_is_text() -> None:
    shown = Task("Write a row of a task list as JSON.", "", json.dumps(ROWS[0]))
    assert tasks_in(listed([shown, *TASKS])) == [shown, *TASKS]


def test_windows_newlines_are_newlines(tmp_path: Path) -> None:
    task = Task("List three colours of a light.", "a\nb", "red\namber\ngreen")
    assert tasks_in(listed([task, *TASKS]).replace("\n", "\r\n")) == [task, *TASKS]
    row = {"instruction": task.instruction, "input": "a\r\nb", "output": "red\r\namber\r\ngreen"}
    write_jsonl(tmp_path / "tasks.jsonl", [row, row | {"instruction": "Describe one old bell.", "output": "a\rb"}])
    stats = filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, FiltersConfig())
    assert stats.funnel.rejected == {Reason.CONTROL_CHARACTERS: 1}
    [(_, kept)] = read_jsonl(tmp_path / "out" / "dataset.jsonl")
    assert (kept["input"], kept["output"]) == (task.input, task.output)


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("Na\u200bme a river.", "U+200B"),
        ("\ufeffName a river.", "U+FEFF"),
        ("\u202eName a river.", "U+202E"),
        ("Name\u200d a river.", "U+200D"),
        ("Name\u200f a river.", "U+200F"),
        ("Name \u2067a river\u2069.", "U+2067"),
        ("Name a\u2060 river.", "U+2060"),
        ("نام\u202e رود", "U+202E"),
        ("Name a river.", None),
        ("Où est l'été ?", None),
        ("می\u200cخواهم PDF\u200cها", None),
        ("क्\u200dष", None),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2764\ufe0f\u200d\U0001f525", None),
        ("שלום\u200f abc \u2067x\u2069", None),
        ("ภาษา\u200bไทย", None),
    ],
)
def test_invisible_characters_are_a_defect_where_the_script_does_not_use_them(text: str, character: str | None) -> None:
    expected = {"character": character} if character else None
    assert invisible_characters(Task(text)) == invisible_characters(Task("Repeat it.", "", text)) == expected


def test_novelty_does_not_see_invisible_characters(tmp_path: Path) -> None:
    texts = ["Name three rivers of Asia.", "Na\u200bme thr\u00adee riv\u200bers of As\u2060ia."]
    write_jsonl(tmp_path / "tasks.jsonl", [{"instruction": text, "output": "Yes."} for text in texts])
    for filters, copies in (
        (FiltersConfig(defects=False, tokenizer="unicode"), 1),
        (FiltersConfig(defects=False), 0),  # the published rules, by rouge_score's tokens
    ):
        stats = filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, filters)
        assert stats.funnel.rejected.get("novelty", 0) == copies


@pytest.mark.parametrize("reason", CUT_OFF)
def test_curate_drops_the_last_item_of_an_answer_that_the_server_ended(tmp_path: Path, reason: str) -> None:
    write_jsonl(tmp_path / "in" / "responses.jsonl", [{"request": 0, "text": listed()[:-8], "finish_reason": reason}])
    config = GenerateConfig(filters=FiltersConfig(limits=LimitsConfig(min_instruction=1)))
    stats = curate(tmp_path / "in" / "responses.jsonl", tmp_path / "out", config)
    assert stats.funnel.rejected["incomplete"] == 1
    assert [row["output"] for _, row in read_jsonl(tmp_path / "out" / "dataset.jsonl")] == [
        "The Indus.",
        "Rain is falling.",
    ]


HOSTILE: list[Callable[[int], object]] = [
    lambda n: placeholder_output(Task("x", "", "no output" + " " * n + "x\ny")),
    lambda n: placeholder_output(Task("x", "", " <" * n + "y")),
    lambda n: parse_answer(" x\n4. Output: y\n" + "<think>" * n, "stop"),
    lambda n: parse_answer(" x\n4. Output: y\n" + "```\n" * n, "stop"),
    lambda n: parse_answer(" x\n4. Output: y" + " </s>" * n, "stop"),
    lambda n: parse_answer(" x\n4. Output: y\n```" + " " * n + "z", "stop"),
    lambda n: parse_answer('[{"instruction": "x", "output": "y"},' + '{"a":' * n, "stop"),
    lambda n: parse_answer('[{"instruction": "x", "output": "y"},' + '{"' * n, "stop"),
    lambda n: parse_answer("[" + "\n" * n + '{"a"' + " " * n, "stop"),
    lambda n: invisible_characters(Task("x", "", "\u200c" + "é " * n)),
]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_text_costs_in_proportion_to_its_length(place: int) -> None:
    """Sixteen times the length takes about sixteen times as long; quadratic growth takes 256 times."""
    short, long = (least_seconds(partial(HOSTILE[place], size)) for size in (2_000, 32_000))
    assert long < 80 * max(short, 2e-4)
