"""Grades A to D, given by people or by a judge: their figures, and the agreement of two raters on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.agreement import agree, cohen_kappa, rate, spearman
from pacos.files import read_jsonl
from pacos.results import extend
from pacos.results.figures import GradeAgreement
from pacos.results.judging import GradeFigures, GradeFileAgreement

# Levels of Self-Instruct's human evaluation (Wang et al. 2212.10560, section 4.4).
GRADES = ("A", "B", "C", "D")


def grade_figures(counts: Mapping[str, int]) -> GradeFigures:
    """Return the figures of {grade: count}; the rates are None where nothing was graded."""
    n = sum(counts.values())
    return GradeFigures(counts=dict(counts), n=n, A=rate(counts["A"], n), A_or_B=rate(counts["A"] + counts["B"], n))


# Figure 6 of the same paper: experts' grades on the 252 user-oriented instructions. Published, not measured here.
PUBLISHED_ITEMS = 252
PUBLISHED_COUNTS = {
    "GPT3": (1, 0, 64, 187),
    "GPT3 + T0 training": (44, 31, 59, 118),
    "GPT3 + SuperNI training": (74, 30, 80, 68),
    "GPT3 SelfInst + SuperNI": (83, 54, 84, 31),
    "GPT3 SelfInst": (112, 49, 66, 25),
    "InstructGPT-001": (128, 45, 61, 18),
    "InstructGPT-002": (168, 40, 34, 10),
    "InstructGPT-003": (192, 30, 28, 2),
}


def published_grades() -> dict[str, GradeFigures]:
    """Return the published experts' grades by model."""
    return {model: grade_figures(dict(zip(GRADES, counts, strict=True))) for model, counts in PUBLISHED_COUNTS.items()}


def grade_agreement(grades: Sequence[str], others: Sequence[str]) -> GradeAgreement:
    """Return the agreement of two raters' grades of the same answers."""
    acceptable = [[grade in "AB" for grade in rater] for rater in (grades, others)]
    return extend(
        GradeAgreement,
        agree(grades, others),
        kappa_binary=cohen_kappa(*acceptable),
        spearman=spearman([-GRADES.index(grade) for grade in grades], [-GRADES.index(grade) for grade in others]),
    )


def grade_file_agreement(one: Path, other: Path) -> GradeFileAgreement:
    """Return the agreement of two raters of the same answers, over those that both graded A to D.

    Each file has lines with `item`, `model` and `verdict`: a judge's `judgements.jsonl`, or votes of people.
    Raises DataError for a file without grades, and for files that grade no answer in common.
    """
    first, second = _read_grades(one), _read_grades(other)
    common = sorted(first.keys() & second.keys())
    if not common:
        raise DataError("the two files grade no answer in common", where=f"{one} and {other}")
    found = grade_agreement([first[key] for key in common], [second[key] for key in common])
    only_first, only_second = len(first) - len(common), len(second) - len(common)
    return extend(GradeFileAgreement, found, only_first=only_first, only_second=only_second)


def _read_grades(path: Path) -> dict[tuple[str, str, int], str]:
    grades = {}
    for line, values in read_jsonl(path):
        where = f"{path}:{line}"
        if not {"item", "model", "verdict"} <= values.keys():
            raise DataError("a grade needs `item`, `model` and `verdict`", where=where)
        item, model, sample = values["item"], values["model"], values.get("sample")
        if not isinstance(model, str) or type(item) not in (str, int):
            raise DataError("`item` must be text or a whole number, and `model` text", where=where)
        if sample is not None and type(sample) is not int:
            raise DataError("`sample` must be a whole number", where=where)
        if values["verdict"] in GRADES:
            if (key := (str(item), model, sample or 0)) in grades:
                raise DataError(f"{model!r} is graded twice on {item!r}", where=where, todo="keep one of the grades")
            grades[key] = str(values["verdict"])
    if not grades:
        raise DataError("holds no grades A to D", where=str(path))
    return grades
