"""Latency of `pacos review`: from a key press to the next item's frame, with the vote written to disk in between.

A page of 200 items, in headless Chromium, each text a few thousand characters. Measured by the page's own clock from
the key's event to the frame after the new item is shown.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.result import report
from pacos.files import write_jsonl
from tests.pacos.test_report_browser import find_chromium
from tests.support.devtools import Browser, Page
from tests.support.review_server import ReviewServer

# One key: dispatched, and the frame awaited in which the page shows another item.
PRESS = """new Promise(done => {
  const main = document.getElementById("main"), before = main.dataset.shown, began = performance.now();
  new MutationObserver((_, observer) => {
    if (main.dataset.shown === before) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
  }).observe(main, { attributes: true });
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: KEY, bubbles: true }));
})"""
KEYS = {"quality": "y", "rating": "a", "pairwise": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--characters", type=int, default=4000, help="of each text")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        raise SystemExit("needs Chromium: apt-get install chromium")
    figures = {}
    with tempfile.TemporaryDirectory() as folder, Browser(chromium, Path(folder) / "profile") as browser:
        for kind in KEYS:
            figures[kind] = measure(browser, kind, Path(folder), options.items, options.characters)
    settings = {"items": options.items, "characters": options.characters}
    report("review_page", figures, settings=settings, save=options.save)


def measure(browser: Browser, kind: str, folder: Path, items: int, characters: int) -> dict[str, Any]:
    """Milliseconds of every key of a whole review."""
    source = folder / f"{kind}.jsonl"
    models = ("base",) if kind == "quality" else ("base", "tuned")
    rows = [
        {"id": f"q{index}", "model": model, "instruction": f"Task {index}.", "output": text(index, model, characters)}
        for index in range(items // 2 if kind == "rating" else items)
        for model in models
    ]
    write_jsonl(source, rows)
    server = ReviewServer(str(source), "--kind", kind, "--rater", "ann", "--n", str(items), log=folder / "log")
    try:
        page = browser.page(server.address)
        page.wait("document.getElementById('main')?.dataset.shown")
        times = sorted(press_through(page, KEYS[kind]))
    finally:
        server.kill()
    return {
        "keys": len(times),
        "median_ms": round(statistics.median(times), 1),
        "p99_ms": round(times[int(0.99 * len(times))], 1),
        "worst_ms": round(times[-1], 1),
    }


def press_through(page: Page, key: str) -> list[float]:
    times = []
    while page.ask("document.getElementById('done').hidden"):
        times.append(float(page.ask(PRESS.replace("KEY", repr(key)))))
    return times


def text(index: int, model: str, characters: int) -> str:
    return (f"Answer {index} of {model}, line after line.\n" * characters)[:characters]


if __name__ == "__main__":
    main()
