"""`pacos review` without a browser: the draw, the votes on disk, the gate, the results, the spreadsheet."""

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from pacos.errors import ConfigError, DataError, RunError
from pacos.evaluate.judge.answers import read_answers
from pacos.evaluate.judge.rubric import RUBRIC
from pacos.evaluate.review import pipeline
from pacos.evaluate.review.draw import stratified
from pacos.evaluate.review.kinds import review_kind
from pacos.evaluate.review.results import compare_judge, conclude
from pacos.evaluate.review.server import create_app
from pacos.evaluate.review.sheet import read_sheet
from pacos.evaluate.review.votes import VoteRefused, Votes, read_ballots, review_lock
from pacos.files import write_json, write_jsonl
from pacos.records import Judgement
from pacos.report.render import render, render_review
from pacos.results import write_result
from pacos.results.figures import Rate
from pacos.results.judging import JudgeSettings

TOKEN = "secret"
HOME = {"host": "127.0.0.1:8000"}
PAGE = {"origin": "http://127.0.0.1:8000", "authorization": f"Bearer {TOKEN}", **HOME}
MODELS = ("base", "tuned")


def write_tasks(path: Path, count: int) -> Path:
    rows = [{"instruction": f"Do {index}.", "input": "", "output": str(index)} for index in range(count)]
    write_jsonl(path, rows)
    return path


def write_answers(path: Path, items: int, models: tuple[str, ...] = MODELS) -> Path:
    """Model m's answer to item i is "m says i"."""
    rows = [
        {"id": f"q{index}", "model": model, "instruction": f"Ask {index}.", "output": f"{model} says {index}"}
        for index in range(items)
        for model in models
    ]
    write_jsonl(path, rows)
    return path


def reviewed(kind: Any, source: Path, **settings: Any) -> tuple[Path, Votes]:
    folder = pipeline.begin(kind, [source], **({"n": 200, "seed": 0} | settings))
    return folder, Votes(folder / "votes.jsonl", read_sheet(folder))


def test_each_stratum_gets_its_share_and_each_task_is_equally_likely() -> None:
    strata = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    drawn: Counter[int] = Counter()
    for seed in range(2000):
        chosen = stratified(strata, 10, random.Random(seed))
        assert Counter(strata[position] for position in chosen) == {"a": 5, "b": 3, "c": 2}
        drawn.update(chosen)
    # Binomial with 2,000 draws and p = 0.1: mean 200, standard deviation 13.4; five of them, over 100 positions.
    assert set(drawn) == set(range(100)) and all(133 < count < 267 for count in drawn.values())
    assert sorted(stratified(strata, 200, random.Random(0))) == list(range(100))


def test_the_same_seed_draws_the_same_sheet_and_another_does_not(tmp_path: Path) -> None:
    source = write_tasks(tmp_path / "tasks.jsonl", 50)
    assert review_kind("quality").draw([source], n=20, seed=1) == review_kind("quality").draw([source], n=20, seed=1)
    assert (
        review_kind("quality").draw([source], n=20, seed=1).items
        != review_kind("quality").draw([source], n=20, seed=2).items
    )


@pytest.mark.parametrize("kind", ["rating", "pairwise"])
def test_no_model_is_named_outside_the_key_and_each_is_shown_on_both_sides(tmp_path: Path, kind: Any) -> None:
    sheet = review_kind(kind).draw([write_answers(tmp_path / "answers.jsonl", 40)], n=40, seed=3)
    folder, _ = reviewed(kind, tmp_path / "answers.jsonl", n=40, seed=3)
    shown = json.loads((folder / "sheet.json").read_text(encoding="utf-8"))
    for item in shown["items"]:
        assert set(item) == {"id", "instruction", "input", "reference", "answers"}
        assert [text.partition(" ")[0] for text in item["answers"]] == sheet.key[item["id"]].models
    assert set(shown) == {"kind", "name", "n", "seed", "population", "items"}
    first = Counter(source.models[0] for source in sheet.key.values())
    assert len(shown["items"]) == (80 if kind == "rating" else 40)
    assert 10 < first["base"] * 40 / len(sheet.key) < 30


