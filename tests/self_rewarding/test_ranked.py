"""`pacos ranked`: what counts as a ranked answer, and which requests are held out."""

import json
from pathlib import Path

import pytest

from pacos.errors import DataError, HubOutOfReach
from pacos.evaluate.judge.answers import read_answers
from pacos.files import read_jsonl, write_jsonl
from pacos.records import read_tasks
from pacos.self_rewarding.ranked import RankedSplit, read_ranked, split_ranked


def write_ranked(path: Path, requests: int, *, ranks: tuple[int, ...] = (1, 0, 2)) -> Path:
    """`ranks` of the answers to each request; an answer says its own rank."""
    rows = [
        {"id": f"q{number}", "instruction": f"Question {number}?", "output": f"{number}, rank {rank}", "rank": rank}
        for number in range(requests)
        for rank in ranks
    ]
    write_jsonl(path, rows)
    return path


def message(
    name: str, parent: str | None, role: str, text: str, rank: int | None = None, lang: str = "en"
) -> dict[str, object]:
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, "rank": rank, "lang": lang}


MESSAGES = [
    message("a", None, "prompter", "What is the tallest hill?"),
    message("a1", "a", "assistant", "No idea.", rank=1),
    message("a0", "a", "assistant", "The one in the north.", rank=0),
    message("a2", "a", "assistant", "Nobody has ranked me."),
    message("b", None, "prompter", "Was ist das?", lang="de"),
    message("b0", "b", "assistant", "Ein Berg.", rank=0, lang="de"),
    # A second turn: its prompt is nobody's root.
    message("c", "a0", "prompter", "And the lowest?"),
    message("c0", "c", "assistant", "In the south.", rank=0),
    message("c1", "c", "assistant", "None.", rank=1),
    message("d", None, "prompter", "Name a bird."),
    message("d0", "d", "assistant", "A wren.", rank=0),
]


def test_requests_are_split_and_every_file_is_read_where_it_is_needed(tmp_path: Path) -> None:
    counts = split_ranked(str(write_ranked(tmp_path / "r.jsonl", 10)), tmp_path / "out", held_aside=3, seed=1)
    assert counts == RankedSplit(requests=10, not_ranked_apart=0, asked_again=0, learn=7, held_aside=3)
    aside = read_answers([tmp_path / "out" / "held-aside.jsonl"])
    learn = read_answers([tmp_path / "out" / "learn.jsonl"])
    assert (aside.suite, aside.models, len(aside.answers)) == ("held-aside", ["people"], 9)
    items = [{answer.item for answer in part.answers} for part in (aside, learn)]
    assert len(items[0]) == 3 and len(items[1]) == 7 and not items[0] & items[1]
    for answer in [*aside.answers, *learn.answers]:
        assert answer.text.endswith(f"rank {answer.rank}")
    assert {(answer.sample, answer.rank) for answer in learn.answers} == {(0, 1), (1, 0), (2, 2)}
    best = read_tasks(tmp_path / "out" / "instructions.jsonl")
    assert {f"q{task.output.partition(',')[0]}" for task in best} == items[1]
    assert all(task.output.endswith("rank 0") and task.input == "" for task in best)


