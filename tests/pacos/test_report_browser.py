"""The report in a real browser: hostile text stays text, tables sort, a phone shows it all."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.evaluate.compare import compare
from pacos.report.render import render
from pacos.runs import Run
from tests.support.evaluation_folder import write_evaluation
from tests.support.hostile_run import HOSTILE, OWNED, write_hostile_run
from tests.support.superni_folder import write_superni

# Looks around once the page has had time to misbehave, and leaves its findings in place of the page.
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const all = [...document.querySelectorAll("*")];
  const table = document.querySelectorAll("table.sortable")[2], head = table.querySelectorAll("th")[3];
  const column = () => [...table.tBodies[0].rows].map(row => Number(row.cells[3].dataset.value));
  head.querySelector("button").click();
  const descending = column();
  head.querySelector("button").click();
  const found = {
    title: document.title,
    handlers: all.filter(one => [...one.attributes].some(attribute => attribute.name.startsWith("on"))).length,
    strangers: document.querySelectorAll("img, iframe, object, embed, link, base, form, a").length,
    drawn: document.querySelectorAll(".plot-container").length,
    width: document.documentElement.scrollWidth,
    descending, ascending: column(),
    text: document.querySelector("main").textContent,
  };
  document.documentElement.innerHTML = "<body></body>";
  document.body.textContent = JSON.stringify(found);
}, 300));
</script>"""

# What the tables measure, each with the width that it has and the width that it needs.
TABLES = """<script>
addEventListener("load", () => setTimeout(() => {
  document.querySelectorAll("details").forEach(one => one.open = true);
  const found = [...document.querySelectorAll(".scroll")].map(one => [one.clientWidth, one.scrollWidth]);
  document.documentElement.innerHTML = "<body></body>";
  document.body.textContent = JSON.stringify({ tables: found });
}, 300));
</script>"""


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> str:
    found = find_chromium()
    if not found:
        pytest.skip("needs Chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(write_hostile_run(tmp_path_factory.mktemp("hostile"))).read_text(encoding="utf-8")


def look(chromium: str, page: str, folder: Path, probe: str = PROBE, width: int = 500) -> Any:
    """What the probe finds on the page, in a window as narrow as a phone unless told otherwise."""
    path = folder / "page.html"
    before, end, after = page.rpartition("</body>")
    path.write_text(before + probe + end + after, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--virtual-time-budget=2000"]
    command = [chromium, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"<body>(\{.*\})</body>", ended.stdout, re.DOTALL)
    assert found, f"Chromium ended with {ended.returncode}: {ended.stderr[-500:]}"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&"))


def test_hostile_text_is_shown_and_nothing_of_it_runs(chromium: str, page: str, tmp_path: Path) -> None:
    found = look(chromium, page, tmp_path)
    assert found["title"] == "hostile · pacos"
    assert (found["handlers"], found["strangers"]) == (0, 0)
    assert found["drawn"] == page.count('class="chart"') == 7
    assert found["width"] <= 500, "nothing reaches beyond the window"
    for text in HOSTILE[:7]:
        assert text in found["text"]
    assert "\u2400" in found["text"] and "⟨U+202E⟩" in found["text"]
    assert "more characters]" in found["text"], "answers of 100,000 characters are cut"
    # A click on the head of a column sorts by its numbers, another turns them round.
    assert found["descending"] == sorted(found["descending"], reverse=True) == found["ascending"][::-1]
    assert len(set(found["descending"])) > 2


def test_a_page_that_escapes_less_is_caught(chromium: str, page: str, tmp_path: Path) -> None:
    escaped = f"&lt;svg/onload={OWNED.replace(chr(39), '&#39;')}&gt;"
    assert escaped in page
    assert look(chromium, page.replace(escaped, HOSTILE[3]), tmp_path)["title"] == "owned"


def compared_run(folder: Path) -> Path:
    """A run of five models and two tasks, all with names as long as they are in earnest."""
    tasks = {f"task{number}_stereoset_sentence_generation_antistereotype": [("red", "red")] for number in (1, 2)}
    suite = write_superni(folder / "superni", {task: {"Definition": ["Name the colour."]} for task in tasks})
    config = Config(
        name="quickstart",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base="llama"),
        evaluate=EvaluateConfig(suites=[SuiteConfig(name="superni", path=str(suite))]),
    )
    with Run.open(config):
        pass
    names = ["SmolLM2-135M-Instruct", "quickstart", "copy a demonstration's answer", "copy the input", "another-recipe"]
    home = config.run_dir / "eval"
    compare([write_evaluation(home / str(number), name, tasks) for number, name in enumerate(names)], home)
    return config.run_dir


def test_no_table_is_cut_at_1200_pixels(chromium: str, tmp_path: Path) -> None:
    page = render(compared_run(tmp_path)).read_text(encoding="utf-8")
    found = look(chromium, page, tmp_path, TABLES, width=1200)["tables"]
    assert len(found) == 4
    assert all(needed <= shown for shown, needed in found), found
    unbroken = page.replace("</style>", "th, td { white-space: nowrap; }</style>")
    cut = look(chromium, unbroken, tmp_path, TABLES, width=1200)["tables"]
    assert any(needed > shown for shown, needed in cut), "the probe sees a table that is cut"