def test_models_must_answer_the_same_questions(tmp_path: Path) -> None:
    rows = [{"id": "q", "model": "a", "instruction": "x", "output": "1"}]
    write_jsonl(tmp_path / "one.jsonl", rows)
    with pytest.raises(DataError, match="two models"):
        review_kind("pairwise").draw([tmp_path / "one.jsonl"], n=1, seed=0)
    write_jsonl(tmp_path / "two.jsonl", [*rows, {"id": "p", "model": "b", "instruction": "x", "output": "1"}])
    with pytest.raises(DataError, match="not answered by"):
        review_kind("rating").draw([tmp_path / "two.jsonl"], n=1, seed=0)


def test_another_sheet_is_not_mixed_with_the_votes_of_this_one(tmp_path: Path) -> None:
    source = write_tasks(tmp_path / "tasks.jsonl", 30)
    folder, votes = reviewed("quality", source, n=10)
    assert reviewed("quality", source, n=10)[0] == folder
    with pytest.raises(RunError, match="n 10"):
        reviewed("quality", source, n=20)
    write_tasks(source, 31)
    with pytest.raises(RunError, match="other texts"):
        reviewed("quality", source, n=10)
    votes.close()


def test_votes_survive_the_process_and_a_torn_line(tmp_path: Path) -> None:
    folder, votes = reviewed("quality", write_tasks(tmp_path / "tasks.jsonl", 5))
    for question, answer in (("task", "yes"), ("input", "yes"), ("output", "no"), ("task", "no")):
        item = votes.open_item("ann")
        assert item
        votes.cast("ann", item[0].id, question, answer, seconds=2)
    with (folder / "votes.jsonl").open("ab") as torn:
        torn.write(b'{"at": "2026')
    again = Votes(folder / "votes.jsonl", read_sheet(folder))
    item = again.open_item("ann")
    assert item and (item[0].id, item[1]) == ("0002", 1)
    assert again.ballot("ann").seconds == {"0001": 6, "0002": 2}
    again.cast("ann", "0002", "input", "yes")
    assert read_ballots(folder / "votes.jsonl", read_sheet(folder))["ann"].given["0002"] == {
        "task": "no",
        "input": "yes",
    }


def test_undo_reverts_an_answer_or_a_skip_and_removes_no_line_of_the_file(tmp_path: Path) -> None:
    folder, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 3))
    votes.cast("ann", "0001", "grade", "A")
    votes.cast("ann", "0002", "", "skip")
    assert votes.open_item("ann") == (votes.sheet.items[2], 0)
    votes.cast("ann", "", "", "undo")
    votes.cast("ann", "", "", "undo")
    assert votes.open_item("ann") == (votes.sheet.items[0], 0)
    with pytest.raises(VoteRefused, match="nothing to undo"):
        votes.cast("ann", "", "", "undo")
    votes.cast("ann", "0001", "grade", "D")
    assert read_ballots(folder / "votes.jsonl", votes.sheet)["ann"].given["0001"] == {"grade": "D"}
    assert len((folder / "votes.jsonl").read_text(encoding="utf-8").splitlines()) == 5


def test_an_item_accepts_one_vote_from_each_rater(tmp_path: Path) -> None:
    _, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 3))
    votes.cast("ann", "0001", "grade", "A")
    votes.cast("bob", "0001", "grade", "B")
    for item, question, answer in (("0001", "grade", "C"), ("9999", "grade", "A"), ("0002", "grade", "E")):
        with pytest.raises(VoteRefused):
            votes.cast("ann", item, question, answer)
    with pytest.raises(VoteRefused, match="name"):
        votes.cast("a\nb", "0002", "grade", "A")


def test_only_one_process_holds_a_review(tmp_path: Path) -> None:
    with review_lock(tmp_path), pytest.raises(RunError, match="open already"), review_lock(tmp_path):
        pass


