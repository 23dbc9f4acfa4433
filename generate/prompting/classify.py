"""Self-Instruct, phase 2: is the task classification? It decides how its instances are written.

12 examples of yes and 19 of no come before the question, as in self-instruct `clf_task_template.py`.
"""

from collections.abc import Sequence
from typing import Literal

from pacos.generate.prompting.shots import Shots

Kind = Literal["yes", "no", "unknown"]

SHOTS = Shots.read("classify.txt")
STOPS = ["\n", "Task"]


def classify_prompt(instruction: str, shots: Sequence[str] = SHOTS.blocks) -> str:
    return SHOTS.prompt(f"Task: {instruction}\nIs it classification?", shots)


def parse_kind(text: str) -> Kind:
    """What the answer starts with; "unknown" for anything but yes and no, where the original said no and kept quiet."""
    words = text.replace("*", " ").replace(".", " ").replace(",", " ").casefold().split()
    if words and words[0] in ("yes", "no"):
        return "yes" if words[0] == "yes" else "no"
    return "unknown"
