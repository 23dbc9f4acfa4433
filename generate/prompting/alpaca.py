"""The prompt that asks a base model for a list of new tasks (Stanford Alpaca's scheme, in our own words).

The answer is a plain completion: the prompt shows `seeds_per_request` numbered examples and ends after the next
number's `Instruction:` label, so the model continues the list. Structure and counts follow stanford_alpaca `prompt.txt`
and `generate_instruction.py`; the sentences are our own.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pacos.generate.prompting.items import NO_INPUT, ListFormat
from pacos.generate.prompting.parsing import parse_answer
from pacos.records import Task

REQUIREMENTS = """\
Below is a list of {count} varied tasks. They will be given to a language model to see how well it follows \
instructions, so each one has an instruction, an input where the instruction needs one, and a correct output.

The list keeps to these rules:
1. Verbs differ from task to task, to keep the list varied.
2. Wording differs too: some instructions are questions, others are commands.
3. Kinds of task differ: open writing, classification, editing, question answering, reasoning, extraction and more.
4. A language model that only reads and writes text can do every task: nothing to look at, nothing to listen to, \
no alarm to set, no action in the outside world.
5. Everything is in English.
6. An instruction is one or two sentences long, either a command or a question.
7. An input gives the instruction realistic material to work on, never a mere placeholder. It holds enough to make \
the task worthwhile, and at most 100 words.
8. Not every instruction needs an input. Where one would add nothing, as with a question of general knowledge, \
the input is "{no_input}".
9. An output answers the instruction and its input properly, in fewer than 100 words.

List of {count} tasks:
"""


def format_item(number: int, task: Task) -> str:
    """One list item, including its `###` line and a final newline."""
    instruction = " ".join(task.instruction.split()).rstrip(":")
    return (
        f"###\n{number}. Instruction: {instruction}\n"
        f"{number}. Input:\n{task.input.strip() or NO_INPUT}\n"
        f"{number}. Output:\n{task.output.strip()}\n"
    )


def list_prompt(examples: Sequence[Task], new_tasks: int) -> str:
    """A prompt whose completion is items `len(examples) + 1` to `len(examples) + new_tasks` of the list."""
    count = len(examples) + new_tasks
    items = "".join(format_item(number, task) for number, task in enumerate(examples, 1))
    header = REQUIREMENTS.format(count=count, no_input=NO_INPUT)
    return f"{header}{items}###\n{len(examples) + 1}. Instruction:"


def stop_strings(last: int, chat: bool) -> list[str]:
    """Stops at the label of the item after number `last`.

    The originals stop on a bare "20.", which is why no answer of the published Alpaca set contains it.
    """
    return [f"\n{last + 1}. Instruction:"]


# The published Alpaca set has 104 tokens per task with its labels.
TASK_LIST = ListFormat("tasks", True, 104, prompt=list_prompt, stops=stop_strings, parse=parse_answer)
PUBLISHED_TASK_LIST = replace(TASK_LIST, parse=partial(parse_answer, as_published=True))