def client_of(votes: Votes) -> TestClient:
    return TestClient(create_app(votes, TOKEN), base_url="http://127.0.0.1:8000")


def test_the_page_advances_with_each_vote_and_reveals_no_models(tmp_path: Path) -> None:
    folder, votes = reviewed("pairwise", write_answers(tmp_path / "answers.jsonl", 2))
    client = client_of(votes)
    state = client.get("/state", params={"rater": "ann"}, headers=PAGE).json()
    assert (state["total"], state["answered"], state["item"]["id"]) == (2, 0, "0001")
    vote = {"rater": "ann", "item": "0001", "question": "preference", "answer": "left", "seconds": 1.5}
    state = client.post("/vote", json=vote, headers=PAGE).json()
    assert state["item"]["id"] == "0002" and '"left"' in (folder / "votes.jsonl").read_text(encoding="utf-8")
    assert "models" not in json.dumps(state) and "stratum" not in json.dumps(state)
    again = client.post("/vote", json=vote, headers=PAGE)
    assert again.status_code == 409 and again.json()["state"]["item"]["id"] == "0002"


def test_the_gate_admits_only_its_own_page_with_the_token(tmp_path: Path) -> None:
    folder, votes = reviewed("pairwise", write_answers(tmp_path / "answers.jsonl", 2))
    client = client_of(votes)
    vote = {"rater": "ann", "item": "0001", "question": "preference", "answer": "left"}
    assert client.get("/", headers=HOME).status_code == 403
    assert client.get("/?token=wrong", headers=HOME).status_code == 403
    assert client.get("/state?rater=a", headers={**PAGE, "authorization": "Bearer wrong"}).status_code == 403
    for change in ({"origin": "http://evil.example"}, {"host": "evil.example:8000"}, {"authorization": ""}):
        assert client.post("/vote", json=vote, headers=PAGE | change).status_code == 403
    without = {name: value for name, value in PAGE.items() if name != "origin"}
    assert client.post("/vote", json=vote, headers=without).status_code == 403
    assert client.post("/vote", content=b" " * 70_000, headers=PAGE).status_code == 403
    for path in ("/docs", "/openapi.json", "/../../etc/passwd", "/key.json", "/..%2fkey.json"):
        assert client.get(path, headers=PAGE).status_code == 404
    assert not (folder / "votes.jsonl").read_text(encoding="utf-8")
    page = client.get(f"/?token={TOKEN}", headers=HOME)
    policy = page.headers["content-security-policy"]
    assert page.status_code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    assert client.post("/vote", json=vote | {"rater": "../../ann"}, headers=PAGE).status_code == 200
    assert sorted(path.name for path in folder.iterdir()) == ["key.json", "sheet.json", "votes.jsonl"]


def test_quality_counts_the_answers_to_three_questions(tmp_path: Path) -> None:
    folder, votes = reviewed("quality", write_tasks(tmp_path / "tasks.jsonl", 10))
    for rater, outputs in (("ann", "yyyyyynnnn"), ("bob", "yyyyynynnn")):
        for item, output in zip(votes.sheet.items, outputs, strict=True):
            for question, answer in (("task", "yes"), ("input", "yes"), ("output", "yes" if output == "y" else "no")):
                votes.cast(rater, item.id, question, answer)
    votes.cast("cat", "0001", "task", "yes")
    found: Any = conclude(folder)
    # Wilson's 95 % interval of 6 in 10, and Cohen's kappa of (5, 1; 1, 3): (0.8 - 0.52) / 0.48.
    assert found.raters["ann"].rates["all"] == Rate(60.0, 31.2674, 83.182)
    assert found.raters["ann"].rates["task"] == Rate(100.0, cast(float, pytest.approx(72.2467, abs=1e-3)), 100.0)
    assert found.raters["cat"].answered == 0 and found.raters["cat"].rates["all"] is None
    both = next(row for row in found.agreement if (row.one, row.other) == ("ann", "bob"))
    assert both.questions["output"].kappa == pytest.approx(0.28 / 0.48)
    assert both.questions["task"].kappa is None
    assert found.published.rates["all"] == Rate(54.0, 47.0823, 60.7669)


