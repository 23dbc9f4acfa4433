"""Names of files that hold whatever text they are made from."""

import hashlib
import re

from pacos.json_text import SURROGATE

# Bytes of a safe name. Most file systems take 255, and a prefix and a suffix are added.
LONGEST_NAME = 150

_SAFE_NAME = re.compile(r"[^\W_](?:[\w .,()+@=-]{0,118}[\w)])?")


def safe_name(text: str) -> str:
    """A file name for any text: the text itself where it is one, else what is harmless of it and a hash of the whole.

    The name begins with a letter or a digit and has no separator, so that it stays in its folder and hides nothing;
    it leaves room for a prefix and a suffix. Different texts have different names.
    """
    content = SURROGATE.sub("\ufffd", text).encode("utf-8")
    if _SAFE_NAME.fullmatch(text) and len(content) <= LONGEST_NAME:
        return text
    harmless = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:60]
    return f"{harmless or 'name'}-{hashlib.sha256(content).hexdigest()[:16]}"
