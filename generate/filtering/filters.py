"""The rules that a configuration selects: length limits, a filter preset's rules, then the defect detectors.

The first rule that a task breaks gives the reason.
"""

from collections.abc import Callable

from pacos.config import FiltersConfig
from pacos.extensions import FILTER_PRESETS, load
from pacos.generate.filtering.defects import DEFECTS
from pacos.generate.filtering.published import FilterPreset
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Figures, Rule
from pacos.records import Task
from pacos.rouge import unicode_tokens
from pacos.words import auto_tokens, visible

# Of novelty. By rouge_score's tokens an instruction in another script than Latin would be like no other, or like every
# other with the same number in it.
TOKENIZERS = {"rouge": auto_tokens, "unicode": unicode_tokens}


def novelty_tokens(filters: FiltersConfig) -> Callable[[str], list[str]]:
    """What splits instructions into the words that novelty compares.

    Characters that show nothing are left out, except by the published rules, which see them as ends of words.
    """
    tokens = TOKENIZERS[filters.tokenizer]
    if not filters.defects and filters.tokenizer == "rouge":
        return tokens
    return lambda text: tokens(visible(text))


def task_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """All rules that a task must pass before its novelty is checked."""
    return instruction_rules(filters) + instance_rules(filters)


def instruction_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """The rules that look at the instruction alone.

    With the Unicode tokenizer an instruction may be in any script, and its words are that tokenizer's.
    """
    limits, words = filters.limits, _words(filters)
    return (
        Rule(Reason.TOO_SHORT, shorter_than(limits.min_instruction, words)),
        Rule(Reason.TOO_LONG, longer_than(limits.max_instruction, "instruction", words)),
        *(
            rule
            for rule in filter_preset(filters.preset).instruction_rules
            if not (rule.ascii_only and filters.tokenizer == "unicode")
        ),
    )


def instance_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """The rules that look at the input and output too."""
    limits, words = filters.limits, _words(filters)
    rules = list(filter_preset(filters.preset).instance_rules)
    if limits.max_input is not None:
        rules.append(Rule(Reason.INPUT_TOO_LONG, longer_than(limits.max_input, "input", words)))
    if limits.max_output is not None:
        rules.append(Rule(Reason.OUTPUT_TOO_LONG, longer_than(limits.max_output, "output", words)))
    if filters.defects:
        rules += [rule for rule in DEFECTS if rule not in rules]
    return tuple(rules)


def filter_preset(name: str) -> FilterPreset:
    """The filter preset of that name (extensions.FILTER_PRESETS). Raises KeyError for an unknown one."""
    found: FilterPreset = load(FILTER_PRESETS, name)
    return found


def shorter_than(limit: int, words: Callable[[str], list[str]]) -> Callable[[Task], Figures | None]:
    """A check for an instruction of fewer than `limit` words."""

    def check(task: Task) -> Figures | None:
        count = len(words(task.instruction))
        return {"words": count} if count < limit else None

    return check


def longer_than(limit: int, part: str, words: Callable[[str], list[str]]) -> Callable[[Task], Figures | None]:
    """A check for a `part` of the task (instruction, input or output) of more than `limit` words."""

    def check(task: Task) -> Figures | None:
        count = len(words(getattr(task, part)))
        return {"words": count} if count > limit else None

    return check


def _words(filters: FiltersConfig) -> Callable[[str], list[str]]:
    return unicode_tokens if filters.tokenizer == "unicode" else str.split
