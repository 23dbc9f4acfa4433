"""Self-Instruct, phases 2 and 3: is an instruction classification, and what are its instances?

    Class label: pleased            Example 1
    Review: The room …              Sentence: The night was very cold.
                                    Output: The night was freezing.

Instances are asked for label first for classification and input first otherwise: asked for the input first, a model
writes inputs of a single label (paper, section 2.2). The counts of examples follow self-instruct `clf_task_template.py`
and `instance_gen_template.py`. The parser of instances differs from `prepare_for_finetuning.py` where that one splits
answers: a label counts at the start of a line only, and examples must count up, so that the word "Example" may occur in
an answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.answer_text import is_cut_off, without_control_tokens, without_thoughts
from pacos.generate.prompting.items import ParsedItem
from pacos.records import Task

Classification = Literal["yes", "no", "unknown"]

_DATA = Path(__file__).resolve().parents[1] / "data"

_CLASS_LABEL = re.compile(r"^[ \t]*Class label:", re.IGNORECASE | re.MULTILINE)
_EXAMPLE = re.compile(r"^[ \t]*(?:\*\*)?Example[ \t]?(\d{1,6})[.:]?(?:\*\*)?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_OUTPUT = re.compile(r"^[ \t]*Output[ \t]*\d*[ \t]*:", re.IGNORECASE | re.MULTILINE)
_NEXT_INPUT = re.compile(r"^[ \t]*Input[ \t]*\d*[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A few-shot question about one accepted instruction: a header, worked examples (`shots`), then the question.

    `phase` is the request's phase in the journal, and the section of `generate` that has its sampling.
    """

    phase: str
    header: str
    shots: tuple[str, ...]
    question: str
    stops: tuple[str, ...]

    def prompt(self, instruction: str, shots: Sequence[str] | None = None) -> str:
        """The prompt, with fewer shots where `shots` are given."""
        question = self.question.format(instruction=instruction)
        return "\n\n".join([self.header, *(self.shots if shots is None else shots), question])


def _follow_up(phase: str, file: str, question: str, *stops: str) -> FollowUp:
    """A follow-up whose header and shots are in `data/<file>`, separated by blank lines."""
    header, *shots = re.split(r"\n\n(?=Task: )", (_DATA / file).read_text(encoding="utf-8").strip())
    return FollowUp(phase, header, tuple(shots), question, stops)


CLASSIFY = _follow_up("classify", "classify.txt", "Task: {instruction}\nIs it classification?", "\n", "Task")

# They stop at these labels at the start of a line only: the published bare ones may occur in an answer.
_PAST_INSTANCES = ("\nExample 6", "\nTask:")
OUTPUT_FIRST = _follow_up("instances", "output_first.txt", "Task: {instruction}\n", *_PAST_INSTANCES)
INPUT_FIRST = _follow_up("instances", "input_first.txt", "Task: {instruction}\n", *_PAST_INSTANCES)


def ask_for_instances(kind: Classification) -> FollowUp:
    """The follow-up that asks for the instances of an instruction of this kind."""
    return OUTPUT_FIRST if kind == "yes" else INPUT_FIRST


def parse_classification(text: str) -> Classification:
    """The answer's first word behind the model's thoughts.

    "unknown" for anything but yes and no, which the original silently took as no.
    """
    words = without_thoughts(text).replace("*", " ").replace(".", " ").replace(",", " ").casefold().split()
    if words and words[0] in ("yes", "no"):
        return "yes" if words[0] == "yes" else "no"
    return "unknown"


def parse_instances(instruction: str, kind: Classification, text: str, finish_reason: str) -> list[ParsedItem]:
    """The instances in an answer, in order, without the model's thoughts and control tokens at the end.

    The last is incomplete when the answer was cut at its token limit or ended by its server (`is_cut_off`). An input
    stays as it is written, "N/A" and the like included, as in `prepare_for_finetuning.py`.
    Returns a single item with the reason `no_instance` if there is none.
    """
    written, text = text, without_control_tokens(without_thoughts(text))
    raws = _parse_label_first(text) if kind == "yes" else _parse_input_first(text)
    if not raws or (written.strip() and not text):
        return [ParsedItem(written.strip(), reason=Reason.NO_INSTANCE)]
    items = [ParsedItem(raw, Task(instruction, input, output)) for raw, input, output in raws]
    if is_cut_off(finish_reason):
        items[-1] = ParsedItem(items[-1].raw, reason=Reason.INCOMPLETE)
    return items


def _parse_label_first(text: str) -> list[tuple[str, str, str]]:
    """(raw, input, label) of each "Class label:" block: the label is the rest of its line, the input all below."""
    blocks = _CLASS_LABEL.split(text)[1:]
    split = [(block.strip(), *block.strip().partition("\n")[::2]) for block in blocks]
    return [(raw, _without_label(input), label.strip()) for raw, label, input in split]


def _parse_input_first(text: str) -> list[tuple[str, str, str]]:
    """(raw, input, output) of each numbered example, or of the whole text if there is none."""
    starts, number = [], 0
    for match in _EXAMPLE.finditer(text):
        if int(match[1]) > number:
            starts.append(match)
            number = int(match[1])
    ends = [match.start() for match in starts[1:]] + [len(text)]
    bodies = [text[match.end() : end] for match, end in zip(starts, ends, strict=True)] if starts else [text]
    found = []
    for body in bodies:
        label = _OUTPUT.search(body)
        if label:
            # After a second Input label another pair begins, which the model did not number.
            output = _NEXT_INPUT.split(body[label.end() :], maxsplit=1)[0]
            found.append((body.strip(), _without_label(body[: label.start()]), output.strip()))
        elif starts:
            found.append((body.strip(), "", body.strip()))
    return found


def _without_label(input: str) -> str:
    """Without a leading "Input:"; a field's own name ("Sentence:") stays, as in the original."""
    return _NEXT_INPUT.sub("", input.strip(), count=1).strip() if _NEXT_INPUT.match(input.strip()) else input.strip()