def test_grades_are_counted_by_model_and_the_judge_is_one_more_rater(tmp_path: Path) -> None:
    folder, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 4))
    judged = tmp_path / "judge" / "rubric--answers"
    for item in votes.sheet.items:
        votes.cast("ann", item.id, "grade", "A" if item.answers[0].startswith("tuned") else "D")
    assert next(iter(compare_judge(tmp_path, "rubric", "other"))).startswith("nobody has checked")
    rows = [
        Judgement("rubric", f"q{index}", model, "", 0, 0, "", False, verdict, "", "stop")
        for model, verdict in (("base", "C"), ("tuned", "A"))
        for index in range(4)
    ]
    write_jsonl(judged / "judgements.jsonl", rows)
    write_result(judged / "judge.json", JudgeSettings(model="llama"))
    found: Any = conclude(folder)
    assert found.raters["ann"].models["tuned"].counts == {"A": 4, "B": 0, "C": 0, "D": 0}
    assert found.raters["ann"].models["base"].A_or_B.rate == 0.0
    agreed = found.judge.agreement["ann"]
    # Four of eight the same; by chance 4/8 · 4/8; with A, B against C, D they agree wholly.
    assert (agreed.n, agreed.kappa, agreed.kappa_binary) == (8, pytest.approx(0.25 / 0.75), 1.0)
    assert agreed.spearman == pytest.approx(1.0)
    assert "A or B 1.00" in next(iter(compare_judge(tmp_path, "rubric", "answers")))


def test_the_report_says_whether_people_have_checked_the_judge(tmp_path: Path) -> None:
    folder, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 4))
    judged = tmp_path / "judge" / "rubric--answers"
    rows = [Judgement("rubric", f"q{index}", "tuned", "", 0, 0, "", False, "A", "A", "stop") for index in range(4)]
    write_jsonl(judged / "judgements.jsonl", rows)
    write_result(judged / "judge.json", JudgeSettings(model="llama"))
    settings = JudgeSettings(kind="rubric", model="llama")
    write_result(judged / "results.json", RUBRIC.summarise(settings, read_answers([tmp_path / "answers.jsonl"]), rows))
    write_json(tmp_path / "manifest.json", {"name": "run", "stages": {}})
    assert "Not checked against people yet" in render(tmp_path).read_text(encoding="utf-8")
    for item in votes.sheet.items:
        votes.cast("ann", item.id, "grade", "B")
    conclude(folder)
    page = render_review(folder)
    assert page == tmp_path / "report.html"
    said = page.read_text(encoding="utf-8").partition("Against people:")[2][:200]
    assert "<bdi>ann</bdi> the same in 0 % of 4 items" in said and "κ of A, B against C, D undefined" in said


def test_wins_are_the_other_models_whichever_side_it_was_shown_on(tmp_path: Path) -> None:
    folder, votes = reviewed("pairwise", write_answers(tmp_path / "answers.jsonl", 10))
    judged = tmp_path / "judge" / "pairwise--answers"
    for index, item in enumerate(votes.sheet.items):
        side = "left" if item.answers[0].startswith("tuned") else "right"
        other = {"left": "right", "right": "left"}[side]
        votes.cast("ann", item.id, "preference", side if index < 7 else "tie" if index < 9 else other)
    verdicts = [("win", "win"), ("win", "loss")] * 5
    rows = [
        Judgement("pairwise", f"q{index}", "tuned", "base", 0, repeat, "", False, verdict, "", "stop")
        for index, both in enumerate(verdicts)
        for repeat, verdict in enumerate(both)
    ]
    write_jsonl(judged / "judgements.jsonl", rows)
    write_result(judged / "judge.json", JudgeSettings(model="llama"))
    found: Any = conclude(folder)
    row = found.raters["ann"].models["tuned"]
    assert (row.wins, row.ties, row.losses, row.win_rate.rate) == (7, 2, 1, 80.0)
    # Two-sided sign test of 7 against 1: 2 · (1 + 8) / 2^8.
    assert row.sign_test_p == pytest.approx(18 / 256)
    assert found.judge.agreement["ann"].n == 10
    published = found.published.models["Alpaca 7B against text-davinci-003"]
    assert (published.wins, published.losses, published.win_rate.rate) == (90, 89, 50.2793)


