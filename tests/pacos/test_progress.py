import io
import sys

import pytest

from pacos import progress
from pacos.progress import bar


def test_away_from_a_terminal_each_state_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "BETWEEN_LINES_S", 0.0)
    with bar("train", 3, "steps", initial=1) as shown:
        for loss in (2.5, 1.25):
            shown.set_postfix_str(f"loss {loss}", refresh=False)
            shown.update()
    printed = capsys.readouterr().err
    lines = printed.splitlines()
    assert "\r" not in printed and "" not in lines
    assert lines[0].startswith("train: 1 of 3 steps [")
    assert lines[1].startswith("train: 2 of 3 steps [") and lines[1].endswith("loss 2.5]")
    assert lines[-1].startswith("train: 3 of 3 steps [") and lines[-1].endswith("loss 1.25]")


def test_a_log_gets_a_line_in_ten_seconds_and_the_last_state(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("generate", None, "requests") as shown:
        for _ in range(5_000):
            shown.update()
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) < 100
    assert lines[0].startswith("generate: 0 requests [") and lines[-1].startswith("generate: 5000 requests [")


def test_at_a_terminal_the_bar_stays_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with bar("train", 2, "steps") as shown:
        shown.update(2)
    assert "\r" in terminal.getvalue() and terminal.getvalue().count("\n") == 1


def test_a_bar_that_is_off_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("train", 2, "steps", disable=True) as shown:
        shown.update(2)
    assert capsys.readouterr().err == ""
