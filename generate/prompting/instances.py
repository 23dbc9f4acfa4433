"""Self-Instruct, phase 3: instances of an instruction, label first for classification, input first for the rest.

    Class label: pleased            Example 1
    Review: The room …              Sentence: The night was very cold.
                                    Output: The night was freezing.

Asked for the input first, a model writes inputs of one label only (paper, section 2.2). The counts of examples follow
self-instruct `instance_gen_template.py`; the parsers differ from `prepare_for_finetuning.py` where that cuts answers
apart: a label counts at the start of a line, and examples must count up, so the word "Example" may stand in an answer.
"""

import re
from collections.abc import Sequence

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.classify import Kind
from pacos.generate.prompting.parsing import ParsedItem, is_no_input
from pacos.generate.prompting.shots import Shots
from pacos.records import Task

OUTPUT_FIRST = Shots.read("output_first.txt")
INPUT_FIRST = Shots.read("input_first.txt")

# The next task's label, at the start of a line only: the paper's bare "Task:" may stand in an answer.
STOPS = ["\nTask:"]

_CLASS_LABEL = re.compile(r"^[ \t]*Class label:", re.IGNORECASE | re.MULTILINE)
_EXAMPLE = re.compile(r"^[ \t]*(?:\*\*)?Example[ \t]?(\d+)[.:]?(?:\*\*)?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_OUTPUT = re.compile(r"^[ \t]*Output[ \t]*\d*[ \t]*:", re.IGNORECASE | re.MULTILINE)
_NEXT_INPUT = re.compile(r"^[ \t]*Input[ \t]*\d*[ \t]*:", re.IGNORECASE | re.MULTILINE)


def shots_for(kind: Kind) -> Shots:
    return OUTPUT_FIRST if kind == "yes" else INPUT_FIRST


def instances_prompt(instruction: str, kind: Kind, shots: Sequence[str] | None = None) -> str:
    family = shots_for(kind)
    return family.prompt(f"Task: {instruction}\n", family.blocks if shots is None else shots)


def parse_instances(instruction: str, kind: Kind, text: str, finish_reason: str) -> list[ParsedItem]:
    """The instances in an answer, in order; the last is incomplete when the answer was cut at its token limit.

    A single item with the reason `no_instance` where none can be read.
    """
    raws = _label_first(text) if kind == "yes" else _input_first(text)
    if not raws:
        return [ParsedItem(text.strip(), reason=Reason.NO_INSTANCE)]
    items = [ParsedItem(raw, Task(instruction, "" if is_no_input(input) else input, output))
             for raw, input, output in raws]  # fmt: skip
    if finish_reason == "length":
        items[-1] = ParsedItem(items[-1].raw, reason=Reason.INCOMPLETE)
    return items


def _label_first(text: str) -> list[tuple[str, str, str]]:
    """(raw, input, label) of each "Class label:" block: the label is the rest of its line, the input all below."""
    blocks = _CLASS_LABEL.split(text)[1:]
    split = [(block.strip(), *block.strip().partition("\n")[::2]) for block in blocks]
    return [(raw, _without_label(input), label.strip()) for raw, label, input in split]


def _input_first(text: str) -> list[tuple[str, str, str]]:
    """(raw, input, output) of each example, or of the whole text where it numbers none."""
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
            # Behind a second Input label another pair begins, which the model did not number.
            output = _NEXT_INPUT.split(body[label.end() :], maxsplit=1)[0]
            found.append((body.strip(), _without_label(body[: label.start()]), output.strip()))
        elif starts:
            found.append((body.strip(), "", body.strip()))
    return found


def _without_label(input: str) -> str:
    """Without a leading "Input:"; a field's own name ("Sentence:") stays, as in the original."""
    return _NEXT_INPUT.sub("", input.strip(), count=1).strip() if _NEXT_INPUT.match(input.strip()) else input.strip()
