import re
from typing import Any

import pytest

from pacos.conversations import Conversation, Message, read_conversation
from pacos.errors import DataError

USER, ANSWER = Message("user", "Why?"), Message("assistant", "So.")
OPENAI = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
SHAREGPT = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]


def read(**values: Any) -> list[tuple[str, str]]:
    messages = read_conversation(values, where="data.jsonl:7").messages
    return [(message.role, message.content) for message in messages]


@pytest.mark.parametrize(
    "values",
    [
        {"messages": OPENAI},
        {"conversations": SHAREGPT},
        {"conversations": OPENAI, "id": "x"},
        {"conversation": SHAREGPT, "system": ""},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, OPENAI[1]]},
        {"messages": '[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]'},
        {"messages": {"role": ["user", "assistant"], "content": ["Why?", "So."]}},
        {"messages": [message | {"tool_calls": None, "name": None} for message in OPENAI], "tools": []},
        {"messages": [{"role": "system", "content": " "}, *OPENAI]},
        {"prompt": "Why?", "completion": "So."},
        {"prompt": OPENAI[:1], "completion": OPENAI[1:]},
        {"instruction": "Why?", "input": "", "output": "So."},
        {"instruction": "Why?", "input": None, "output": "So.", "history": [], "system": None},
    ],
)
def test_every_form_of_a_question_and_its_answer_is_the_same_conversation(values: Any) -> None:
    assert read_conversation(values, where="x") == Conversation((USER, ANSWER))


def test_history_system_and_input_become_turns() -> None:
    row = {"instruction": "Sum up.", "input": "a b", "output": "ab", "system": "Be brief."}
    assert read(**row, history=[["Hi.", "Hello."], ["Go on.", ""]]) == [
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "Go on."),
        ("assistant", ""),
        ("user", "Sum up.\n\na b"),
        ("assistant", "ab"),
    ]


def test_a_system_text_comes_from_its_column_or_from_the_first_turn() -> None:
    assert read(conversations=SHAREGPT, system="Be brief.")[0] == ("system", "Be brief.")
    assert read(conversations=[{"from": "system", "value": "Be brief."}, *SHAREGPT])[0] == ("system", "Be brief.")


def test_turns_may_be_empty() -> None:
    assert read(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]) == [
        ("user", ""),
        ("assistant", ""),
    ]


SYSTEM = {"role": "system", "content": "Be brief."}
PICTURE = [{"type": "image_url", "image_url": {"url": "x"}}]
WRONG = {
    "two forms": (
        {"messages": OPENAI, "instruction": "a", "output": "b"},
        "two forms at once: messages and instruction",
    ),
    "no form": ({"question": "a", "reply": "b"}, "none of the columns .* but question, reply"),
    "no list": ({"messages": {}}, "`messages` must be a list of messages"),
    "no messages": ({"messages": []}, "`messages` must be a list of messages"),
    "no JSON": ({"messages": "[{"}, ", `messages`: not JSON"),
    "no object": ({"messages": ["Why?"]}, "turn 1 of `messages`: a message is a JSON object"),
    "no role": ({"messages": [{"content": "x"}]}, "turn 1 of `messages`: a message has one role, and this has 0"),
    "two roles": ({"messages": [{"role": "user", "from": "human", "content": "x"}]}, "one role, and this has 2"),
    "mixed keys": ({"messages": [{"role": "user", "value": "x"}]}, "turn 1 of `messages`: `content` is missing"),
    "unknown role": ({"messages": [{"role": "critic", "content": "x"}]}, "the role 'critic' cannot be trained on"),
    "tool": (
        {"messages": [OPENAI[0], {"role": "tool", "content": "x"}]},
        "turn 2 .*'tool' cannot be trained on\n.*tools are not supported",
    ),
    "function": ({"conversations": [{"from": "function_call", "value": "x"}]}, "tools are not supported"),
    "observation": ({"conversations": [{"from": "observation", "value": "x"}]}, "tools are not supported"),
    "tool calls": ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "`tool_calls` has calls"),
    "tools": ({"messages": OPENAI, "tools": [{"name": "x"}]}, "`tools` has tools"),
    "images": ({"messages": OPENAI, "images": ["a.png"]}, "`images` has images"),
    "picture": ({"messages": [{"role": "user", "content": PICTURE}, OPENAI[1]]}, "holds image_url: only text"),
    "reasoning": (
        {"messages": [OPENAI[0], OPENAI[1] | {"reasoning_content": "Hm."}]},
        "reasoning apart from the answer",
    ),
    "weights": ({"messages": [OPENAI[0], OPENAI[1] | {"weight": 0}]}, "turn 2 .* marked as not to be trained on"),
    "number": ({"messages": [{"role": "user", "content": 7}, OPENAI[1]]}, "`content` must be text"),
    "null": ({"messages": [OPENAI[0], {"role": "assistant", "content": None}]}, "`content` is missing"),
    "late system": ({"messages": [*OPENAI, SYSTEM, *OPENAI]}, "turn 3 is the system's: a system text stands first"),
    "two systems": ({"messages": [SYSTEM, *OPENAI], "system": "Be long."}, "has two system texts"),
    "answer first": ({"messages": OPENAI[::-1]}, "turn 1 is the assistant's: user's was expected"),
    "user twice": ({"messages": [OPENAI[0], *OPENAI]}, "turn 2 is the user's: assistant's was expected"),
    "answer twice": ({"messages": [SYSTEM, *OPENAI, OPENAI[1]]}, "turn 4 is the assistant's: user's was expected"),
    "no answer": ({"messages": [*OPENAI, OPENAI[0]]}, "turn 3 is the user's and the last: there is no answer"),
    "system alone": ({"messages": [SYSTEM]}, "turn 1 is the system's and the last"),
    "history": ({"instruction": "a", "output": "b", "history": [["a"]]}, "pair 1 of `history`"),
    "instruction": ({"instruction": " ", "input": "", "output": "b"}, "`instruction` is empty"),
    "output": ({"instruction": "a", "output": 8}, "`output` must be text"),
    "half a character": ({"prompt": "a \ud83d", "completion": "b"}, re.escape("half a character, U+D83D, after 'a '")),
    "half in a turn": ({"messages": [OPENAI[0], {"role": "assistant", "content": "\udc00"}]}, "turn 2 .*U\\+DC00"),
}


@pytest.mark.parametrize(("values", "complaint"), WRONG.values(), ids=WRONG)
def test_a_row_that_is_wrong_is_refused_with_its_place_and_turn(values: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as error:
        read_conversation(values, where="data.jsonl:7")
    assert (error.value.where or "").startswith("data.jsonl:7")


def test_a_row_that_is_no_object_is_refused() -> None:
    with pytest.raises(DataError, match="a conversation is a JSON object"):
        read_conversation(["Why?"], where="x")
