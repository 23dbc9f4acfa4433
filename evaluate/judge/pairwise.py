"""The pairwise judge: compares every model's answers blind with the first model's, in both orders."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pacos.errors import DataError
from pacos.evaluate.agreement import compare_blind, rate
from pacos.evaluate.judge.answers import AnswerSet, JudgedAnswer
from pacos.evaluate.judge.kinds import JudgeKind, JudgeQuestion, by_model, shared_figures
from pacos.evaluate.judge.marks import UNKEYED
from pacos.evaluate.judge.prompts import MATERIAL_NOTE, PromptWriter, prompt_writer
from pacos.records import Judgement
from pacos.results import extend
from pacos.results.judging import JudgeSettings, PairwiseFigures, PairwiseResults

FIRST, SECOND, EQUAL = "A", "B", "C"


class PairwiseJudge(JudgeKind[PairwiseResults]):
    """Asks twice about each pair: repeat 0 shows the baseline first, repeat 1 the model. Verdicts are the model's."""

    name = "pairwise"
    choices = (FIRST, SECOND, EQUAL)
    results = PairwiseResults
    prompt = f"""Two answers to the same task were given by different writers. Decide which of them serves the one \
who asked better: is it right, is it complete, does it do what was asked? Neither the order of the answers nor their \
length counts for anything.
{MATERIAL_NOTE}

{{material}}

Reply with one letter: A if the first answer is better, B if the second is, C if they are equally good."""

    def writer(self, first: JudgedAnswer, second: JudgedAnswer, key: bytes = UNKEYED) -> PromptWriter:
        """Return the writer of the prompt for two answers in this order."""
        context = {"task": first.instruction, "input": first.input}
        return prompt_writer(self.prompt, context, {"first answer": first.text, "second answer": second.text}, key)

    def questions(self, answers: AnswerSet, samples: int, key: bytes) -> list[JudgeQuestion]:
        """Return two questions for each pair. Raises DataError for a single model, and for models that answer
        different items."""
        return list(self._questions(answers, key))

    def _questions(self, answers: AnswerSet, key: bytes) -> Iterator[JudgeQuestion]:
        answers_of: dict[str, dict[tuple[str, int], JudgedAnswer]] = {model: {} for model in answers.models}
        for answer in answers.answers:
            answers_of[answer.model][answer.item, answer.sample] = answer
        baseline, *others = answers_of
        if not others:
            raise DataError("a comparison needs two models or more", todo="name more answers by --answers")
        for other in others:
            if odd := sorted(answers_of[baseline].keys() ^ answers_of[other].keys()):
                raise DataError(
                    f"{baseline!r} and {other!r} answer different items; {len(odd)} are answered by one of them only, "
                    f"the first of them {odd[0][0]!r}"
                )
            for (item, sample), theirs in answers_of[other].items():
                ours = answers_of[baseline][item, sample]
                yield JudgeQuestion(item, other, baseline, sample, 0, self.writer(ours, theirs, key))
                yield JudgeQuestion(item, other, baseline, sample, 1, self.writer(theirs, ours, key))

    def recorded_verdict(self, question: JudgeQuestion, verdict: str) -> str:
        """Return `win`, `tie` or `loss` of the model, whichever side it was shown on."""
        if verdict in ("", EQUAL):
            return verdict and "tie"
        return "win" if verdict == (SECOND if question.repeat == 0 else FIRST) else "loss"

    def summarise(
        self, settings: JudgeSettings, answers: AnswerSet, judgements: Sequence[Judgement]
    ) -> PairwiseResults:
        """Compare each model with the first."""
        return PairwiseResults(
            **shared_figures(settings, answers, judgements),
            baseline=answers.models[0],
            models={model: _comparison(ones) for model, ones in by_model(answers, judgements).items()},
        )

    def lines(self, found: PairwiseResults) -> list[str]:
        """Return a line for each model but the baseline."""
        width = max(map(len, found.models), default=0)
        return [f"{model:{width}}  {_line(row, found.baseline)}" for model, row in found.models.items()]


def _comparison(judgements: Sequence[Judgement]) -> PairwiseFigures:
    """An item counts where both orders could be read; orders that disagree are a tie (as in FastChat's MT-Bench)."""
    orders: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for judgement in judgements:
        orders[judgement.item, judgement.sample][judgement.repeat] = judgement.verdict
    pairs = [(both.get(0, ""), both.get(1, "")) for both in orders.values()]
    readable = [(one, other) for one, other in pairs if one and other]
    points = {("win", "win"): 1.0, ("loss", "loss"): 0.0}
    first_wins = [verdict == first for pair in readable for verdict, first in zip(pair, ("loss", "win"), strict=True)]
    ties = sum(verdict == "tie" for pair in readable for verdict in pair)
    return extend(
        PairwiseFigures,
        compare_blind([points.get(pair, 0.5) for pair in readable]),
        dropped=len(pairs) - len(readable),
        position_consistency=rate(sum(one == other for one, other in readable), len(readable)),
        first_preferred=rate(sum(first_wins), len(first_wins) - ties),
    )


def _line(row: PairwiseFigures, baseline: str) -> str:
    if not row.n:
        return "no readable judgement"
    return (
        f"against {baseline}: win rate {row.win_rate} ({row.wins} won, {row.ties} tied, {row.losses} lost; "
        f"sign test p {row.sign_test_p:.3g}), both orders agree in {row.position_consistency}"
    )


PAIRWISE = PairwiseJudge()
