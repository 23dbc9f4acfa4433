"""The sheet as CSV, for raters who do not use the page, and their votes read back from it."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.review.kinds import review_kind
from pacos.evaluate.review.sheet import Sheet
from pacos.evaluate.review.votes import LONGEST_NOTE, NOTE, Votes
from pacos.files import write_text
from pacos.json_text import read_text

# What spreadsheets pass over before a formula: blanks, quotes and invisible characters. Some of these end a cell where
# the separator is another one; quotes count only at a cell's start, so ours do not hold there.
_PASSED_OVER = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\"';]+")
_CELL_ENDS = re.compile(r"[;\t\r\n]")
_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20]")
_BULLET = re.compile(r"[-+] [^|!(;\t\r\n]*+(?:[;\t\r\n]|\Z)")


def write_csv(sheet: Sheet, path: Path) -> None:
    """Write one row per item, with an empty column for each question whose heading names the answers.

    Opens in Excel as it is.
    """
    kind = review_kind(sheet.kind)
    headings = _headings(sheet)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "sheet", "instruction", "input", "reference", *kind.columns, *headings, "note"])
    for item in sheet.items:
        cells = [item.instruction, item.input, item.reference, *item.answers]
        writer.writerow([item.id, fingerprint(sheet), *map(_escape_formula, cells), *[""] * len(headings), ""])
    write_text(path, "\ufeff" + text.getvalue())


def import_csv(votes: Votes, path: Path, rater: str) -> int:
    """Cast the rater's votes that the file has and the review lacks, and return the number of items.

    Rows without an answer are skipped. Raises DataError with the row, and casts nothing, for a file of another sheet,
    an invalid answer, a partly answered row, or one that differs from the rater's earlier vote.
    """
    ballot, questions = votes.ballot(rater), votes.questions
    rows = list(_rows(votes.sheet, path))
    for where, item, answers, note in rows:
        for question, answer in zip(questions, answers, strict=True):
            if answer not in question.answers:
                raise DataError(f"{question.name} is {answer!r}, not one of {list(question.answers)}", where=where)
        earlier = [ballot.given[item].get(question.name) for question in questions] if item in ballot.given else []
        if item in ballot.skipped or (earlier and earlier != answers):
            raise DataError(f"{rater!r} has already voted otherwise on item {item}", where=where)
        if len(note) > LONGEST_NOTE:
            raise DataError(f"a note has at most {LONGEST_NOTE:,} characters", where=where)
    new = [row for row in rows if row[1] not in ballot.complete(questions)]
    for _, item, answers, note in new:
        for question, answer in zip(questions, answers, strict=True):
            votes.cast(rater, item, question.name, answer)
        if note:
            votes.cast(rater, item, "", NOTE, note=note)
    return len(new)


def fingerprint(sheet: Sheet) -> str:
    """Return a short hash of the sheet, which every row of its CSV carries."""
    # A letter in front: spreadsheets turn 123456789012 and 12345e678901 into numbers.
    return f"s{hashlib.sha256(json.dumps(asdict(sheet)).encode()).hexdigest()[:12]}"


def _headings(sheet: Sheet) -> list[str]:
    return [f"{question.name}: {' / '.join(question.answers)}" for question in review_kind(sheet.kind).questions]


def _rows(sheet: Sheet, path: Path) -> Iterator[tuple[str, str, list[str], str]]:
    """(place, item, answers, note) of every row with an answer."""
    text = read_text(path)
    # Some spreadsheets write semicolons or tabs, depending on the locale.
    delimiter = next((mark for mark in ",;\t" if text.replace('"', "").startswith(f"id{mark}")), ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _read_cells(reader, path, longest=len(text))
    headings = _headings(sheet)
    if absent := [head for head in ("id", "sheet", *headings) if head not in (reader.fieldnames or [])]:
        raise DataError(f"the column {absent[0]!r} is missing", where=str(path), todo="fill in an exported file")
    numbers = {item.id.lstrip("0"): item.id for item in sheet.items}
    known = (fingerprint(sheet), fingerprint(sheet)[1:])  # earlier versions wrote no letter
    seen = set()
    for number, row in enumerate(rows, 1):
        where = f"{path}:row {number}"
        answers = [(row[head] or "").strip() for head in headings]
        if not any(answers):
            continue
        # A spreadsheet turns 0001 into 1.
        item = numbers.get((row["id"] or "").strip().lstrip("0"))
        if item is None or row["sheet"] not in known:
            raise DataError("is a row of another sheet", where=where, todo="export again, or name the sheet's sources")
        if item in seen:
            raise DataError(f"duplicate item {item}", where=where)
        seen.add(item)
        yield where, item, [_normalised(answer) for answer in answers], (row.get("note") or "").strip()


def _read_cells(reader: "csv.DictReader[str]", path: Path, longest: int) -> list[dict[str, str]]:
    """All rows. Raises DataError for what is not CSV; a cell may be as long as the file."""
    limit = csv.field_size_limit(max(longest, csv.field_size_limit()))
    try:
        return list(reader)
    except csv.Error as broken:
        where = f"{path}:{reader.line_num}"
        raise DataError(f"is not CSV: {broken}", where=where, todo="save it as CSV in UTF-8") from None
    finally:
        csv.field_size_limit(limit)


def _normalised(answer: str) -> str:
    return answer.upper() if len(answer) == 1 else answer.lower()


def _escape_formula(text: str) -> str:
    """The text with an apostrophe wherever a spreadsheet could see the beginning of a cell with a formula.

    That is its own beginning, and behind a semicolon, tab or line break in it, but for the bullets of lists.
    """
    marked, done = [], 0
    if _is_formula(text) or text.startswith(("\t", "\r")):
        marked.append("'")
    for run in _PASSED_OVER.finditer(text):
        ends = [found.end() for found in _CELL_ENDS.finditer(run[0])]
        if ends and _FORMULA.match(text, run.end()) and not _BULLET.match(text, run.end()):
            begins = run.start() + ends[-1]
            marked += [text[done:begins], "'"]
            done = begins
    return "".join([*marked, text[done:]])


def _is_formula(text: str) -> bool:
    before = _PASSED_OVER.match(text)
    return bool(_FORMULA.match(text, before.end() if before else 0))
