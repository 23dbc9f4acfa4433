"""The list parser on formatting errors of base models; the upstream parser's yields on them are in research §2."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.generate.filtering.reasons import Reason
from pacos.generate.presets import preset
from pacos.generate.prompting.alpaca import format_item, list_prompt
from pacos.generate.prompting.items import NO_INPUT, is_no_input
from pacos.generate.prompting.parsing import _LABEL, parse_answer
from pacos.records import Task

TASKS = [
    Task("Name the capital of the country.", "France", "Paris"),
    Task("Write a haiku about rain.", "", "Soft rain on the roof\nthe gutters hum to themselves\nI forget the time"),
    Task("Add the two numbers.", "2 and 3", "5"),
]


def answer(tasks: list[Task], first: int = 4) -> str:
    """What a faithful model answers: the prompt already holds the first item's label."""
    text = "".join(format_item(number, task) for number, task in enumerate(tasks, first))
    return text.removeprefix(f"###\n{first}. Instruction:")


def parsed(text: str, finish_reason: str = "stop") -> list[Task | Reason | None]:
    return [item.task or item.reason for item in parse_answer(text, finish_reason)]


def test_a_faithful_answer() -> None:
    assert parsed(answer(TASKS)) == TASKS


def test_the_answer_continues_the_prompt() -> None:
    prompt = list_prompt(TASKS[:2], 1)
    assert prompt.endswith("###\n3. Instruction:")
    assert parsed(answer(TASKS[2:], first=3)) == TASKS[2:]


@pytest.mark.parametrize(
    ("error", "change"),
    [
        ("a repeated number", lambda text: text.replace("5. ", "4. ")),
        ("a skipped number", lambda text: text.replace("6. ", "9. ")),
        ("numbers that start again at 1", lambda text: text.replace("5. ", "1. ").replace("6. ", "2. ")),
        ("two hashes", lambda text: text.replace("###", "##")),
        ("no separators", lambda text: text.replace("###\n", "")),
        ("blank lines", lambda text: text.replace("\n", "\n\n")),
        ("windows line ends", lambda text: text.replace("\n", "\r\n")),
        ("full-width colons and digits' stops", lambda text: text.replace("5. Input:", "5．Input：")),
        ("brackets for dots", lambda text: text.replace("5. ", "5) ")),
        ("labels as headings", lambda text: text.replace("###\n", "### ")),
        ("lower-case labels", lambda text: text.replace("Input:", "input:").replace("Output:", "output:")),
        ("bold labels", lambda text: text.replace("5. Instruction:", "**5. Instruction:**")),
        ("bold label words", lambda text: text.replace("5. Instruction:", "5. **Instruction**:")),
        ("a wrong number on an output", lambda text: text.replace("5. Output:", "6. Output:")),
        ("bare labels", lambda text: text.replace("5. Input:", "Input:").replace("5. Output:", "Output:")),
        ("a bare item under its separator", lambda text: text.replace("5. ", "")),
        ("the stop string's separator", lambda text: text + "###"),
    ],
)
def test_formatting_errors_lose_nothing(error: str, change: Callable[[str], str]) -> None:
    expected = [(task.instruction, task.input, task.output.split()) for task in TASKS]
    tasks = [item for item in parsed(change(answer(TASKS))) if isinstance(item, Task)]
    assert [(task.instruction, task.input, task.output.split()) for task in tasks] == expected


def test_an_item_may_leave_out_its_input() -> None:
    text = answer(TASKS).replace("5. Input:\n<noinput>\n", "")
    assert parsed(text) == TASKS


@pytest.mark.parametrize(
    "output",
    [
        "# Title\n\n###\n\nA line of hashes stands above.\n### A heading",
        "A computer has three parts:\n1. Input: keyboard\n2. Processing: CPU\n3. Output: screen",
        "Output: is what a program prints.",
        "1. first\n2. second\n20. twentieth\n21. Insert a coin",
        "Instruction: a bare label in an answer is text.",
    ],
)
def test_what_looks_like_the_format_inside_an_answer_stays_in_it(output: str) -> None:
    tasks = [TASKS[0], Task("Show an example of it.", "", output), TASKS[2]]
    assert parsed(answer(tasks)) == tasks


def test_two_items_are_never_parsed_as_one() -> None:
    numbered = answer(TASKS).replace("5. Instruction: Write a haiku about rain.\n", "")
    assert parsed(numbered)[0] == TASKS[0]
    assert parsed(numbered)[1] is Reason.NO_INSTRUCTION
    without_separator = numbered.replace("###\n", "")
    assert parsed(without_separator) == [Reason.MIXED_LABELS, TASKS[2]]
    assert parsed(" One.\nInput:\nx\nOutput:\ny\n\nInstruction: Two.\nInput: z\nOutput: w") == [Reason.MIXED_LABELS]
    assert parsed(" One.\n4. Output: a\n4. Output: b") == [Reason.MIXED_LABELS]


def test_an_item_cut_by_the_token_limit_is_incomplete() -> None:
    assert parsed(answer(TASKS), "length") == [*TASKS[:2], Reason.INCOMPLETE]


@pytest.mark.parametrize("cut_after", ["Add the two", "6. Input:", "2 and 3", "6. Output:"])
def test_an_item_that_ends_before_its_output_is_incomplete(cut_after: str) -> None:
    text = answer(TASKS)
    assert parsed(text[: text.index(cut_after) + len(cut_after)]) == [*TASKS[:2], Reason.INCOMPLETE]


