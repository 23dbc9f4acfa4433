"""The rubric judge: grades every answer A to D, as Self-Instruct's experts did."""

from collections import Counter
from collections.abc import Sequence

from pacos.evaluate.judge.answers import AnswerSet, JudgedAnswer
from pacos.evaluate.judge.grades import GRADES, PUBLISHED_ITEMS, grade_figures, published_grades
from pacos.evaluate.judge.kinds import JudgeKind, JudgeQuestion, by_model, shared_figures
from pacos.evaluate.judge.marks import UNKEYED
from pacos.evaluate.judge.prompts import MATERIAL_NOTE, PromptWriter, prompt_writer
from pacos.records import Judgement
from pacos.results import extend
from pacos.results.judging import GradeFigures, JudgeSettings, RubricFigures, RubricResults


class RubricJudge(JudgeKind[RubricResults]):
    """Grades each answer once; the judge sees a reference where there is one."""

    name = "rubric"
    choices = GRADES
    results = RubricResults
    prompt = f"""Grade an answer to a task. There are four grades:
A: valid, and the one who asked would be satisfied with it.
B: acceptable, with small errors or rough edges.
C: it does respond to the task, but something in it is seriously wrong; for instance, it begins well and drifts away.
D: beside the point, or of no use at all.
{MATERIAL_NOTE}

{{material}}

Which grade does the answer deserve? Reply with one letter: A, B, C or D."""

    def writer(self, answer: JudgedAnswer, key: bytes = UNKEYED) -> PromptWriter:
        """Return the writer of the prompt for one answer."""
        context = {
            "task": answer.instruction,
            "input": answer.input,
            "reference answer, one of several that may be good": answer.reference,
        }
        return prompt_writer(self.prompt, context, {"answer": answer.text}, key)

    def questions(self, answers: AnswerSet, samples: int, key: bytes) -> list[JudgeQuestion]:
        """Return one question for each answer."""
        return [JudgeQuestion(one.item, one.model, "", one.sample, 0, self.writer(one, key)) for one in answers.answers]

    def summarise(self, settings: JudgeSettings, answers: AnswerSet, judgements: Sequence[Judgement]) -> RubricResults:
        """Count grades by model; for Self-Instruct's 252 instructions, add the published ones."""
        items = {answer.item for answer in answers.answers}
        is_published = len(items) == PUBLISHED_ITEMS and all(item.startswith("user_oriented") for item in items)
        return RubricResults(
            **shared_figures(settings, answers, judgements),
            models={model: _grades(ones) for model, ones in by_model(answers, judgements).items()},
            published=published_grades() if is_published else {},
        )

    def lines(self, found: RubricResults) -> list[str]:
        """Return a line for each model, and the published ones."""
        width = max(map(len, found.models), default=0)
        return [f"{model:{width}}  {_line(row)}" for model, row in found.models.items()] + [
            f"published, people's grades: {model}: {_line(row)}" for model, row in found.published.items()
        ]


def _grades(judgements: Sequence[Judgement]) -> RubricFigures:
    counts = Counter(judgement.verdict for judgement in judgements)
    return extend(RubricFigures, grade_figures({grade: counts[grade] for grade in GRADES}), unreadable=counts[""])


def _line(row: GradeFigures) -> str:
    if not row.n:
        return "no readable judgement"
    counts = " ".join(f"{grade} {count}" for grade, count in row.counts.items())
    return f"{counts}; A {row.A}, A or B {row.A_or_B}"


RUBRIC = RubricJudge()
