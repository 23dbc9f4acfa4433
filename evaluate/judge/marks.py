"""The marks between which a judge reads what it judges, and the key that they are made with.

A mark is 128 bits of an HMAC of all the texts between the marks. Whoever writes an answer knows the task, the reference
and this code, but not the key, and so cannot try answers until one holds its own mark. The key lies in the folder of
the judgements, for a resumed run must ask with the same prompts.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from pacos.errors import DataError
from pacos.files import make_folder, read_object, write_bytes
from pacos.json_text import read_text

log = logging.getLogger("pacos")

KEY_FILE = "mark.key"
SETTINGS_FILE = "judge.json"

# Of earlier versions, whose judgements stay valid: 32 bits that can be found by trying.
UNKEYED = b""


def mark_of(texts: Iterable[str], key: bytes) -> str:
    """The mark of a prompt that shows these texts, in hexadecimal."""
    if key == UNKEYED:
        return hashlib.sha256("\0".join(texts).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return hmac.new(key, json.dumps(list(texts)).encode(), hashlib.sha256).hexdigest()[:32]


def open_key(folder: Path) -> bytes:
    """The key of a folder of judgements, made there for new ones; UNKEYED where an earlier version judged without.

    Raises DataError for a key that is damaged or cannot be read, RunError where none can be written.
    """
    if (key := read_key(folder)) != UNKEYED:
        return key
    settings = folder / SETTINGS_FILE
    if settings.is_file():
        if read_object(settings, todo="delete its folder and judge again").get("mark_key") != KEY_FILE:
            return UNKEYED
        log.warning("%s is gone: what was judged with it is judged again", folder / KEY_FILE)
    make_folder(folder)
    key = secrets.token_bytes(32)
    write_bytes(folder / KEY_FILE, f"{key.hex()}\n".encode("ascii"), mode=0o600)
    return key


def read_key(folder: Path) -> bytes:
    """The key in a folder; UNKEYED where there is none. Raises DataError for one that is damaged or cannot be read."""
    path = folder / KEY_FILE
    if not os.path.lexists(path):
        return UNKEYED
    text = read_text(path).strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise DataError("is not the key of a judge's marks", where=str(path), todo="delete it, and judge again")
    return bytes.fromhex(text)
