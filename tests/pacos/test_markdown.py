"""Markdown of names and texts that anyone may have chosen."""

import pytest
import yaml
from huggingface_hub import RepoCard
from markdown_it import MarkdownIt

from pacos.markdown import code, code_block, front_matter, prose

HOSTILE = [
    "a\n---\nlicense: mit",
    "a: b",
    "---",
    "- x",
    "{a: b}",
    "&a *b",
    "!!python/object/apply:os.system ['x']",
    "# heading",
    "yes",
    "1:30",
    "2024-02-30",
    "null",
    "a\r\n---\r\n",
    "a\u2028---\u2028b",
    "tab\there",
    "'\"\\",
    "\u202egnp",
    " blanks ",
    "",
    "x" * 500,
    "x " * 300 + "\n---\n",
    "naïve 汉字",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_header_gives_each_text_back_and_ends_where_it_should(text: str) -> None:
    values = {"name": text, "datasets": [text, "other"], "nested": [{"path": text}]}
    card = RepoCard(front_matter(values) + "\n# Body\n")
    assert yaml.safe_load(card.data.to_yaml()) == values
    assert card.text.strip() == "# Body"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[a](javascript:alert)",
        "![x](http://evil/x.png)",
        "a\n\n# heading",
        "a | b",
        "`code`",
        "**bold** _it_ ~~no~~",
        "http://evil.example www.evil.example me@evil.example",
        "&lt;b&gt; \\* \\",
        "<!-- hidden -->",
        "q_proj, v_proj",
    ],
)
def test_prose_renders_as_the_text_itself(text: str) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    rendered = reader.parse(f"# {prose(text)}\n\n| a | b |\n|---|---|\n| {prose(text)} | last |\n")
    inlines = [token for token in rendered if token.type == "inline"]
    shown = " ".join(text.split())
    assert ["".join(part.content for part in one.children or []) for one in inlines] == [shown, "a", "b", shown, "last"]
    assert {part.type for one in inlines for part in one.children or []} <= {"text", "text_special"}


@pytest.mark.parametrize("text", ["a", "`", "a``b", "``` ``", "<b>&amp;", "a\nb", " x ", "[a](b)"])
def test_code_holds_the_text_and_nothing_ends_it(text: str) -> None:
    parts = MarkdownIt().parseInline(f"before {code(text)} after")[0].children or []
    assert [part.type for part in parts] == ["text", "code_inline", "text"]
    assert parts[1].content == text.replace("\n", "\\n")


def test_a_block_of_code_is_not_ended_by_fences_in_it() -> None:
    text = "a\n```\n# heading\n`````\n<b>"
    blocks = MarkdownIt().parse(code_block(text) + "\n\nafter\n")
    assert [one.content for one in blocks if one.type == "fence"] == [text + "\n"]
