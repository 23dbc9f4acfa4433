"""A report of hostile text in headless Chromium: `python -m benchmarks.hostile_report [--screenshots DIR] [--save]`.

Model names, tasks, categories, questions, answers, judgements, overlaps and dataset rows contain scripts, markup that
closes ours, right-to-left text and control characters; every answer has 100,000 characters. The page is opened in a
wide and a narrow window, light and dark. `ran` is whether any script ran.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.result import report
from pacos.report.render import render
from tests.pacos.test_report_browser import find_chromium, look
from tests.support.hostile_run import HOSTILE, write_hostile_run

WINDOWS = {"wide": "1200,6000", "phone": "500,6000"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=100_000, help="of every answer")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of the page, to be looked at")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        raise SystemExit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(chromium, Path(folder), options.characters, options.screenshots)
    settings = {"characters": options.characters, "texts": len(HOSTILE)}
    report("hostile_report", figures, settings=settings, save=options.save)


def measure(chromium: str, folder: Path, characters: int, screenshots: Path | None) -> dict[str, Any]:
    run = write_hostile_run(folder, answer_characters=characters)
    began = time.perf_counter()
    path = render(run)
    seconds = time.perf_counter() - began
    page = path.read_text(encoding="utf-8")
    found = look(chromium, page, folder)
    for name, size in WINDOWS.items() if screenshots else ():
        for scheme in ("light", "dark"):
            shoot(chromium, path, screenshots / f"{name}-{scheme}.png", size, scheme)
    return {
        "ran": found["title"] != "hostile · pacos",
        "handlers": found["handlers"],
        "foreign_elements": found["strangers"],
        "charts_drawn": found["drawn"],
        "pixels_beyond_a_phone": max(0, found["width"] - 500),
        "hostile_texts_shown": sum(text in found["text"] for text in HOSTILE[:7]),
        "page_bytes": path.stat().st_size,
        "seconds_to_render": round(seconds, 2),
    }


def shoot(chromium: str, page: Path, picture: Path, size: str, scheme: str) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    preferred = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={size}", "--virtual-time-budget=4000"]
    command = [chromium, *flags, preferred, f"--screenshot={picture.absolute()}", page.absolute().as_uri()]
    subprocess.run(command, capture_output=True, timeout=180, check=True)


if __name__ == "__main__":
    main()
