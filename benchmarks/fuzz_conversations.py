"""Fuzzes conversations: every template, odd turns, and control tokens, markers and fragments of them inside texts.

    python -m benchmarks.fuzz_conversations --cases 20000 --seed 0 [--save]

A case is a row of a random form. What must come of it is known: a right row has one example or several, in which every
assistant's turn is labels once, behind what asks for it, and ends in the template's end of turn; the control tokens of
an example are those of the same turns with harmless texts; a wrong row is a DataError or ModelError that names its
place. Anything else is printed and counted.
"""

import argparse
import collections
import random
from typing import Any

from benchmarks.result import report
from pacos.chat import ChatEncoder
from pacos.conversations import Conversation, Message, read_conversation
from pacos.errors import DataError, ModelError
from pacos.train.data.chat_examples import merge_turns
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer

PIECES = (
    "apple", " ", "\n", "\n\n", "été", "漢字", "😀", "\u200b", "\u202e", "\x00", "\ue000", "\ue0001\ue001", "{{ x }}",
    "{% endfor %}", "<|im_", "end|>", "[/INST]", "### Response:", "<think>", "</think>", "User:", "\r", "\t", "é",
)  # fmt: skip
TOKENS = sorted({token for kind in CHAT_KINDS.values() for token in kind.tokens})
FORMS = ("messages", "conversations", "alpaca", "pair")
WHERE = "fuzz.jsonl:1"


def random_text(draw: random.Random) -> str:
    return "".join(draw.choice(draw.choice((PIECES, TOKENS))) for _ in range(draw.choice((0, 1, 1, 2, 3, 6))))


def random_row(draw: random.Random, *, system: bool) -> tuple[dict[str, Any], list[Message]]:
    """A row of a random form, and the turns that it has."""
    said = [random_text(draw) for _ in range(2 * draw.randint(1, 3))]
    head = random_text(draw) if system and draw.random() < 0.4 else ""
    turns = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]
    messages = [Message("system", head)] * bool(head.strip()) + turns
    form = draw.choice(FORMS)
    if form == "messages":
        return {"messages": [{"role": one.role, "content": one.content} for one in messages]}, messages
    if form == "conversations":
        names = {"user": "human", "assistant": "gpt"}
        row = {"conversations": [{"from": names[one.role], "value": one.content} for one in turns]}
        return row | ({"system": head} if head else {}), messages
    if form == "pair" and len(said) == 2 and not head:
        return {"prompt": said[0], "completion": said[1]}, messages
    said[-2] = said[-2].strip() or "apple"
    messages[-2] = Message("user", said[-2])
    history = [list(pair) for pair in zip(said[:-2:2], said[1:-2:2], strict=True)]
    return {"instruction": said[-2], "output": said[-1], "history": history, "system": head}, messages


def damage(row: dict[str, Any], draw: random.Random) -> bool:
    """Make a row wrong in one place; False where it stays right."""
    turns = row.get("messages") or row.get("conversations")
    if not turns:
        row.pop(draw.choice([key for key in row if key in ("output", "completion")]))
        return True
    kind = draw.randrange(5)
    if kind == 0:
        turns.append(dict(turns[-2]))  # ends in the user's turn
    elif kind == 1:
        turns[draw.randrange(len(turns))][draw.choice(list(turns[0]))] = draw.choice([7, None, {}, ["x"]])
    elif kind == 2:
        turns.insert(len(turns), dict(turns[-1]))  # the assistant twice
    elif kind == 3:
        turns[-1]["tool_calls"] = [{"name": "x"}]
    else:
        row["images"] = ["a.png"]
    return True


def check(encoder: ChatEncoder, name: str, messages: list[Message]) -> str:
    """What is wrong about the examples of a right conversation; "" for nothing."""
    tokenizer, kind = encoder.tokenizer, CHAT_KINDS[name]
    controls = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = tokenizer.convert_tokens_to_ids(kind.end)
    turns = encoder.turns([(WHERE, messages)])[0]
    harmless = [Message(one.role, "ab" if one.content.strip() else one.content) for one in messages]
    plain = encoder.turns([(WHERE, harmless)])[0]
    asked = [number for number, one in enumerate(messages, 1) if one.role == "assistant"]
    if [turn.number for turn in turns] != asked:
        return "turns are lost"
    for turn, other in zip(turns, plain, strict=True):
        for found, expected in ((turn.prompt, other.prompt), (turn.answer, other.answer)):
            if [id for id in found if id in controls] != [id for id in expected if id in controls]:
                return "text became a control token"
        if turn.answer[-1] != end or end in turn.answer[:-1]:
            return "the answer does not end in its end of turn"
    examples = merge_turns(WHERE, turns)
    labels = [example.ids[first:last] for example in examples for first, last in example.label_spans]
    if sorted(labels) != sorted(turn.answer for turn in turns):
        return "the labels are not the answers"
    contexts = {tuple(turn.prompt) for turn in turns}
    starts = {tuple(example.ids[:first]) for example in examples for first, _ in example.label_spans}
    return "" if starts == contexts else "an answer is not behind what asks for it"


def outcome(encoder: ChatEncoder, name: str, draw: random.Random) -> tuple[str, str]:
    """(what came of a random case, what is wrong about it or "")."""
    row, messages = random_row(draw, system=CHAT_KINDS[name].system)
    wrong = draw.random() < 0.2 and damage(row, draw)
    try:
        read = read_conversation(row, where=WHERE)
        if wrong:
            return "accepted", f"a wrong row was taken: {row}"
        if read != Conversation(tuple(messages)):
            return "misread", f"{row} was read as {read}"
        problem = check(encoder, name, messages)
        return "examples", problem and f"{problem}: {row}"
    except (DataError, ModelError) as refused:
        named = (refused.where or "").startswith(WHERE)
        # Which DeepSeek's template drops and Qwen3's moves.
        thinking = name in ("deepseek", "qwen3") and "</think>" in "".join(one.content for one in messages)
        if named and (wrong or (thinking and isinstance(refused, ModelError))):
            return "refused", ""
        return "refused", f"a right row was refused, or without its place: {refused}: {row}"
    except Exception as failure:
        return "crashed", f"{type(failure).__name__}: {failure}: {row}"


def fuzz(cases: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Counts of what came of so many cases, and what was wrong, a line each."""
    counts: collections.Counter[str] = collections.Counter()
    failures = []
    encoders = {name: ChatEncoder(chat_tokenizer(name)) for name in CHAT_KINDS}
    for number in range(cases):
        name = list(encoders)[number % len(encoders)]
        kind, failure = outcome(encoders[name], name, random.Random(f"{seed}:{number}"))
        counts[kind] += 1
        if failure:
            failures.append(f"case {number} ({name}): {failure}")
    return dict(counts), failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    counts, failures = fuzz(options.cases, options.seed)
    for failure in failures[:20]:
        print(failure)
    settings = {"cases": options.cases, "seed": options.seed}
    report("fuzz_conversations", {"outcomes": counts, "failures": len(failures)}, settings=settings, save=options.save)


if __name__ == "__main__":
    main()
