"""Defines a kind of judge: its prompts, how a verdict is parsed, and how verdicts are summarised.

A kind is one object in a file of its own (rubric.py, pairwise.py, additive.py), listed in extensions.JUDGE_KINDS.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pacos.config import JudgeConfig
from pacos.evaluate.judge.answers import AnswerSet, JudgedAnswer
from pacos.evaluate.judge.prompts import PromptWriter, unchanged
from pacos.extensions import JUDGE_KINDS, load
from pacos.records import Judgement
from pacos.results.judging import JudgeResults, JudgeSettings
from pacos.serving.completion import Sampling

# A letter, and the end-of-text behind it.
LETTER_TOKENS = 4

Results = TypeVar("Results", bound=JudgeResults)

AnswerKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """One judgement to request; the fields are those of `Judgement`, and `write` writes the prompt."""

    item: str
    model: str
    against: str
    sample: int
    repeat: int
    write: PromptWriter

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """The question within its kind."""
        return self.item, self.model, self.against, self.sample, self.repeat

    @property
    def sha256(self) -> str:
        """Hash of the full prompt as written, task and answers included."""
        return hashlib.sha256(self.write(unchanged).encode("utf-8", "backslashreplace")).hexdigest()


class JudgeKind(ABC, Generic[Results]):
    """A way to have a model judge answers.

    `choices` are the only completions allowed; without any, judgements are free text. `results` is the dataclass of
    `results.json`.
    """

    name: str
    prompt: str
    choices: tuple[str, ...] = ()
    results: type[Results]

    @abstractmethod
    def questions(self, answers: AnswerSet, samples: int, key: bytes) -> list[JudgeQuestion]:
        """Return the judgements to request; `samples` is `evaluate.judge.samples`, `key` that of the marks."""

    def sampling(self, judge: JudgeConfig) -> Sampling:
        """Return how judgements are sampled: greedily, one of the letters in `choices`."""
        return Sampling(LETTER_TOKENS, choice=self.choices)

    def read_verdict(self, completion: str, finish_reason: str) -> str:
        """Return the verdict in the judge's own completion, "" where there is none.

        A letter must be the whole completion: servers that do not know `choice` answer at length.
        """
        letter = completion.strip()
        return letter if letter in self.choices else ""

    def recorded_verdict(self, question: JudgeQuestion, verdict: str) -> str:
        """Return a verdict as `judgements.jsonl` has it."""
        return verdict

    @abstractmethod
    def summarise(self, settings: JudgeSettings, answers: AnswerSet, judgements: Sequence[Judgement]) -> Results:
        """Return the results of these judgements. Unreadable ones are counted, never scored."""

    @abstractmethod
    def lines(self, found: Results) -> list[str]:
        """Return the results as lines for the terminal, a model each."""


def judge_kind(name: str) -> JudgeKind[Any]:
    """Return the kind of judge of that name (extensions.JUDGE_KINDS). Raises KeyError for an unknown one."""
    found: JudgeKind[Any] = load(JUDGE_KINDS, name)
    return found


def answer_key(one: JudgedAnswer | Judgement) -> AnswerKey:
    """Return what identifies a judged answer: item, model and sample."""
    return one.item, one.model, one.sample


def by_model(answers: AnswerSet, judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    """Return each model's judgements, models in the order of the answers; those without any are left out."""
    found: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        found[judgement.model].append(judgement)
    return {model: found[model] for model in answers.models if model in found}


def shared_figures(settings: JudgeSettings, answers: AnswerSet, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the fields of `JudgeResults`, which every kind reports."""
    return {
        "suite": answers.suite,
        "judge": settings,
        "kind": settings.kind,
        "n": len(judgements),
        "unreadable": sum(not judgement.verdict for judgement in judgements),
        "truncated": sum(judgement.truncated for judgement in judgements),
    }


def judge_table(found: JudgeResults) -> str:
    """Return the results as a table for the terminal."""
    lines = [f"{found.suite}, {found.kind}: {found.n:,} judgements, {found.unreadable} unreadable"]
    if found.truncated:
        lines.append(f"{found.truncated} prompts were too long for the judge; their texts lost the middle")
    return "\n".join(lines + judge_kind(found.kind).lines(found))
