"""The tree of the product's modules with their first sentences: `python -m tests.support.source_tree` writes it.

It replaces what follows the marker in docs/architecture.md.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
STAGES = ("generate", "train", "evaluate", "self_rewarding", "sweeps")
FOLDERS = ("pacos", *STAGES)
MARKER = "<!-- written by `python -m tests.support.source_tree` from the modules' docstrings -->\n"


def source_tree() -> str:
    """A Markdown list: a heading for each folder, a line for each module with the first sentence of its docstring."""
    lines = []
    for folder in FOLDERS:
        files = [
            file for file in sorted((ROOT / folder).rglob("*.py")) if not any(up.is_symlink() for up in file.parents)
        ]
        for place in dict.fromkeys(file.parent for file in files):
            modules = [file for file in files if file.parent == place and file.stem != "__init__"]
            lines += ["", f"**{place.relative_to(ROOT)}/**", ""]
            lines += [f"- `{file.name}` {first_sentence(file)}" for file in modules]
    return "\n".join(lines) + "\n"


def first_sentence(file: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


def page_with_tree(page: str) -> str:
    """The page with the tree behind its marker."""
    return page.partition(MARKER)[0] + MARKER + source_tree()


if __name__ == "__main__":
    PAGE.write_text(page_with_tree(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
