"""Links of the built documentation site that lead nowhere, and what its pages fetch from elsewhere.

`python -m tests.support.site_links SITE` prints both, and exits with 1 where there are any.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page has the browser fetch something, by element.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
FETCHING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
# `url(…)` and `@import "…"` of another host; `//host` inherits the page's protocol.
CSS_FETCH = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """A page's ids, the targets of its links, and what the browser fetches for it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in FETCHED and FETCHED[tag] in values:
            self.fetched.append(values[FETCHED[tag]])
        if tag == "link" and FETCHING_LINKS & set(values.get("rel", "").split()):
            self.fetched.append(values.get("href", ""))
        self.fetched += CSS_FETCH.findall(values.get("style", ""))


def pages_of(site: Path) -> dict[Path, Page]:
    """Return the site's pages by file."""
    return {file.resolve(): Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}


def internal_links(site: Path) -> list[tuple[Path, str]]:
    """Return (page, target) of each link and each fetched file that is not on another host."""
    found = []
    for file, page in pages_of(site).items():
        found += [(file, target) for target in [*page.links, *page.fetched] if not _is_external(target)]
    return found


def dead_links(site: Path) -> list[str]:
    """Return the internal links whose file, or whose anchor in it, is not there."""
    pages, dead = pages_of(site), []
    for file, target in internal_links(site):
        parts = urlsplit(target)
        folder = site if parts.path.startswith("/") else file.parent  # 404.html is shown at any address
        place = (folder / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
        place = place / "index.html" if place.is_dir() else place
        anchor = unquote(parts.fragment)
        if not place.is_file() or (anchor and place in pages and anchor not in pages[place].ids):
            dead.append(f"{file.relative_to(site.resolve())}: {target}")
    return dead


def external_requests(site: Path) -> list[str]:
    """Return what the pages and style sheets have a browser fetch from another host."""
    found = []
    for file, page in pages_of(site).items():
        found += [f"{file.name}: {target}" for target in page.fetched if _is_external(target)]
    for file in sorted([*site.rglob("*.css"), *site.rglob("*.html")]):
        found += [f"{file.name}: {target}" for target in CSS_FETCH.findall(file.read_text(encoding="utf-8"))]
    return found


def _is_external(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "mailto")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    faults = [f"dead link: {line}" for line in dead_links(folder)]
    faults += [f"fetched from elsewhere: {line}" for line in external_requests(folder)]
    print("\n".join(faults) or f"{folder}: {len(internal_links(folder)):,} links lead somewhere, nothing is fetched")
    sys.exit(bool(faults))