def fill_in(path: Path, grades: dict[str, str], *, delimiter: str = ",") -> None:
    """Fill in an exported file as a rater's spreadsheet would save it."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        row["grade: A / B / C / D"] = grades.get(row["id"], "")
        row["id"] = row["id"].lstrip("0")
    with path.open("w", encoding="utf-8-sig", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_a_spreadsheet_is_exported_and_imported(tmp_path: Path) -> None:
    folder, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 2))
    votes.cast("ann", "0001", "grade", "B")
    votes.close()
    sheet = tmp_path / "sheet.csv"
    pipeline.export_sheet(folder, sheet)
    assert not any(f"{model}," in sheet.read_text(encoding="utf-8") for model in MODELS)
    fill_in(sheet, {"0001": "B", "0003": "d"}, delimiter=";")
    with pytest.raises(ConfigError, match="rater"):
        pipeline.import_votes(folder, sheet, "")
    pipeline.import_votes(folder, sheet, "ann")
    pipeline.import_votes(folder, sheet, "ann")
    given = read_ballots(folder / "votes.jsonl", read_sheet(folder))["ann"].given
    assert given == {"0001": {"grade": "B"}, "0003": {"grade": "D"}}


def test_a_spreadsheet_that_does_not_fit_is_refused_as_a_whole(tmp_path: Path) -> None:
    folder, votes = reviewed("rating", write_answers(tmp_path / "answers.jsonl", 2))
    votes.cast("ann", "0001", "grade", "B")
    votes.close()
    for grades, said in (({"0001": "A", "0002": "A"}, "otherwise"), ({"0002": "A", "0003": "E"}, "not one of")):
        pipeline.export_sheet(folder, tmp_path / "sheet.csv")
        fill_in(tmp_path / "sheet.csv", grades)
        with pytest.raises(DataError, match=f"row.*{said}|{said}"):
            pipeline.import_votes(folder, tmp_path / "sheet.csv", "ann")
    assert len((folder / "votes.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_text_that_looks_like_a_formula_is_escaped_in_the_spreadsheet(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "tasks.jsonl", [{"instruction": "=cmd|' /C calc'!A0", "input": "@x", "output": "-1"}])
    folder, _ = reviewed("quality", tmp_path / "tasks.jsonl")
    pipeline.export_sheet(folder, tmp_path / "sheet.csv")
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as lines:
        row = next(csv.DictReader(lines))
    assert (row["instruction"], row["input"], row["output"]) == ("'=cmd|' /C calc'!A0", "'@x", "'-1")


@pytest.mark.parametrize("kind", ["quality", "rating", "pairwise"])
def test_the_report_shows_a_review_beside_the_published_figures(tmp_path: Path, kind: Any) -> None:
    source = tmp_path / "answers.jsonl"
    folder, votes = reviewed(kind, write_tasks(source, 3) if kind == "quality" else write_answers(source, 3))
    for rater in ("ann", "<b>bob</b>"):
        while at := votes.open_item(rater):
            question = votes.questions[at[1]]
            votes.cast(rater, at[0].id, question.name, question.answers[0])
    votes.cast("ann", "0001", "", "note", note="<i>odd</i>")
    conclude(folder)
    page = render_review(folder).read_text(encoding="utf-8").partition("<main>")[2]
    assert "published" in page and "&lt;b&gt;bob&lt;/b&gt;" in page and "&lt;i&gt;odd&lt;/i&gt;" in page
    assert "<b>bob" not in page and "<i>odd" not in page
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["reviews"][0]["kind"] == kind
