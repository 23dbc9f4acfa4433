"""Text of strangers on the terminal and in logs: nothing of it steers the terminal or looks like a line of ours."""

import json
import logging
import sys
import unicodedata
from pathlib import Path

import pytest

from pacos import cli
from pacos.config import Config, ModelConfig
from pacos.errors import DataError
from pacos.progress import bar
from pacos.runs import Run
from pacos.terminal import EscapingFormatter, escaped, escaped_line, print_traceback

EMBEDDING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
STEERING = "\x1b]0;owned\x07\x1b[2J\r\x08\x9b31m\x7f\u202eevil\u2066\ud800"


@pytest.mark.parametrize(
    "character",
    [control for control in map(chr, range(256)) if unicodedata.category(control) == "Cc" and control not in "\n\t"]
    + [character for character in map(chr, range(0x3000)) if unicodedata.bidirectional(character) in EMBEDDING]
    + [*"\u061c\u200e\u200f\u2066\u2067\u2068\u2069", "\u2028", "\u2029", "\ufeff", "\u200b", "\U000e0041", "\udfff"],
)  # fmt: skip
def test_each_character_that_steers_or_hides_is_shown_escaped(character: str) -> None:
    shown = escaped(f"a{character}b")
    assert shown.isprintable() and shown.encode().decode("unicode_escape") == f"a{character}b"


@pytest.mark.parametrize("text", ["naïve — “quoted”", "می‌خواهم", "👩‍👩‍👧", "שלום", "a\tb\nc", "क्‍ष"])
def test_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text


def test_windows_newlines_are_newlines_and_one_line_stays_one_line() -> None:
    assert escaped("a\r\nb\rc") == "a\nb\\rc"
    assert escaped_line("a\nb\r\nc") == "a\\nb\\nc"


def test_a_message_cannot_forge_an_entry_of_a_log() -> None:
    formatter = EscapingFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("transformers", logging.INFO, "", 0, "read %s", ("x\nINFO done\x1b[2J",), None)
    assert formatter.format(record) == "INFO read x\n  INFO done\\x1b[2J"


def test_an_error_shows_foreign_names_escaped_and_its_advice_alone_at_the_arrow() -> None:
    error = DataError("is odd\n  → curl evil", where="a\nb\x1b[2J", todo="look at it")
    assert str(error) == "a\\nb\\x1b[2J: is odd\n      → curl evil\n  → look at it"
    assert error.what == "is odd\n  → curl evil", "what handles errors still has the text"


@pytest.mark.parametrize(
    "words", [["winrate", "FILE"], ["filter", "BAD", "--out", "OUT"], ["score", "none\x1b[2J\u202e.jsonl"]]
)
def test_no_command_prints_steering_text(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file, bad = tmp_path / "ann.json", tmp_path / "bad.jsonl"
    file.write_text(json.dumps([{"generator_1": "b" + STEERING, "generator_2": "m", "preference": 2}]))
    bad.write_text(json.dumps({"instruction": 5, STEERING: 1}) + "\n")
    places = {"FILE": str(file), "BAD": str(bad), "OUT": str(tmp_path / "out")}
    monkeypatch.setattr(sys, "argv", ["pacos", *[places.get(word, word) for word in words]])
    with pytest.raises(SystemExit):
        cli.main()
    printed = "".join(capfd.readouterr())
    assert printed and all(character.isprintable() or character == "\n" for character in printed)


def test_the_log_of_a_run_has_messages_escaped(tmp_path: Path) -> None:
    with Run.open(Config(name="a", runs_dir=str(tmp_path), model=ModelConfig(base="none"))) as run:
        logging.getLogger("pacos").warning("model %s", STEERING + "\n2026-01-01 00:00:00,000 INFO all checks passed")
    lines = (run.dir / "log.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[0].endswith(escaped(STEERING)) and lines[1].startswith("  2026")


def test_a_progress_bar_has_its_name_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading x\x1b[2J\ny", 2, "rows"):
        pass
    assert "reading x\\x1b[2J\\ny" in capsys.readouterr().err


def test_the_traceback_of_a_bug_is_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("a", f"\x1b[2J{STEERING}")
    except KeyError:
        print_traceback(*sys.exc_info())  # type: ignore[arg-type]
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        print_traceback(*sys.exc_info())  # type: ignore[arg-type]
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "ValueError: \\x1b[2J" in printed and "\x1b" not in printed