def test_the_split_follows_from_the_seed(tmp_path: Path) -> None:
    source = str(write_ranked(tmp_path / "r.jsonl", 30))
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        split_ranked(source, tmp_path / name, held_aside=10, seed=seed)
    one, again, other = ((tmp_path / name / "held-aside.jsonl").read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_requests_that_are_not_ranked_apart_are_left_out(tmp_path: Path) -> None:
    rows = [values for _, values in read_jsonl(write_ranked(tmp_path / "r.jsonl", 4))]
    rows += [{"id": "tied", "instruction": "x", "output": str(n), "rank": 0} for n in range(3)]
    rows += [{"id": "alone", "instruction": "y", "output": "z", "rank": 0}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    counts = split_ranked(str(tmp_path / "r.jsonl"), tmp_path / "out", held_aside=1, seed=1)
    assert (counts.requests, counts.not_ranked_apart, counts.learn) == (6, 2, 3)


def test_what_is_held_out_is_not_trained_on_under_another_id(tmp_path: Path) -> None:
    rows = [
        {"id": f"{number}", "instruction": "Say  hello." if number % 2 else "say Hello.", "output": "x", "rank": rank}
        for number in range(6)
        for rank in (0, 1)
    ]
    other = [{"id": "other", "instruction": "Say goodbye.", "output": "y", "rank": rank} for rank in (0, 1)]
    write_jsonl(tmp_path / "r.jsonl", rows + other)
    # One of seven is held out: a greeting, and then no greeting is trained on, or the farewell.
    found = set()
    for seed in range(20):
        counts = split_ranked(str(tmp_path / "r.jsonl"), tmp_path / "out", held_aside=1, seed=seed)
        instructions = {task.instruction.casefold() for task in read_tasks(tmp_path / "out" / "instructions.jsonl")}
        found.add((counts.asked_again, *sorted(instructions)))
    assert found == {(5, "say goodbye."), (0, "say  hello.", "say hello.")}


def test_of_open_assistants_trees_the_first_turn_in_english_is_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "oa.jsonl", MESSAGES)
    first, second = read_ranked(str(tmp_path / "oa.jsonl"))
    assert (first.id, first.instruction) == ("a", "What is the tallest hill?")
    assert first.answers == [("No idea.", 1), ("The one in the north.", 0)]
    assert first.best.output == "The one in the north." and first.is_ranked
    assert (second.id, second.answers, second.is_ranked) == ("d", [("A wren.", 0)], False)
    # Exports leave null keys out.
    sparse = [{key: value for key, value in row.items() if value is not None} for row in MESSAGES]
    (tmp_path / "oa.json").write_text(json.dumps(sparse), encoding="utf-8")
    assert read_ranked(str(tmp_path / "oa.json")) == [first, second]


def test_datasets_reads_the_same_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_jsonl(tmp_path / "oa.jsonl", MESSAGES)
    folder = tmp_path / "hub"
    folder.mkdir()
    Dataset.from_list(MESSAGES).to_parquet(folder / "train.parquet")
    assert read_ranked(str(folder)) == read_ranked(str(tmp_path / "oa.jsonl"))


def test_a_folder_without_rows_or_with_broken_ones_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"(?s)empty: .*check its id and its files"):
        read_ranked(str(tmp_path / "empty"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.jsonl").write_text("{broken", encoding="utf-8")
    with pytest.raises(DataError, match=r"(?s)broken: .*check its id and its files"):
        read_ranked(str(tmp_path / "broken"))


def test_an_unreachable_hub_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubOutOfReach, match="nobody/nothing"):
        read_ranked("nobody/nothing")


ROW = {"id": "q", "instruction": "x", "output": "y", "rank": 0}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "r.jsonl: holds no answers"),
        ([ROW, {key: ROW[key] for key in ("id", "instruction", "rank")}], r"r\.jsonl:2: `output` is missing"),
        ([{**ROW, "id": ""}], r"r\.jsonl:1: `id` must name"),
        ([{**ROW, "rank": "best"}], r"r\.jsonl:1: `rank` must be a whole number, 0 for the best answer, not 'best'"),
        ([{**ROW, "rank": True}], "`rank` must be"),
        ([{**ROW, "rank": -1}], "`rank` must be"),
        ([{**ROW, "rank": None}], "`rank` must be"),
        ([ROW, {**ROW, "instruction": "z"}], r"r\.jsonl:2: request 'q' has a different text in an earlier row"),
        ([message("a", None, "prompter", "x"), {"message_id": "b"}], r"r\.jsonl:2: `text` is missing"),
        ([message("a", None, "prompter", "x") | {"lang": None}], r"r\.jsonl:1: `lang` must be text"),
    ],
)
def test_a_row_that_is_not_a_ranked_answer_is_named(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    write_jsonl(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError, match=said):
        read_ranked(str(tmp_path / "r.jsonl"))


@pytest.mark.parametrize("held_aside", [0, 3, 250])
def test_neither_side_may_be_empty(tmp_path: Path, held_aside: int) -> None:
    source = write_ranked(tmp_path / "r.jsonl", 3)
    with pytest.raises(DataError, match=f"3 of its 3 requests apart; with {held_aside} held out"):
        split_ranked(str(source), tmp_path / "out", held_aside=held_aside, seed=1)
    assert not (tmp_path / "out").exists()


def test_an_answers_rank_is_read_where_there_is_one(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{**ROW, "rank": 2}, {**ROW, "id": "p", "rank": None}])
    assert [answer.rank for answer in read_answers([tmp_path / "a.jsonl"]).answers] == [2, None]
    write_jsonl(tmp_path / "a.jsonl", [{**ROW, "rank": "1"}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: `rank` must be a whole number"):
        read_answers([tmp_path / "a.jsonl"])
