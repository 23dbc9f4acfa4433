from pathlib import Path

import pytest

from pacos.errors import DataError
from pacos.extensions import SUITES
from pacos.files import write_jsonl
from pacos.superni import suites
from pacos.superni.suites import read_suite
from pacos.superni.tasks import Suite
from tests.support.superni_folder import write_superni


def test_the_official_user_oriented_set_is_read_whole(shared_data: Path) -> None:
    suite = read_suite(shared_data / "self_instruct" / "user_oriented_instructions.jsonl")
    # Counted in the official file: 252 instructions, 44 of them without input, for 71 applications.
    assert suite.coverage == "252 of 252 instructions"
    assert sum(not instance.input for instance in suite.instances) == 44
    assert len({instance.category for instance in suite.instances}) == 71
    assert suite.instances[0].task == "user_oriented_task_0"


def test_a_limit_counts_instructions_and_makes_the_suite_a_part(shared_data: Path) -> None:
    suite = read_suite(shared_data / "self_instruct" / "user_oriented_instructions.jsonl", limit=10)
    assert (len(suite.instances), suite.n_expected) == (10, 252)


def test_a_folder_is_a_superni_suite(tmp_path: Path) -> None:
    assert len(read_suite(write_superni(tmp_path, {"task1_a": {}})).instances) == 3


ROW = {"id": "a", "motivation_app": "Mail", "instruction": "Greet.", "instances": [{"input": "", "output": "Hi"}]}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "holds no instructions"),
        ([ROW, ROW], r"set\.jsonl:2: duplicate id 'a'"),
        ([ROW | {"instruction": " "}], r":1: `instruction` must be text that is not empty"),
        ([ROW | {"instances": []}], r":1: `instances` must be a list"),
        ([ROW | {"instances": [{"input": ""}]}], r":1: `output` must be text"),
    ],
)
def test_an_error_in_a_set_names_its_line(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    write_jsonl(tmp_path / "set.jsonl", rows)
    with pytest.raises(DataError, match=said):
        read_suite(tmp_path / "set.jsonl")


def test_a_further_suite_needs_its_reader_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = {"empty": "tests.pacos.test_suites:EMPTY", **SUITES}
    monkeypatch.setattr(suites, "SUITES", readers)
    assert read_suite(tmp_path / "set.csv").track == "empty"
    assert len(read_suite(write_superni(tmp_path, {"task1_a": {}})).instances) == 3


EMPTY = suites.SuiteReader(lambda path: path.suffix == ".csv", lambda path, limit: Suite("empty", [], [path], [], 0))
