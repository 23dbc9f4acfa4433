"""Chat templates of strangers: a clear error whatever they raise, and nothing of them is code."""

from pathlib import Path

import pytest

from pacos.errors import ModelError
from pacos.tokenization import encode_chats
from tests.support.small_tokenizers import KINDS

NEEDS_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ raise_exception('a system message is required') }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (NEEDS_SYSTEM, "a system message is required"),
        ("{% for m in messages %}{{ m['content'] }", "TemplateSyntaxError"),
        ("{{ messages[0]['content'][0]['text'] }}", "does not repeat the message once"),
        ("{% for i in range(10**9) %}x{% endfor %}", "OverflowError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages.missing.attribute }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__['os'].mkdir('PLACE') }}", "SecurityError"),
        ("{% set _ = messages.append(1) %}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "TypeError"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "RecursionError"),
        ("{{ messages[0]['content'] }} {{ messages[0]['content'] }}", "does not repeat the message once"),
        ("", "does not repeat the message once"),
        (None, "chat_template is not set"),
    ],
)
def test_a_template_that_fails_says_why(template: str | None, reason: str, tmp_path: Path) -> None:
    tokenizer = KINDS["byte-level"]()
    tokenizer.chat_template = template and template.replace("PLACE", str(tmp_path / "made"))
    with pytest.raises(ModelError, match=reason):
        encode_chats(tokenizer, ["Hello."])
    assert not (tmp_path / "made").exists()
