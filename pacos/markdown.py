"""Markdown of texts and names that anyone may have chosen: shown as they are, and never markup, links or HTML."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from pacos.terminal import escaped, escaped_line

# What begins HTML, an entity, emphasis, code, a link, an image, a table's cell or another escape.
_MARKUP = re.compile(r"[\\`*\[\]<>&|~!#]|(?<![^\W_])_|_(?![^\W_])")
# GitHub's Markdown and the hub's make links of addresses that stand by themselves.
_ADDRESS = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=www)\.|(?<=\w)@(?=\w)")


def front_matter(values: Mapping[str, Any]) -> str:
    """The YAML header of a card, with its two lines of dashes; each text stands on one line."""
    return f"---\n{yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)}---\n"


def prose(text: str) -> str:
    """The text on one line, for a sentence, a heading or a cell of a table."""
    lines = " ".join(escaped(text).split())
    marked = _MARKUP.sub(lambda found: f"&{_ENTITIES[found[0]]};" if found[0] in _ENTITIES else f"\\{found[0]}", lines)
    return _ADDRESS.sub(lambda found: f"&#{ord(found[0])};", marked)


def code(text: str) -> str:
    """The text on one line as code, which backticks in it do not end. Not for tables: `|` would end the cell."""
    line = escaped_line(text)
    fence = "`" * (_longest_run(line) + 1)
    room = " " if not line or line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{room}{line}{room}{fence}"


def code_block(text: str, language: str = "text") -> str:
    """The text as a block of code, between fences longer than any in it."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{escaped(text)}\n{fence}"


_ENTITIES = {"<": "lt", ">": "gt", "&": "amp"}


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which writes texts with line breaks or invisible characters in double quotes."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    visible = escaped_line(text) if re.search("[\ud800-\udfff]", text) else text
    style = None if visible.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", visible, style=style)


_Dumper.add_representer(str, _represent_text)
