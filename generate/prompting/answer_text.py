"""The text of an answer without what its model or server put around it: thoughts, fences, control tokens, line ends.

A server with the right parsers holds these back; others send them as text, and a list parser would take them for tasks.
"""

import re

from pacos.records import Task

# Reasons for which a server ends an answer before its model does, as vLLM, SGLang, TGI, Mistral and OpenAI name them.
_CUT_OFF = frozenset(
    ("length", "max_tokens", "model_length", "abort", "aborted", "cancelled", "error", "timeout", "content_filter")
)

# A thought begins a line; in the middle of one the tag is more likely something that a task speaks of.
_THOUGHT = re.compile(
    r"""^[ \t]*(?P<open><(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|begin_of_thought\|>)
      | (?P<close></(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|end_of_thought\|>)(?P<last>[ \t]*$)?""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)

# By the names that tokenizers give them; `<|` and `|>` around anything else may be code.
_NAMED = (
    r"im_start|im_end|im_sep|endoftext|endofprompt|end_of_text|begin_of_text|eot_id|eom_id|eos|bos|pad|end|return|call"
    r"|start_header_id|end_header_id|start_of_role|end_of_role|end_of_turn|endofturn|eot|end_of_response"
    r"|system|user|assistant|start|channel|message|EOT_TOKEN|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN|END_RESPONSE|START_RESPONSE"
)
CONTROL_TOKEN = re.compile(
    rf"<\|(?:{_NAMED})\|>|<(?:start|end)_of_turn>|<｜[^｜<>\s]{{1,40}}｜>|\[/?INST\]|<</?SYS>>|<eos>|<bos>|<pad>",
    re.IGNORECASE,
)
_END_TOKEN = re.compile(rf"\s*(?:{CONTROL_TOKEN.pattern})\Z", re.IGNORECASE)
_END_TOKEN_OR_EOS = re.compile(rf"\s*(?:{CONTROL_TOKEN.pattern}|</?s>)\Z", re.IGNORECASE)
_LONGEST_TOKEN = 64

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*(?:[\w+.#-]+[ \t]*)?$", re.MULTILINE)


def is_cut_off(finish_reason: str) -> bool:
    """Whether an answer that ended for this reason was ended by its server, so that its last item is incomplete."""
    return finish_reason.lower() in _CUT_OFF


def without_thoughts(text: str) -> str:
    """The text without the model's thoughts: `<think>…</think>` and the like.

    A thought without an end goes on to the end of the text. One without a beginning, where a line ends behind its last
    tag, began in the prompt: chat templates may open it.
    """
    kept: list[str] = []
    place, depth = 0, 0
    for tag in _THOUGHT.finditer(text):
        if tag["open"]:
            if not depth:
                kept.append(text[place : tag.start()])
            depth = 1
        elif depth or tag["last"] is not None:
            if not depth:
                kept.clear()
            place, depth = tag.end(), 0
    if not depth:
        kept.append(text[place:])
    return "".join(kept)


def without_control_tokens(text: str) -> str:
    """The text without the control tokens at its end, spelled as text, and the blanks around them."""
    # <s>…</s> in a text is struck through in HTML.
    tokens = _END_TOKEN if "<s>" in text else _END_TOKEN_OR_EOS
    end = len(text.rstrip())
    while token := tokens.search(text, max(0, end - _LONGEST_TOKEN), end):
        end = token.start()
    return text[:end]


def without_closing_fence(text: str) -> str:
    """The text without a Markdown fence at its end that nothing in the text opened: it closes a fence around the list.

    Where items are fenced one by one, the next one's opening fence is taken off as well.
    """
    fences = [*_FENCE.finditer(text)]
    # A fence may open behind other text on its line.
    marks = text.count("```") + text.count("~~~")
    end = len(text)
    while fences and not text[fences[-1].end() : end].strip():
        opens_the_next = len(fences) > 1 and not text[fences[-2].end() : fences[-1].start()].strip()
        if not opens_the_next and marks % 2 == 0:
            break
        end = fences.pop().start()
        marks -= 1
    return text if end == len(text) else text[:end].rstrip()


def plain_task(task: Task) -> Task:
    """The task with Windows line ends as newlines, the only ones that texts have here."""
    if not any("\r\n" in part for part in (task.instruction, task.input, task.output)):
        return task
    return Task(*(part.replace("\r\n", "\n") for part in (task.instruction, task.input, task.output)))
