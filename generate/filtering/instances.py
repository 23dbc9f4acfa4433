"""Self-Instruct's rules on instances: which instances of one instruction become tasks.

Source: paper 2212.10560, section 2.2, and `prepare_for_finetuning.py`. Invalid and repeated instances are dropped; if
one input has two different outputs, all instances are dropped; at most five are kept. The original sampled those five
from a set, whose order changed from run to run; here the first five are kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Rule, first_broken_rule
from pacos.generate.prompting.items import ParsedItem
from pacos.records import Task

MAX_INSTANCES = 5


class InstanceVerdict(NamedTuple):
    """A parsed instance, and the reason why it is rejected, if it is."""

    parsed: ParsedItem
    reason: str | None = None


def judge_instances(instances: Sequence[ParsedItem], rules: Sequence[Rule]) -> list[InstanceVerdict]:
    """Judge the instances of one instruction; the verdicts are in the same order."""
    verdicts = [_judge_alone(parsed, rules) for parsed in instances]
    if _contradict([verdict.parsed.task for verdict in verdicts if verdict.parsed.task and not verdict.reason]):
        return [InstanceVerdict(verdict.parsed, verdict.reason or Reason.CONTRADICTORY) for verdict in verdicts]
    kept: list[Task] = []
    for place, verdict in enumerate(verdicts):
        task = verdict.parsed.task
        if verdict.reason or task is None:
            continue
        if task in kept:
            verdicts[place] = InstanceVerdict(verdict.parsed, Reason.DUPLICATE)
        elif len(kept) == MAX_INSTANCES:
            verdicts[place] = InstanceVerdict(verdict.parsed, Reason.PAST_FIVE)
        else:
            kept.append(task)
    return verdicts


def _judge_alone(parsed: ParsedItem, rules: Sequence[Rule]) -> InstanceVerdict:
    if parsed.task is None:
        return InstanceVerdict(parsed, parsed.reason)
    broken = first_broken_rule(parsed.task, rules)
    return InstanceVerdict(parsed, broken.reason if broken else None)


def _contradict(tasks: Sequence[Task]) -> bool:
    """Whether an input that is not empty has two different outputs."""
    outputs: dict[str, str] = {}
    return any(outputs.setdefault(task.input, task.output) != task.output for task in tasks if task.input)
