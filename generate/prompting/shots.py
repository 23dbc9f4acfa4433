"""Worked examples ("shots") that stand before a question: a header and blocks, read from `data/*.txt`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True, slots=True)
class Shots:
    header: str
    blocks: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> "Shots":
        header, *blocks = re.split(r"\n\n(?=Task: )", (DATA / name).read_text(encoding="utf-8").strip())
        return cls(header, tuple(blocks))

    def prompt(self, question: str, blocks: Sequence[str]) -> str:
        return "\n\n".join([self.header, *blocks, question])
