"""The files of a run directory and of a review, and the readers of the report, of resumes and of tallies."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.fuzz.files import Format
from pacos.config import load_config
from pacos.evaluate.review import pipeline as reviewing
from pacos.evaluate.review.results import conclude
from pacos.evaluate.review.sheet import read_sheet
from pacos.evaluate.review.spreadsheet import write_csv
from pacos.evaluate.review.votes import Votes, read_ballots
from pacos.files import file_sha256, write_json, write_jsonl
from pacos.records import Rejection, read_records
from pacos.report.contents import report_of_run
from pacos.report.render import render
from pacos.results import plain
from pacos.results.manifest import read_manifest
from pacos.serving import guarded
from pacos.train.optimization.checkpoints import find_damage
from tests.support.hostile_run import write_hostile_run

REPORTED = {
    "dataset/stats.json": "object",
    "dataset/dataset.jsonl": "rows",
    "eval/comparison.json": "object",
    "eval/base/scores.json": "object",
    "eval/contamination.json": "object",
    "judge/rubric--x/results.json": "object",
    "checks.json": "object",
    "train/metrics.jsonl": "rows",
    "train/adapter/pacos.json": "object",
}


def run_formats(folder: Path) -> Iterator[Format]:
    run = _run(folder / "reported")
    for name, form in REPORTED.items():
        # Rows of the dataset are records, which have no keys of others.
        open_keys = form == "object"
        yield Format(f"report: {name}", run / name, form, _reported(run), open_keys=open_keys, slow=True)  # type: ignore[arg-type]
    yield Format(
        "page: eval/comparison.json", run / "eval" / "comparison.json", "object", lambda: bool(render(run)), slow=True
    )
    other = _run(folder / "managed")
    manifest = other / "manifest.json"
    yield Format("manifest", manifest, "object", lambda: read_manifest(other), open_keys=True)
    yield Format("experiment of a run", other / "config.yaml", "text", lambda: load_config(other / "config.yaml"))
    rejected = folder / "rejected.jsonl"
    write_jsonl(rejected, [Rejection(1, 2, "novelty", "{}", "s1", 0.8, "raw"), Rejection(1, 3, "too_short")])
    yield Format("rejected", rejected, "rows", lambda: read_records(rejected, Rejection))
    yield from _processes(folder)
    yield from _review(folder)


def _run(folder: Path) -> Path:
    run = write_hostile_run(folder, answer_characters=60)
    checks = [{"name": "a", "passed": True, "detail": "d"}]
    write_json(run / "checks.json", {"checks": checks})
    step = {"epoch": 0.5, "loss": 1.5, "learning_rate": 1e-4, "grad_norm": 1.0, "examples": 4, "tokens": 90}
    step |= {"response_tokens": 40, "fill": 0.9, "seconds": 1.5, "tokens_per_s": 60.0, "mfu": 0.1, "memory": 0.1}
    write_jsonl(run / "train" / "metrics.jsonl", [step | {"step": number} for number in (1, 2)])
    write_json(run / "train" / "adapter" / "pacos.json", {"best": {"step": 1, "eval_loss": 1.25}})
    # As any program reads it: the writer's own text has what JSON cannot say.
    for path in run.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    return run


def _reported(run: Path) -> Callable[[], Any]:
    return lambda: plain(report_of_run(run).parts())


def _processes(folder: Path) -> Iterator[Format]:
    record = folder / "processes" / "engine.json"
    values = {"boot": "b", "mark": "0" * 32, "started": 1.0, "owner": os.getpid(), "owner_started": 1.0}
    write_json(record, values)
    yield Format("record of a process", record, "object", lambda: guarded.stop_left_over(record))
    step = folder / "step-1"
    (step / "state").mkdir(parents=True)
    (step / "state" / "x").write_text("x", encoding="utf-8")
    complete = step / "COMPLETE"
    complete.write_text(json.dumps({"state/x": file_sha256(step / "state" / "x")}), encoding="utf-8")
    yield Format("checkpoint's list of files", complete, "object", lambda: find_damage(step), foreign=True)


def _review(folder: Path) -> Iterator[Format]:
    source = folder / "reviewed.jsonl"
    rows = [{"id": f"q{n}", "instruction": f"Ask {n}", "output": "o", "model": m} for n in range(3) for m in "ab"]
    write_jsonl(source, rows)
    review = reviewing.begin("pairwise", [source], n=10, seed=0, out=folder / "review")
    sheet = read_sheet(review)
    votes = Votes(review / "votes.jsonl", sheet)
    for item in sheet.items:
        votes.cast("ann", item.id, "preference", "left", seconds=1.0)
    votes.cast("ann", sheet.items[0].id, "", "note", note="n")
    votes.cast("bob", sheet.items[0].id, "preference", "tie")
    votes.close()
    yield Format("votes", review / "votes.jsonl", "rows", lambda: conclude(review))
    for name in ("sheet.json", "key.json"):
        yield Format(f"review: {name}", review / name, "object", lambda: conclude(review), open_keys=True)
    other = reviewing.begin("pairwise", [source], n=10, seed=0, out=folder / "spreadsheet")
    table = other / "filled-in.csv"
    write_csv(read_sheet(other), table)
    lines = table.read_text(encoding="utf-8").split("\r\n")
    filled = [lines[0], *(line[:-1] + "left,a note" if line else "" for line in lines[1:])]
    table.write_bytes("\r\n".join(filled).encode())
    yield Format("spreadsheet of votes", table, "text", lambda: _imported(other, table))


def _imported(review: Path, table: Path) -> Any:
    votes = review / "votes.jsonl"
    votes.unlink(missing_ok=True)
    reviewing.import_votes(review, table, "ann")
    ballots = read_ballots(votes, read_sheet(review))
    return {rater: [ballot.given, ballot.notes] for rater, ballot in ballots.items()}
