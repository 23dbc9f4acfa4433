"""The additive judge: scores answers from 0 to 5 with its reasons, several times each (Self-Rewarding LMs)."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from pacos.config import JudgeConfig
from pacos.evaluate.judge.answers import AnswerSet, JudgedAnswer
from pacos.evaluate.judge.kinds import AnswerKey, JudgeKind, JudgeQuestion, answer_key, by_model, shared_figures
from pacos.evaluate.judge.marks import UNKEYED
from pacos.evaluate.judge.prompts import MATERIAL_NOTE, PromptWriter, prompt_writer
from pacos.evaluate.judge.ranking import rank_figures, ranking_lines
from pacos.records import SCORES, Judgement
from pacos.results.judging import AdditiveFigures, AdditiveResults, JudgeSettings
from pacos.serving.completion import Sampling

DELIMITER = "Score:"
# No run gives back what it took, so that a completion of blanks is read once.
_POINTS = re.compile(r"\s*+\**+\s*+([0-5])(?:\s*+/\s*+5)?\s*+\**+\.?\s*+")


class AdditiveJudge(JudgeKind[AdditiveResults]):
    """Scores each answer `samples` times in free text. The criteria follow 2401.10020, figure 2, in our own
    words."""

    name = "additive"
    results = AdditiveResults
    prompt = f"""Score an answer to a user's request. Start at 0 and add one point for each of these that holds:
- It has to do with the request and tells the user something, even if much is missing or beside the point.
- It deals with a good part of the request, though not with all of it.
- It covers what is essential, in a way the user can put to use, wherever it may have been taken from.
- It speaks to the user as an assistant should: direct, complete, in good order, if not yet as tight as it could be.
- There is nothing left to improve: it shows expert knowledge, fits this user, and wastes no words.
{MATERIAL_NOTE}

{{material}}

Give your reasons in at most 100 words. Then close with a line that holds nothing but `Score: ` and the points, a \
whole number from 0 to 5."""

    def writer(self, answer: JudgedAnswer, key: bytes = UNKEYED) -> PromptWriter:
        """Return the writer of the prompt for one answer."""
        context = {"task": answer.instruction, "input": answer.input}
        return prompt_writer(self.prompt, context, {"answer": answer.text}, key)

    def questions(self, answers: AnswerSet, samples: int, key: bytes) -> list[JudgeQuestion]:
        """Return `samples` questions for each answer."""
        return [
            JudgeQuestion(one.item, one.model, "", one.sample, repeat, self.writer(one, key))
            for one in answers.answers
            for repeat in range(samples)
        ]

    def sampling(self, judge: JudgeConfig) -> Sampling:
        """Return `evaluate.judge`'s own sampling."""
        return Sampling(judge.max_tokens, judge.temperature, judge.top_p)

    def read_verdict(self, completion: str, finish_reason: str) -> str:
        """Return the score behind the last `Score:`, where it ends a completion that the judge itself has ended.

        Anything else is "": the judge may have quoted an answer that contains a score.
        """
        _, delimiter, rest = completion.rpartition(DELIMITER)
        points = _POINTS.fullmatch(rest)
        return points[1] if delimiter and points and finish_reason == "stop" else ""

    def summarise(
        self, settings: JudgeSettings, answers: AnswerSet, judgements: Sequence[Judgement]
    ) -> AdditiveResults:
        """Average scores by model, and measure the judge where people have ranked the answers."""
        is_ranked = any(answer.rank is not None for answer in answers.answers)
        return AdditiveResults(
            **shared_figures(settings, answers, judgements),
            models={model: _scores(ones) for model, ones in by_model(answers, judgements).items()},
            ranking=rank_figures(answers.answers, mean_scores(judgements)) if is_ranked else None,
        )

    def lines(self, found: AdditiveResults) -> list[str]:
        """Return a line for each model, then the judge against people's ranking."""
        width = max(map(len, found.models), default=0)
        lines = [f"{model:{width}}  {_line(row)}" for model, row in found.models.items()]
        return lines + (ranking_lines(found.ranking) if found.ranking else [])


def mean_scores(judgements: Sequence[Judgement]) -> dict[AnswerKey, float | None]:
    """Return each judged answer's mean over its readable scores; None where none is readable."""
    readable: dict[AnswerKey, list[int]] = defaultdict(list)
    for judgement in judgements:
        scores = readable[answer_key(judgement)]
        if judgement.verdict:
            scores.append(int(judgement.verdict))
    return {key: math.fsum(scores) / len(scores) if scores else None for key, scores in readable.items()}


def _scores(judgements: Sequence[Judgement]) -> AdditiveFigures:
    of_answer = mean_scores(judgements)
    means = [mean for mean in of_answer.values() if mean is not None]
    counts = Counter(judgement.verdict for judgement in judgements)
    return AdditiveFigures(
        mean=round(math.fsum(means) / len(means), 4) if means else None,
        n=len(means),
        dropped=len(of_answer) - len(means),
        unreadable=counts[""],
        counts={score: counts[score] for score in SCORES},
    )


def _line(row: AdditiveFigures) -> str:
    mean = "no score" if row.mean is None else f"mean score {row.mean:.2f}"
    return f"{mean} over {row.n} answers, {row.dropped} dropped"


ADDITIVE = AdditiveJudge()
