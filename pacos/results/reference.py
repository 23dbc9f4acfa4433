"""Every file of a run directory with its fields, as docs/formats.md has them: `scripts/docs write`."""

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pacos.records import AnswerRow, DatasetRow, Judgement, PairRow, Prediction, Rejection, Response
from pacos.results.comparison import Comparison
from pacos.results.dataset import Analysis, DatasetStats
from pacos.results.evaluation import Contamination, Evaluation, Scores
from pacos.results.judging import AdditiveResults, JudgeSettings, JudgingStats, PairwiseResults, RubricResults
from pacos.results.manifest import Manifest
from pacos.results.review import ReviewResults
from pacos.results.rounds import PairStats, Rounds, StepRecord
from pacos.results.selection import Selection
from pacos.results.sweep import Sweep
from pacos.results.training import Provenance, StopProbe, TrainingStep


@dataclass(frozen=True, slots=True)
class Format:
    """A file of a run directory, and the dataclasses that it holds: several where its kind decides."""

    path: str
    holds: tuple[type[Any], ...]
    note: str = ""


FORMATS = {
    "The run": (Format("manifest.json", (Manifest,)),),
    "Generation": (
        Format("dataset/dataset.jsonl", (DatasetRow,)),
        Format("dataset/responses.jsonl", (Response,)),
        Format("dataset/rejected.jsonl", (Rejection,)),
        Format("dataset/stats.json", (DatasetStats,)),
        Format("dataset/analysis.json", (Analysis,)),
    ),
    "Training": (
        Format("train/metrics.jsonl", (TrainingStep,)),
        Format("train/probe.json", (StopProbe,)),
        Format("train/adapter/pacos.json", (Provenance,), "After full fine-tuning it is `train/model/pacos.json`."),
    ),
    "Evaluation": (
        Format("eval/LABEL/predictions.jsonl", (Prediction,)),
        Format("eval/LABEL/evaluation.json", (Evaluation,)),
        Format("eval/LABEL/scores.json", (Scores,)),
        Format("eval/comparison.json", (Comparison,)),
        Format("eval/contamination.json", (Contamination,)),
        Format("selection.json", (Selection,)),
        Format("sweep.json", (Sweep,)),
    ),
    "Judging and review": (
        Format("judge/KIND--SUITE/judgements.jsonl", (Judgement,)),
        Format("judge/KIND--SUITE/judge.json", (JudgeSettings,)),
        Format(
            "judge/KIND--SUITE/results.json",
            (RubricResults, PairwiseResults, AdditiveResults),
            "One of three, by the kind of judge.",
        ),
        Format("review/KIND--NAME/review.json", (ReviewResults,)),
    ),
    "Self-rewarding": (
        Format("answers/answers.jsonl", (AnswerRow,)),
        Format("pairs/pairs.jsonl", (PairRow,)),
        Format("pairs/stats.json", (PairStats,)),
        Format("judging/stats.json", (JudgingStats,), "Written by `pacos judging` into its `--out` folder."),
        Format("rounds.json", (Rounds,)),
        Format("loop.json", (StepRecord,), "A mapping from each step's name to this."),
    ),
}

# The heading below which a file's own dataclass is described; any other has its name.
_HEADINGS = {held: each.path for formats in FORMATS.values() for each in formats for held in each.holds}

INTRODUCTION = """# Formats

What passes between the stages is the run directory `runs/NAME/`, and nothing else: every result is a file of JSON or
JSONL that you can read with any tool. Keys are added, never renamed or removed, so files of earlier versions stay
readable. JSON files are replaced atomically; JSONL files are appended a whole line at a time.

With several suites or prompts, a file of `eval/` has the suite and the prompt in its name, as in
`comparison--superni--alpaca.json`. A field marked *optional* may be absent from files of earlier versions.

| file | what it is |
|---|---|
| `config.yaml` | the resolved experiment: all [keys](configuration.md), defaults included; it runs again as it is |
| `log.txt`, `engine.log` | what pacos and the model server said |
| `dataset/alpaca_data.json` | the dataset in Stanford Alpaca's own format |
| `dataset/README.md` | dataset card, with which `datasets.load_dataset` reads the folder |
| `dataset/journal.json` | what `responses.jsonl` was requested with, and which model answered |
| `train/adapter/` | PEFT adapter, tokenizer, chat template and model card; `train/model/` after full fine-tuning |
| `train/checkpoints/step-N/` | weights, optimizer and progress; complete or absent |
| `train/tokenized/` | cache of tokenised rows; may be deleted |
| `review/KIND--NAME/sheet.json`, `key.json` | what raters see, and which model wrote it |
| `review/KIND--NAME/votes.jsonl` | what raters did, a line each, undo included |
| `round-N/`, `ranked/`, `steps/` | a loop's rounds (run directories), ranked answers, configurations of its steps |
| `trials/TRIAL/` | a run directory for each training of a sweep |
| `report.html`, `report.json` | the report, and everything that it shows |"""


def reference() -> str:
    """Return docs/formats.md."""
    parts, nested = [INTRODUCTION], dict[str, type[Any]]()
    for title, formats in FORMATS.items():
        parts.append(f"## {title}")
        for each in formats:
            parts += [f"### {each.path}", *([each.note] if each.note else [])]
            for held in each.holds:
                parts += [*([f"**{held.__name__}**"] if len(each.holds) > 1 else []), *_described(held)]
                nested |= _parts_of(held)
    parts.append("## Parts\n\nObjects inside the files above, by name.")
    for name, held in sorted(nested.items()):
        if held not in _HEADINGS:
            parts += [f"### {name}", *_described(held)]
    return "\n\n".join(parts) + "\n"


def _described(held: type[Any]) -> list[str]:
    """The docstring and a table of the fields."""
    hints = get_type_hints(held)
    rows = ["| field | type |", "|---|---|"]
    for one in fields(held):
        optional = ", *optional*" if one.default is not MISSING or one.default_factory is not MISSING else ""
        rows.append(f"| `{one.name}` | {_type(hints[one.name])}{optional} |")
    return [_text(inspect.getdoc(held) or ""), "\n".join(rows)]


def _parts_of(held: type[Any]) -> dict[str, type[Any]]:
    """The dataclasses among the types of the fields, and theirs, by name."""
    found: dict[str, type[Any]] = {}
    for hint in get_type_hints(held).values():
        for kind in _classes(hint):
            found |= {kind.__name__: kind} | _parts_of(kind)
    return found


def _classes(hint: Any) -> list[type[Any]]:
    if hasattr(hint, "__dataclass_fields__"):
        return [hint]
    return [kind for inner in get_args(hint) for kind in _classes(inner)]


def _type(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _type(one) for one in inner)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"mapping of {_type(inner[1])}"
    if hasattr(hint, "__dataclass_fields__"):
        return f"[{hint.__name__}](#{_anchor(_HEADINGS.get(hint, hint.__name__))})"
    return {str: "text", bool: "true or false", int: "integer", float: "number", Any: "any"}.get(hint, str(hint))


def _anchor(heading: str) -> str:
    """A heading's anchor, as Python-Markdown makes it."""
    return re.sub("-+", "-", re.sub(r"[^\w-]", "", heading)).lower()


def _text(docstring: str) -> str:
    """A docstring as Markdown: paragraphs on one line each, names of folders shown as they are."""
    paragraphs = [" ".join(each.split()) for each in docstring.split("\n\n")]
    return re.sub(r"<(?=\w)", "&lt;", "\n\n".join(paragraphs))
