"""Every evaluation set behind one door: a SuperNI folder, or a file in the form of the user-oriented set.

The user-oriented set (Self-Instruct, `human_eval/user_oriented_instructions.jsonl`) has 252 instructions of one
instance each, by the application that prompted them. Each becomes a task of its own, its application the category.
"""

from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.records import read_jsonl
from pacos.superni import tasks as superni
from pacos.superni.tasks import Instance, Suite

USER_ORIENTED = "user-oriented"


class UserOriented(Suite):
    """The whole file is the set, so `n_expected` is what it holds, or what a `limit` left out included."""

    @property
    def coverage(self) -> str:
        return f"{len(self.instances):,} of {self.n_expected:,} instructions"


def read_suite(path: Path, limit: int | None = None) -> Suite:
    """Read a SuperNI folder (`superni.read_suite`), or a `.jsonl` file of user-oriented instructions.

    `limit` is instances per task for the former, and instructions for the latter. Raises DataError.
    """
    return read_user_oriented(path, limit) if path.suffix == ".jsonl" else superni.read_suite(path, limit)


def read_user_oriented(path: Path, limit: int | None = None) -> UserOriented:
    """Lines of {id, motivation_app, instruction, instances: [{input, output}]}; several instances are all read.

    Raises DataError with file and line: not JSON, a text that is missing, an id that is there twice, no lines.
    """
    instances: list[Instance] = []
    seen: set[str] = set()
    rows = list(read_jsonl(path))
    for line, values in rows:
        where = f"{path}:{line}"
        name = _text(values, "id", where)
        if name in seen:
            raise DataError(f"the id {name!r} is there twice", where=where)
        seen.add(name)
        instances += _instances(name, values, where)
    if not rows:
        raise DataError("holds no instructions", where=str(path))
    return UserOriented(
        track=USER_ORIENTED, instances=instances[:limit], files=[path], absent=[], n_expected=len(instances)
    )


def _instances(name: str, values: dict[str, Any], where: str) -> list[Instance]:
    rows = values.get("instances")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError("`instances` must be a list that is not empty", where=where)
    instruction = _text(values, "instruction", where)
    return [
        Instance(
            task=name,
            id=f"{name}-{index}",
            category=str(values.get("motivation_app", "")) or USER_ORIENTED,
            definition=instruction,
            input=_text(row, "input", where, may_be_empty=True),
            references=(_text(row, "output", where),),
        )
        for index, row in enumerate(rows)
    ]


def _text(values: dict[str, Any], key: str, where: str, *, may_be_empty: bool = False) -> str:
    text = values.get(key)
    if not isinstance(text, str) or not (text.strip() or may_be_empty):
        raise DataError(f"`{key}` must be text{'' if may_be_empty else ' that is not empty'}", where=where)
    return text
