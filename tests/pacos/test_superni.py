import json
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import DataError
from pacos.superni.tasks import Demonstration, read_test_split
from tests.support.superni_folder import instances, write_superni


def test_a_suite_takes_the_first_100_instances_of_each_task_in_order(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}, "task2_b": {}})
    suite = read_test_split(folder)
    assert [one.id for one in suite.instances] == [f"a-{i}" for i in range(100)] + [f"task2_b-{i}" for i in range(3)]
    assert suite.n_expected == 103
    assert suite.track == "default"


def test_a_limit_takes_fewer_and_is_no_longer_the_whole_suite(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}, "task2_b": {}})
    suite = read_test_split(folder, limit=2)
    assert [one.id for one in suite.instances] == ["a-0", "a-1", "task2_b-0", "task2_b-1"]
    assert suite.n_expected == 103


def test_no_limit_goes_beyond_the_official_100(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Instances": instances("a", 130)}})
    assert len(read_test_split(folder, limit=130).instances) == 100


def test_absent_tasks_are_counted_as_100_instances_each(tmp_path: Path) -> None:
    suite = read_test_split(write_superni(tmp_path, {"task1_a": {}}, listed=["task1_a", "task9_gone"]))
    assert suite.absent == ["task9_gone"]
    assert suite.n_expected == 103
    assert suite.coverage == "3 of 103 instances, 1 of 2 tasks present"


def test_the_category_is_the_first_in_the_form_of_the_published_script(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {"Categories": ["Textual Entailment", "Other"]}})
    assert {one.category for one in read_test_split(folder).instances} == {"textual_entailment"}


def test_the_folder_of_tasks_and_the_split_file_name_the_suite_as_well(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {}})
    foreign = folder / "splits" / "xlingual" / "test_tasks.txt"
    foreign.parent.mkdir()
    foreign.write_text("task1_a\n", encoding="utf-8")
    assert read_test_split(folder / "tasks").instances == read_test_split(folder).instances
    assert read_test_split(foreign).track == "xlingual"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Instances": [{"id": "x", "input": "a", "output": []}]}, r"task1_a\.json: Instances\[0\]: .*`output`"),
        ({"Instances": [{"id": "x", "input": "a"}]}, r"Instances\[0\]: .*`output`"),
        ({"Instances": [{"id": "x", "output": ["a"]}]}, r"Instances\[0\]: .*`input`"),
        (
            {"Instances": instances("a", 2) + instances("a", 1)},
            r"task1_a\.json: Instances\[2\]: two instances have the id 'a-0'",
        ),
        ({"Instances": []}, "`Instances`"),
        ({"Definition": []}, "`Definition` is missing or empty"),
        ({"Categories": None}, "`Categories` is missing or empty"),
        ({"Positive Examples": [{"input": "a"}]}, "each of `Positive Examples` needs `input` and `output`"),
        ({"Negative Examples": [{"input": "a", "output": 1}]}, "`Negative Examples` must hold texts"),
    ],
)
def test_an_error_in_a_task_names_the_file_and_the_cause(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_test_split(write_superni(tmp_path, {"task1_a": keys}))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    folder = write_superni(tmp_path, {"task1_a": {}})
    path = folder / "tasks" / "task1_a.json"
    lines = json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1).splitlines()[:7]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"task1_a\.json:7: not JSON, or cut short"):
        read_test_split(folder)


def test_a_folder_without_split_or_without_any_listed_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no test split"):
        read_test_split(tmp_path)
    with pytest.raises(DataError, match="none of the 1 tasks"):
        read_test_split(write_superni(tmp_path / "suite", {"task1_a": {}}, listed=["task2_b"]))
    with pytest.raises(DataError, match="duplicate task task1_a"):
        read_test_split(write_superni(tmp_path / "twice", {"task1_a": {}}, listed=["task1_a", "task1_a"]))
    with pytest.raises(DataError, match="no such folder"):
        read_test_split(tmp_path / "nowhere")


def test_the_real_slice_is_reported_as_a_part_of_11810(shared_data: Path) -> None:
    suite = read_test_split(shared_data / "superni")
    assert suite.n_expected == 11_810
    assert suite.coverage.endswith(f"of 11,810 instances, {len(suite.files)} of 119 tasks present")
    assert all(one.references and one.input for one in suite.instances)
    assert len({one.category for one in suite.instances}) == 12


@pytest.mark.parametrize(("track", "tasks", "total"), [("default", 119, 11_810), ("xlingual", 35, 3_500)])
def test_an_official_track_has_its_published_total(
    track: str, tasks: int, total: int, shared_data: Path, tmp_path: Path
) -> None:
    split = shared_data / "superni" / "splits" / track / "test_tasks.txt"
    names = split.read_text(encoding="utf-8").split()
    folder = write_superni(tmp_path, {names[0]: {"Instances": instances("a", 130)}}, listed=names)
    suite = read_test_split(folder)
    assert (suite.n_listed, suite.n_expected, len(suite.instances)) == (tasks, total, 100)


def test_the_examples_of_the_header_come_with_each_instance(tmp_path: Path) -> None:
    examples = [{"input": "a", "output": "b", "explanation": "c"}, {"input": "d", "output": "e"}]
    first = read_test_split(write_superni(tmp_path, {"task1_a": {"Positive Examples": examples}})).instances[0]
    assert first.positive == (Demonstration("a", "b", "c"), Demonstration("d", "e", None)) and first.negative == ()
