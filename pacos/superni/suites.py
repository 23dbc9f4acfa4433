"""Readers of evaluation sets: a SuperNI folder, or a file in the form of the user-oriented set.

The user-oriented set (Self-Instruct, `human_eval/user_oriented_instructions.jsonl`) has 252 instructions of one
instance each, by the application that prompted them. Each becomes a task of its own, its application the category.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.extensions import SUITES, load
from pacos.files import read_jsonl
from pacos.superni.tasks import Instance, Suite, read_test_split

TRACK = "user-oriented"


@dataclass(frozen=True, slots=True)
class SuiteReader:
    """A kind of evaluation set: whether a path is one, and how it is read (the path, and a limit or None)."""

    accepts: Callable[[Path], bool]
    read: Callable[[Path, int | None], Suite]


class UserOriented(Suite):
    """A file of instructions. The file is the whole set, so `n_expected` counts what a `limit` left out, too."""

    @property
    def coverage(self) -> str:
        return f"{len(self.instances):,} of {self.n_expected:,} instructions"


def read_suite(path: Path, limit: int | None = None) -> Suite:
    """Read an evaluation set with the first reader of extensions.SUITES that accepts its path.

    `limit` is instances per task for a SuperNI folder, and instructions for a `.jsonl` file of user-oriented ones.
    Raises DataError.
    """
    readers: list[SuiteReader] = [load(SUITES, name) for name in SUITES]
    return next(reader for reader in readers if reader.accepts(path)).read(path, limit)


def read_user_oriented(path: Path, limit: int | None = None) -> UserOriented:
    """Lines of {id, motivation_app, instruction, instances: [{input, output}]}; every instance is read.

    Raises DataError with file and line: not JSON, a missing text, a duplicate id, no lines.
    """
    instances: list[Instance] = []
    seen: set[str] = set()
    rows = list(read_jsonl(path))
    for line, values in rows:
        where = f"{path}:{line}"
        name = _text(values, "id", where)
        if name in seen:
            raise DataError(f"duplicate id {name!r}", where=where)
        seen.add(name)
        instances += _instances(name, values, where)
    if not rows:
        raise DataError("holds no instructions", where=str(path))
    return UserOriented(track=TRACK, instances=instances[:limit], files=[path], absent=[], n_expected=len(instances))


def _instances(name: str, values: dict[str, Any], where: str) -> list[Instance]:
    rows = values.get("instances")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError("`instances` must be a list that is not empty", where=where)
    instruction = _text(values, "instruction", where)
    return [
        Instance(
            task=name,
            id=f"{name}-{index}",
            category=str(values.get("motivation_app") or TRACK),
            definition=instruction,
            input=_text(row, "input", where, may_be_empty=True),
            references=(_text(row, "output", where),),
        )
        for index, row in enumerate(rows)
    ]


def _text(values: dict[str, Any], key: str, where: str, *, may_be_empty: bool = False) -> str:
    text = values.get(key)
    if may_be_empty and key in values and text is None:
        return ""
    if not isinstance(text, str) or not (text.strip() or may_be_empty):
        raise DataError(f"`{key}` must be text{'' if may_be_empty else ' that is not empty'}", where=where)
    return text


USER_ORIENTED = SuiteReader(lambda path: path.suffix == ".jsonl", read_user_oriented)
SUPERNI = SuiteReader(lambda path: True, read_test_split)
