"""`pacos review` in a real browser: by keyboard through a kill, two raters at once, hostile texts."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacos.files import write_jsonl
from tests.pacos.test_report_browser import find_chromium
from tests.support.devtools import Browser, Page
from tests.support.hostile_run import HOSTILE
from tests.support.review_server import ReviewServer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("websockets", reason="needs websockets, which vLLM brings")
    found = find_chromium()
    if not found:
        pytest.skip("needs Chromium: apt-get install chromium")
    with Browser(found, tmp_path_factory.mktemp("profile")) as running:
        yield running


def shown(page: Page) -> str:
    return str(page.ask("document.getElementById('main').dataset.shown || ''"))


def answer(page: Page, key: str) -> None:
    """Press, and wait until the page has moved on."""
    before = shown(page)
    page.press(key)
    page.wait(f"document.getElementById('main').dataset.shown !== {json.dumps(before)}")


def begun(browser: Browser, address: str) -> Page:
    page = browser.page(address)
    page.wait("document.getElementById('main')?.dataset.shown")
    return page


def votes_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "votes.jsonl").read_text(encoding="utf-8").splitlines()]


def write_answers(path: Path, items: int) -> Path:
    rows = [
        {"id": f"q{index}", "model": model, "instruction": f"Ask {index}.", "output": f"{model} says {index}"}
        for index in range(items)
        for model in ("base", "tuned")
    ]
    write_jsonl(path, rows)
    return path


def test_twenty_items_by_keyboard_with_an_undo_and_a_killed_server(browser: Browser, tmp_path: Path) -> None:
    source = write_answers(tmp_path / "answers.jsonl", 10)
    arguments = (str(source), "--kind", "rating", "--rater", "ann")
    server = ReviewServer(*arguments, log=tmp_path / "first.log")
    page = begun(browser, server.address)
    for key in "abcdabcd":
        answer(page, key)
    answer(page, "u")
    answer(page, "a")
    server.kill()
    before = shown(page)
    page.press("b")
    page.wait("!document.getElementById('trouble').hidden")
    assert shown(page) == before, "an item does not go by without its vote"
    server = ReviewServer(*arguments, log=tmp_path / "second.log")
    try:
        page.open(server.address)
        page.wait(f"document.getElementById('main')?.dataset.shown === {json.dumps(before)}")
        for key in "bbccddaabbcc":
            answer(page, key)
        page.wait("!document.getElementById('done').hidden")
    finally:
        server.kill()
    votes = votes_of(tmp_path / "review" / "rating--answers")
    assert "".join(str(vote["answer"]) for vote in votes) == "ABCDABCD" + "undo" + "A" + "BBCCDDAABBCC"
    kept = Counter(str(vote["item"]) for vote in votes if vote["answer"] != "undo")
    assert len(kept) == 20 and kept.pop("0008") == 2 and set(kept.values()) == {1}


def test_two_raters_at_once_and_hostile_texts_that_stay_texts(browser: Browser, tmp_path: Path) -> None:
    rows = [{"instruction": text or "x", "input": text, "output": text} for text in HOSTILE]
    write_jsonl(tmp_path / "tasks.jsonl", rows)
    server = ReviewServer(str(tmp_path / "tasks.jsonl"), "--kind", "quality", log=tmp_path / "log")
    try:
        named = begun(browser, f"{server.address}&rater=ann")
        asked = browser.page(server.address)
        asked.wait("document.activeElement?.id === 'rater'")
        for letter in "bob":
            asked.press(letter)
        asked.press("Enter")
        asked.wait("document.getElementById('main').dataset.shown")
        named.press("m")
        for letter in "any":
            named.press(letter)
        named.press("Enter")
        named.wait("document.getElementById('noted').textContent === 'Note: any'")
        seen: list[str] = []
        while shown(named) != "done/0":
            seen.append(str(named.ask("document.getElementById('instruction').textContent")))
            for _ in range(3):
                answer(named, "y")
                if len(seen) <= 2:
                    answer(asked, "n")
            assert named.ask(
                "[document.title.includes('owned'), document.querySelectorAll('main img, main svg, main a, "
                "main iframe, main script').length]"
            ) == [False, 0]
    finally:
        server.kill()
    assert set(HOSTILE[:7]) <= set(seen) and any("⟨U+202E⟩" in text for text in seen)
    votes = votes_of(tmp_path / "review" / "quality--tasks")
    assert Counter(str(vote["rater"]) for vote in votes) == {"ann": 3 * len(HOSTILE) + 1, "bob": 6}
    assert [vote["answer"] for vote in votes if vote["rater"] == "bob"] == ["no"] * 6


def test_an_old_address_says_what_to_do_a_note_is_kept_and_a_stop_writes_the_results(
    browser: Browser, tmp_path: Path
) -> None:
    source = write_answers(tmp_path / "answers.jsonl", 2)
    server = ReviewServer(str(source), "--kind", "pairwise", "--rater", "ann", log=tmp_path / "log")
    try:
        page = browser.page(server.address.replace("token=", "token=x"))
        page.wait("document.body?.textContent.includes('the address that `pacos review` printed')")
        page.open(server.address)
        page.wait("document.getElementById('main')?.dataset.shown")
        assert page.ask("document.querySelectorAll('.pair .answer').length") == 2
        page.press("m")
        page.press("x")
        page.ask("document.querySelector('.choices button').click()")
        page.wait("document.getElementById('main').dataset.shown === '0002/0'")
        answer(page, "ArrowDown")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 0
    finally:
        server.kill()
    folder = tmp_path / "review" / "pairwise--answers"
    votes = votes_of(folder)
    assert (folder / "review.json").is_file() and (folder / "report.html").is_file()
    assert [vote["answer"] for vote in votes] == ["note", "left", "tie"]
