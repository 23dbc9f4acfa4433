"""Self-Instruct's preparation rules: which instances of one instruction become tasks.

Source: paper 2212.10560, section 2.2, and `prepare_for_finetuning.py`. One that is invalid goes; where one input has
two outputs, all go; a repeated one goes; five stay. The original took five at random out of a set whose order changed
from run to run; here the first five stay.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pacos.generate.filtering.filters import first_broken_rule
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Rule
from pacos.generate.prompting.classify import Kind, parse_kind
from pacos.generate.prompting.instances import parse_instances
from pacos.generate.prompting.parsing import ParsedItem
from pacos.records import Response, Task

MOST = 5


class Verdict(NamedTuple):
    """An instance as it was read, and the reason why it is left out, if it is."""

    parsed: ParsedItem
    reason: Reason | None = None


def read_kind(answers: Mapping[tuple[str, str], Response], key: str) -> Kind:
    """What the instruction's answer to "Is it classification?" says; "unknown" where there is none."""
    answer = answers.get(("classify", key))
    return parse_kind(answer.text) if answer else "unknown"


def read_instances(answers: Mapping[tuple[str, str], Response], key: str, instruction: str) -> list[ParsedItem] | None:
    """The instruction's instances as they were written; None while an answer about it is missing."""
    if ("classify", key) not in answers or ("instances", key) not in answers:
        return None
    answer = answers["instances", key]
    return parse_instances(instruction, read_kind(answers, key), answer.text, answer.finish_reason)


def prepare(instances: Sequence[ParsedItem], rules: Sequence[Rule]) -> list[Verdict]:
    """Judge the instances of one instruction, in their order."""
    verdicts = [_judge_alone(parsed, rules) for parsed in instances]
    if _contradict([verdict.parsed.task for verdict in verdicts if verdict.parsed.task and not verdict.reason]):
        return [Verdict(verdict.parsed, verdict.reason or Reason.CONTRADICTORY) for verdict in verdicts]
    kept: list[Task] = []
    for place, verdict in enumerate(verdicts):
        task = verdict.parsed.task
        if verdict.reason or task is None:
            continue
        if task in kept:
            verdicts[place] = Verdict(verdict.parsed, Reason.DUPLICATE)
        elif len(kept) == MOST:
            verdicts[place] = Verdict(verdict.parsed, Reason.PAST_FIVE)
        else:
            kept.append(task)
    return verdicts


def _judge_alone(parsed: ParsedItem, rules: Sequence[Rule]) -> Verdict:
    if parsed.task is None:
        return Verdict(parsed, parsed.reason)
    broken = first_broken_rule(parsed.task, rules)
    return Verdict(parsed, broken.reason if broken else None)


def _contradict(tasks: Sequence[Task]) -> bool:
    """Whether an input that is not empty has two outputs."""
    outputs: dict[str, str] = {}
    return any(outputs.setdefault(task.input, task.output) != task.output for task in tasks if task.input)
