import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.errors import DataError
from pacos.superni import read_suite, render, tk_instruct_def
from tests.superni_folder import instances, write_superni


def test_a_suite_takes_the_first_100_instances_of_each_task_in_order(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}, "task2_b": {}})
    suite = read_suite(folder)
    assert [one.id for one in suite.instances] == [f"a-{i}" for i in range(100)] + [f"task2_b-{i}" for i in range(3)]
    assert suite.n_expected == 103
    assert suite.track == "default"


def test_a_limit_takes_fewer_and_is_no_longer_the_whole_suite(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}, "task2_b": {}})
    suite = read_suite(folder, limit=2)
    assert [one.id for one in suite.instances] == ["a-0", "a-1", "task2_b-0", "task2_b-1"]
    assert suite.n_expected == 103


def test_no_limit_goes_beyond_the_official_100(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}})
    assert len(read_suite(folder, limit=130).instances) == 100


def test_absent_tasks_are_counted_as_100_instances_each(tmp_path: Path) -> None:
    suite = read_suite(write_superni(tmp_path, {"task1_a": {}}, listed=["task1_a", "task9_gone"]))
    assert suite.absent == ["task9_gone"]
    assert suite.n_expected == 103
    assert suite.coverage == "3 of 103 instances, 1 of 2 tasks present"


def test_the_category_is_the_first_in_the_form_of_the_published_script(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Categories": ["Textual Entailment", "Other"]}})
    assert {one.category for one in read_suite(folder).instances} == {"textual_entailment"}


def test_the_folder_of_tasks_or_the_split_file_name_the_suite_too(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {}})
    foreign = folder / "splits" / "xlingual" / "test_tasks.txt"
    foreign.parent.mkdir()
    foreign.write_text("task1_a\n", encoding="utf-8")
    assert read_suite(folder / "tasks").instances == read_suite(folder).instances
    assert read_suite(foreign).track == "xlingual"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Instances": [{"id": "x", "input": "a", "output": []}]}, r"task1_a\.json: Instances\[0\]: .*`output`"),
        ({"Instances": [{"id": "x", "input": "a"}]}, r"Instances\[0\]: .*`output`"),
        ({"Instances": [{"id": "x", "output": ["a"]}]}, r"Instances\[0\]: .*`input`"),
        ({"Instances": instances("a", 2) + instances("a", 1)}, "two instances have the id 'a-0'"),
        ({"Instances": []}, "`Instances`"),
        ({"Definition": []}, "`Definition` is missing or empty"),
        ({"Categories": None}, "`Categories` is missing or empty"),
    ],
)
def test_a_task_that_is_not_one_is_named_with_what_is_wrong(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_suite(write_superni(tmp_path, {"task1_a": keys}))


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {}})
    path = folder / "tasks" / "task1_a.json"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(DataError, match=r"task1_a\.json: not JSON, or cut short"):
        read_suite(folder)


def test_a_folder_without_split_or_without_any_listed_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no test split"):
        read_suite(tmp_path)
    with pytest.raises(DataError, match="none of the 1 tasks"):
        read_suite(write_superni(tmp_path / "suite", {"task1_a": {}}, listed=["task2_b"]))
    with pytest.raises(DataError, match="lists task1_a twice"):
        read_suite(write_superni(tmp_path / "twice", {"task1_a": {}}, listed=["task1_a", "task1_a"]))
    with pytest.raises(DataError, match="no such folder"):
        read_suite(tmp_path / "nowhere")


def test_the_real_slice_says_that_it_is_a_part_of_11810(shared_data: Path) -> None:
    suite = read_suite(shared_data / "superni")
    assert suite.n_expected == 11_810
    assert suite.coverage.endswith(f"of 11,810 instances, {len(suite.files)} of 119 tasks present")
    assert all(one.references and one.input for one in suite.instances)
    assert len({one.category for one in suite.instances}) == 12


def reference_tk_instruct(definition: str, input: str) -> str:
    """Written from the encoding's description: each part ends in punctuation, the cue ends in a space."""
    parts = ["Definition: " + definition.strip(), "Input: " + input.strip()]
    closed = [part if part[-1] in set(string.punctuation) else part + "." for part in parts]
    return closed[0] + "\n\nNow complete the following example -\n" + closed[1] + "\nOutput: "


def test_tk_instruct_prompts_on_all_119_real_definitions(shared_data: Path) -> None:
    headers = (shared_data / "superni" / "test_task_headers.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(headers) == 119
    for line in headers:
        header = json.loads(line)
        for example in header["Positive Examples"]:
            expected = reference_tk_instruct(header["Definition"][0], example["input"])
            assert tk_instruct_def(header["Definition"][0], example["input"]) == expected
            assert render("tk-instruct:def", header["Definition"][0], example["input"]) == expected[:-1]


def test_tk_instruct_prompt_byte_for_byte() -> None:
    assert tk_instruct_def(" Name the colour ", "a red ball\n") == (
        "Definition: Name the colour.\n\nNow complete the following example -\nInput: a red ball.\nOutput: "
    )
    assert tk_instruct_def("Which one?", "A or B?") == (
        "Definition: Which one?\n\nNow complete the following example -\nInput: A or B?\nOutput: "
    )


def test_alpaca_prompt_has_the_definition_as_instruction() -> None:
    prompt = render("alpaca", "Name the colour. ", " a red ball ")
    assert "\n\n### Instruction:\nName the colour.\n\n### Input:\na red ball\n\n### Response:" in prompt
    assert "### Input" not in render("alpaca", "Name a colour.", " ")


@given(st.text(), st.text())
def test_prompts_keep_their_cue_and_their_texts_whatever_they_hold(definition: str, input: str) -> None:
    prompt = render("tk-instruct:def", definition, input)
    assert prompt.endswith("\nOutput:")
    assert definition.strip() in prompt and input.strip() in prompt
    assert render("alpaca", definition, input).endswith("\n\n### Response:")