def test_an_item_in_the_middle_without_an_output_says_so() -> None:
    text = answer(TASKS)
    assert parsed(text.replace("4. Output:\nParis\n", ""))[0] is Reason.NO_OUTPUT
    assert parsed(text.replace("Paris", ""))[0] is Reason.NO_OUTPUT


@pytest.mark.parametrize("text", ["None", "N/A", "-", "NA", "No input", r"\<noinput>", "<noinput>.", "< noinput >"])
def test_alpaca_original_keeps_every_input_but_the_mark(text: str) -> None:
    """stanford_alpaca empties an input that is `<noinput>`, in any case, and no other."""
    parse = preset("alpaca-original").lists.parse
    written = answer([Task("Say what is missing.", text, "The input.")])
    assert [item.task for item in parse(written, "stop")] == [Task("Say what is missing.", text, "The input.")]
    assert parsed(written) == [Task("Say what is missing.", "", "The input.")]
    for mark in ("<noinput>", "<NoInput>"):
        assert [item.task for item in parse(written.replace(text, mark), "stop")] == [
            Task("Say what is missing.", "", "The input.")
        ]


def test_alpaca_original_keeps_an_item_with_an_empty_output() -> None:
    """Upstream's rule looks at the instruction alone; 28 of the released rows have no output."""
    written = answer([Task("Name the capital.", "France", ""), Task("Name the river.", "Paris", "")])
    kept = preset("alpaca-original").lists.parse(written, "stop")
    assert [item.task for item in kept] == [
        Task("Name the capital.", "France", ""),
        Task("Name the river.", "Paris", ""),
    ]
    assert parsed(written) == [Reason.NO_OUTPUT, Reason.INCOMPLETE]
    assert preset("alpaca-original").lists.parse(written, "length")[-1].reason is Reason.INCOMPLETE


@pytest.mark.parametrize("blank", ["__", "___", "____"])
def test_a_blank_to_fill_in_stays_at_either_end_of_every_field(blank: str) -> None:
    text = f" {blank} is the capital of France.\n4. Input: {blank}\n4. Output: Paris, not {blank}\n"
    assert parsed(text) == [Task(f"{blank} is the capital of France.", blank, f"Paris, not {blank}")]
    text = f"4. Instruction: {blank} is the capital of France.\n4. Input:\nParis {blank}\n4. Output:\n{blank}"
    assert parsed("\n" + text)[-1] == Task(f"{blank} is the capital of France.", f"Paris {blank}", blank)


def test_every_item_keeps_its_raw_text() -> None:
    items = parse_answer(answer(TASKS), "stop")
    assert items[1].raw == format_item(5, TASKS[1]).removeprefix("###\n").strip()
    assert parse_answer("", "stop")[0].raw == ""


@pytest.mark.parametrize(
    "text",
    [
        NO_INPUT,
        "<NoInput>",
        "noinput",
        "No input",
        "no input required.",
        "None",
        "(none)",
        "N/A",
        '"n/a"',
        "<no input>",
        r"\<noinput>",
        r"\<noinput\>",
        "NA",
        "-",
    ],
)
def test_ways_of_saying_no_input(text: str) -> None:
    assert is_no_input(text)


@pytest.mark.parametrize(
    "text", ["None of the above", "Na", "na", "no", "Nonet", "input", "0", "Not applicable law", "a - b", "\\"]
)
def test_inputs_that_only_resemble_no_input_are_kept(text: str) -> None:
    assert not is_no_input(text)


line = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=30)
word = st.sampled_from(["###", "##", "1. Input", "Output", "12.", "**", "Instruction", "say", ":", "<noinput>"])
lines = st.lists(st.one_of(line, word, st.lists(word, max_size=4).map(" ".join)), max_size=5)


def stays_text(text: str) -> bool:
    """Neither a label, nor what is stripped from an answer's edges on purpose."""
    return not (_LABEL.search(text) or text.startswith("**") or text.endswith("##") or is_no_input(text))


content = lines.map("\n".join).map(str.strip).filter(lambda text: not text or stays_text(text))
tasks = st.builds(
    Task,
    instruction=content.map(lambda text: " ".join(["Say", *text.split()]).rstrip(": ")),
    input=content,
    output=content.map(lambda text: f"So {text}".strip()),
)


@given(st.lists(tasks, min_size=1, max_size=4), st.integers(1, 30))
def test_formatted_tasks_come_back(listed: list[Task], first: int) -> None:
    assert parsed(answer(listed, first)) == listed


labels = st.builds(
    "{}{}. {}:{}\n".format,
    st.sampled_from(["", "###\n", "**"]),
    st.integers(0, 9),
    st.sampled_from(["Instruction", "Input", "Output"]),
    st.sampled_from(["", " text", "**"]),
)


@given(st.lists(st.one_of(labels, st.text(max_size=12)), max_size=14).map("".join), st.sampled_from(["stop", "length"]))
def test_any_text_is_parsed_into_items_that_are_tasks_or_have_a_reason(text: str, finish_reason: str) -> None:
    items = parse_answer(text, finish_reason)
    assert items
    for item in items:
        assert (item.task is None) != (item.reason is None)
        assert item.task is None or (item.task.instruction and item.task.output)
        assert item.raw in text


@pytest.mark.parametrize("blanks", [" " * 100_000, "#### " + " \t" * 50_000, "**" + " " * 100_000])
def test_long_runs_of_blanks_are_parsed_without_backtracking(blanks: str) -> None:
    """A label pattern with two adjacent runs of blanks would need hours here."""
    assert parsed(answer(TASKS).replace("France", f"France\n{blanks}|")) == [
        Task(TASKS[0].instruction, f"France\n{blanks}|", "Paris"),
        *TASKS[1:],
    ]
