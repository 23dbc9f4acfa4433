"""The documentation site: built strictly, no dead link, nothing fetched from elsewhere, written pages current."""

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacos.cli.commands import app
from pacos.cli.reference import commands
from pacos.cli.reference import reference as commands_page
from pacos.results.reference import FORMATS
from pacos.results.reference import reference as formats_page
from tests.support.devtools import Browser, Page
from tests.support.site_links import dead_links, external_requests, internal_links

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def pages_of_navigation(entry: Any) -> list[str]:
    """The files in `nav` of mkdocs.yml."""
    if isinstance(entry, str):
        return [entry]
    parts = entry if isinstance(entry, list) else entry.values()
    return [page for part in parts for page in pages_of_navigation(part)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `scripts/docs` builds it, in a copy of the checkout that has files in its .cache."""
    pytest.importorskip("zensical", reason="needs the docs extra")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("docs", "benchmarks", "examples", "scripts", "tests/support"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(ROOT / "mkdocs.yml", copy)
    (copy / ".cache").mkdir()
    (copy / ".cache" / "model").touch()
    environment = os.environ | {"PYTHON": sys.executable}
    ended = subprocess.run([copy / "scripts" / "docs"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-3000:]
    return copy / "build" / "docs" / "site"


def test_a_build_leaves_the_checkouts_models_alone(site: Path) -> None:
    assert [path.name for path in (site.parents[2] / ".cache").iterdir()] == ["model"]


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    assert len(internal_links(site)) > 500
    assert not dead_links(site)


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    assert not external_requests(site)


def test_every_page_of_the_navigation_is_built_and_none_is_left_out_of_it(site: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = pages_of_navigation(config["nav"])
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    assert not [page for page in listed if not (site / page).with_suffix(".html").is_file()]


def test_a_planted_dead_link_a_dead_anchor_and_a_fetched_font_are_found(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text('@import "https://fonts.example/a.css";', encoding="utf-8")
    (tmp_path / "other.html").write_text('<h1 id="here">Other</h1>', encoding="utf-8")
    (tmp_path / "page.html").write_text(
        '<link rel="stylesheet" href="style.css"><script src="//cdn.example/x.js"></script>'
        '<a href="other.html#here">good</a><a href="other.html#gone">bad</a><a href="absent.html">bad</a>'
        '<a href="https://example.org">elsewhere, on a click</a>',
        encoding="utf-8",
    )
    assert dead_links(tmp_path) == ["page.html: other.html#gone", "page.html: absent.html"]
    assert external_requests(tmp_path) == ["page.html: //cdn.example/x.js", "style.css: https://fonts.example/a.css"]


@pytest.fixture(scope="module")
def page(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """A browser's tab as wide as a phone, and the address at which the site is served."""
    pytest.importorskip("websockets", reason="drives Chromium")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("needs Chromium")
    handler = functools.partial(Silent, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as browser:
        tab = browser.page("about:blank")
        tab.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
        yield tab, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("name", ["index", "configuration", "commands", "formats", "benchmarks", "failures"])
def test_a_page_is_no_wider_than_a_phone_and_a_browser_loads_it_from_here_alone(
    page: tuple[Page, str], name: str
) -> None:
    tab, address = page
    tab.open(f"{address}/{name}.html")
    tab.wait(f"location.pathname == '/{name}.html' && document.readyState == 'complete'")
    assert tab.ask("document.documentElement.scrollWidth <= innerWidth")
    loaded = tab.ask("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded
    assert not [one for one in loaded if not one.startswith(address)]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md"])
def test_a_link_of_a_document_at_the_root_leads_to_a_file(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("name", ["commands", "formats"])
def test_a_page_that_is_made_from_the_code_is_current(name: str) -> None:
    made = {"commands": commands_page, "formats": formats_page}[name]()
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == made, "scripts/docs write"


def test_the_page_on_commands_has_every_command_and_option_that_typer_has() -> None:
    from typer.core import TyperGroup
    from typer.main import get_command

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    assert list(commands()) == [name for name, command in group.commands.items() if not command.hidden]
    text = commands_page()
    for name, command in group.commands.items():
        section = text.partition(f"### pacos {name}\n")[2].partition("\n### ")[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert option in section or option == "--help", f"pacos {name} {option}"


def test_the_page_on_formats_has_every_file_of_a_finished_run() -> None:
    run_dir = ROOT / "tests" / "data" / "earlier_run" / "experiments" / "earlier"
    text = formats_page()
    known = {Path(each.path).name for formats in FORMATS.values() for each in formats}
    for file in run_dir.rglob("*.json*"):
        name = re.sub(r"--.*", "", file.stem) + file.suffix if file.parent.name == "eval" else file.name
        if "checkpoints" not in file.parts:
            assert name in known or f"`{name}`" in text or f"/{name}`" in text, name


def test_every_test_that_the_failures_name_is_there() -> None:
    named = TEST.findall((DOCS / "failures.md").read_text(encoding="utf-8"))
    assert len(named) >= 20
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_failure_says_what_happens_elsewhere_and_here_and_where_it_is_tested() -> None:
    entries = (DOCS / "failures.md").read_text(encoding="utf-8").split("\n### ")[1:]
    assert 12 <= len(entries) <= 24
    for entry in entries:
        assert "*Elsewhere.*" in entry and "*Here.*" in entry and TEST.search(entry), entry.partition("\n")[0]


def test_the_script_builds_and_refuses_what_it_does_not_know() -> None:
    assert os.access(ROOT / "scripts" / "docs", os.X_OK)
    ended = subprocess.run([ROOT / "scripts" / "docs", "publish"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "usage: scripts/docs" in ended.stderr
