"""What raters are asked, in each kind of review, and the keys they answer with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pacos.evaluate.judge.prompts import GRADES

ReviewKind = Literal["quality", "rating", "pairwise"]

YES, NO = "yes", "no"
LEFT, TIE, RIGHT = "left", "tie", "right"


@dataclass(frozen=True, slots=True)
class Choice:
    """`keys` as `KeyboardEvent.key` names them; the first stands on the button."""

    answer: str
    label: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    text: str
    choices: tuple[Choice, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(choice.answer for choice in self.choices)


_YES_NO = (Choice(YES, "yes", ("y",)), Choice(NO, "no", ("n",)))
_LEVELS = ("valid and satisfying", "small errors", "seriously wrong", "of no use")

# Quality: the three questions of Self-Instruct's review of 200 tasks (Wang et al. 2212.10560, section 3.3, table 2).
# Rating: its four levels (section 4.4). Pairwise: Alpaca's blind comparison. All in our words.
QUESTIONS: Mapping[ReviewKind, tuple[Question, ...]] = {
    "quality": (
        Question("task", "Is it a valid task?", _YES_NO),
        Question("input", "Does the input fit it (or is it rightly left out)?", _YES_NO),
        Question("output", "Is the output a correct and acceptable answer?", _YES_NO),
    ),
    "rating": (
        Question(
            "grade",
            "How good is the answer?",
            tuple(
                Choice(grade, level, (grade.lower(), str(number)))
                for number, (grade, level) in enumerate(zip(GRADES, _LEVELS, strict=True), 1)
            ),
        ),
    ),
    "pairwise": (
        Question(
            "preference",
            "Which answer is better?",
            (
                Choice(LEFT, "the first", ("1", "ArrowLeft")),
                Choice(TIE, "equally good", ("2", "ArrowDown")),
                Choice(RIGHT, "the second", ("3", "ArrowRight")),
            ),
        ),
    ),
}
