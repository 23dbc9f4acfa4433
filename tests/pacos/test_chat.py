"""Chats of twelve kinds of templates: ids against transformers' own, answers against the characters of the text."""

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.chat import ChatEncoder, EncodedTurn, form_prompts
from pacos.chat_templates import CHAT_TEMPLATES
from pacos.conversations import Message
from pacos.errors import ModelError
from pacos.templates import ALPACA, CHAT
from pacos.tokenization import encode_chats, encode_prompts
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer, with_tokens

WORDS = ["apple", "Name two fruits", ",", "\n", "été 漢字", "12", "[x]", "<b>", "#"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
any_texts = st.lists(st.sampled_from([*WORDS, " ", "\n\n", ""]), max_size=6).map("".join)
TOKENS = sorted({token for kind in CHAT_KINDS.values() for token in kind.tokens})
hostile_texts = st.lists(st.sampled_from([*WORDS, *TOKENS, "<|im_", "end|>", "\ue000", "\ue0003\ue001"]), max_size=6)


@cache
def encoder(name: str) -> ChatEncoder:
    return ChatEncoder(chat_tokenizer(name))


def chat(*said: str, system: str = "") -> list[Message]:
    turns = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]
    return [Message("system", system)] * bool(system) + turns


def drawn_chat(name: str, said: list[str], system: str) -> list[Message]:
    return chat(*said[: len(said) // 2 * 2], system=system if CHAT_KINDS[name].system else "")


def as_dicts(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def encode(name: str, messages: list[Message]) -> list[EncodedTurn]:
    return encoder(name).turns([("data.jsonl:7", messages)])[0]


def answer_by_characters(name: str, messages: list[Message]) -> tuple[str, list[int] | None]:
    """The text of the last answer, from what asks for it to the end of its turn, and the ids of the tokens in it.

    Found by the characters of the rendered text alone. No ids where a token straddles the answer's beginning.
    """
    tokenizer, kind = chat_tokenizer(name), CHAT_KINDS[name]
    text = tokenizer.apply_chat_template(as_dicts(messages), tokenize=False)
    start = text.rindex(kind.asks) + len(kind.asks)
    end = text.index(kind.end, start) + len(kind.end)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    within = [
        id
        for id, (first, last) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        if first >= start and last <= end
    ]
    straddles = any(first < start < last for first, last in encoded["offset_mapping"])
    return text[start:end], None if straddles else within


@pytest.mark.parametrize("name", CHAT_KINDS)
@settings(max_examples=25, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6), texts)
def test_every_answer_has_the_tokens_of_its_characters(name: str, said: list[str], system: str) -> None:
    messages, tokenizer = drawn_chat(name, said, system), encoder(name).tokenizer
    turns = encode(name, messages)
    assert [messages[turn.number - 1].role for turn in turns] == ["assistant"] * (len(said) // 2)
    for turn in turns:
        text, ids = answer_by_characters(name, messages[: turn.number])
        assert turn.answer[-1] == tokenizer.convert_tokens_to_ids(CHAT_KINDS[name].end)
        assert turn.apart or turn.answer == ids
        if ids is None:
            assert turn.apart and tokenizer.decode(turn.answer).strip() == text.strip()


@pytest.mark.parametrize("name", CHAT_KINDS)
@settings(max_examples=25, deadline=None)
@given(st.lists(any_texts, min_size=2, max_size=6), texts)
def test_ids_are_those_of_apply_chat_template(name: str, said: list[str], system: str) -> None:
    messages, tokenizer = drawn_chat(name, said, system), encoder(name).tokenizer
    for turn in encode(name, messages):
        asked, answered = as_dicts(messages[: turn.number - 1]), as_dicts(messages[: turn.number])
        expected = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        assert turn.prompt == expected == encoder(name).prompts([("x", messages[: turn.number - 1])])[0]
        whole = tokenizer.apply_chat_template(answered, return_dict=False)
        assert turn.apart or whole[: len(turn.prompt) + len(turn.answer)] == turn.prompt + turn.answer


@pytest.mark.parametrize("name", CHAT_KINDS)
@settings(max_examples=25, deadline=None)
@given(st.lists(hostile_texts.map("".join), min_size=2, max_size=6))
def test_no_token_that_a_message_spells_is_a_control_token(name: str, said: list[str]) -> None:
    tokenizer = encoder(name).tokenizer
    controls = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    harmless = [f"w{number}" for number in range(len(said))]
    turns, expected = encode(name, drawn_chat(name, said, "")), encode(name, drawn_chat(name, harmless, ""))
    for turn, plain in zip(turns, expected, strict=True):
        assert [id for id in turn.prompt if id in controls] == [id for id in plain.prompt if id in controls]
        assert [id for id in turn.answer if id in controls] == [id for id in plain.answer if id in controls]
        shown = tokenizer.decode([id for id in turn.answer if id not in controls]).split()
        content = said[turn.number - 1].rpartition("</think>")[2]
        assert "".join(content.split()) in "".join(shown)


def test_thinking_that_a_template_drops_from_earlier_turns_is_in_the_turns_own_answer() -> None:
    first = "<think>\nRed?\n</think>\n\nApples."
    messages = chat("A fruit?", first, "And?", "<think>\nGreen?\n</think>\n\nPears.")
    turns, decode = encode("qwen3", messages), encoder("qwen3").tokenizer.decode
    assert [decode(turn.answer) for turn in turns] == [f"{first}<|im_end|>", messages[3].content + "<|im_end|>"]
    assert "Red?" not in decode(turns[1].prompt) and "Apples.<|im_end|>" in decode(turns[1].prompt)


def test_a_system_text_that_moves_is_in_every_prompt() -> None:
    turns = encode("mistral-v3", chat("A?", "B.", "C?", "D.", system="Be brief."))
    prompts = [encoder("mistral-v3").tokenizer.decode(turn.prompt) for turn in turns]
    assert prompts == ["<s>[INST] Be brief.\n\nA?[/INST]", "<s>[INST] A?[/INST] B.</s>[INST] Be brief.\n\nC?[/INST]"]


def test_white_space_that_the_template_strips_is_no_part_of_the_answer() -> None:
    [turn] = encode("gemma", chat("A?", "  B.\n\n"))
    assert encoder("gemma").tokenizer.decode(turn.answer) == "B.<end_of_turn>"


def with_template(template: str) -> Any:
    return with_tokens(("<s>", "</s>", "<|end|>"), "<s>", "</s>", template)


BODY = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}assistant:{% endif %}"
FAULTS = {
    "system text lost": (
        BODY.replace("messages", "messages if m.role != 'system'") + ASKS,
        "turn 1: the chat template leaves out the system's text",
    ),
    "system text refused": (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + BODY + ASKS,
        "refuses turns of system, user.*no system",
    ),
    "first turns lost": (
        BODY.replace("messages", "messages[-2:]") + ASKS,
        "turn 3: the chat template begins this answer otherwise than it asks for one: 'user: A fruit",
    ),
    "answer lost": (
        BODY.replace("{{ m.content }}", "{{ m.content if m.role != 'assistant' else '' }}") + ASKS,
        "turn 3: the chat template leaves out or changes a part of this answer",
    ),
    "answer cut": (
        BODY.replace("{{ m.content }}", "{{ m.content.split('.')[0] if m.role == 'assistant' else m.content }}") + ASKS,
        "turn 3: the chat template leaves out or changes",
    ),
    "asked for otherwise": (BODY + ASKS.replace("assistant:", "model:"), "turn 3: .* begins this answer otherwise"),
    "asked to think": (BODY + ASKS.replace("assistant:", "assistant: <think>"), "begins this answer otherwise"),
    "no end of the last turn": (
        BODY.replace("<|end|>", "{% if not (loop.last and m.role == 'assistant') %}<|end|>{% endif %}") + ASKS,
        "turn 3: the chat template ends this turn with 'nothing'",
    ),
    "an end that is no token": (
        BODY.replace("<|end|>", "<|im_end|>") + ASKS,
        r"turn 3: the chat template ends this turn with '<\|im_end\|>', which is no control token",
    ),
    "BOS twice": ("{{ bos_token }}<s>" + BODY + ASKS, "turn 3: the chat template writes BOS twice"),
    "broken": ("{% for m in messages %}", "refuses turns .*TemplateSyntaxError"),
    "none": ("", "the tokenizer has no chat template"),
}


@pytest.mark.parametrize(("template", "complaint"), FAULTS.values(), ids=FAULTS)
def test_a_template_that_would_train_something_else_is_refused(template: str, complaint: str) -> None:
    messages = chat("A fruit?", "Apples. And pears.", "And?", "Plums. Red.", system="Be brief.")
    with pytest.raises(ModelError, match=complaint) as error:
        ChatEncoder(with_template(template)).turns([("data.jsonl:7", messages)])
    assert template in ("", "{% for m in messages %}") or str(error.value).startswith("data.jsonl:7")


def test_the_same_template_without_a_fault_is_taken() -> None:
    messages = chat("A fruit?", "Apples. And pears.", "And?", "Plums. Red.", system="Be brief.")
    sound = ChatEncoder(with_template(BODY + ASKS))
    answers = [sound.tokenizer.decode(turn.answer) for turn in sound.turns([("x", messages)])[0]]
    assert answers == [" Apples. And pears.<|end|>", " Plums. Red.<|end|>"]


def test_a_template_without_any_end_of_turn_gets_eos_behind_each_answer() -> None:
    bare = ChatEncoder(with_template(BODY.replace("<|end|>", "") + ASKS))
    turns = bare.turns([("x", chat("A?", "B.", "C?", "D."))])[0]
    assert [bare.tokenizer.decode(turn.answer) for turn in turns] == [" B.</s>", " D.</s>"]
    assert bare.tokenizer.decode(turns[1].prompt) == "user: A?\nassistant: B.\nuser: C?\nassistant:"


def test_chatml_needs_its_tokens_and_plain_only_eos() -> None:
    messages = [("x", chat("A?", "B.", "C?", "D.", system="Be brief."))]
    plain = ChatEncoder(with_template(CHAT_TEMPLATES["plain"]))
    [turns] = plain.turns(messages)
    assert plain.tokenizer.decode(turns[1].prompt + turns[1].answer) == (
        "<s>Be brief.\n\nUser: A?\nAssistant: B.</s>\nUser: C?\nAssistant: D.</s>"
    )
    with pytest.raises(ModelError, match=re.escape("'<|im_end|>', which is no control token")):
        ChatEncoder(with_template(CHAT_TEMPLATES["chatml"])).turns(messages)
    knowing = with_tokens(("<|im_start|>", "<|im_end|>"), None, "<|im_end|>", CHAT_TEMPLATES["chatml"])
    assert knowing.decode(ChatEncoder(knowing).turns(messages)[0][0].answer) == "B.<|im_end|>"


def test_an_answer_whose_first_token_would_change_the_prompts_last_is_tokenised_apart() -> None:
    template = "{% for m in messages %}{{ m.role }}:\n{{ m.content }}</s>{% endfor %}"
    asks = "{% if add_generation_prompt %}assistant:\n{% endif %}"
    tokenizer = with_tokens(("<s>", "</s>"), "<s>", "</s>", template + asks)
    [turn] = ChatEncoder(tokenizer).turns([("x", chat("A?", "\nB."))])[0]
    asked = tokenizer.apply_chat_template(as_dicts(chat("A?")), add_generation_prompt=True, return_dict=False)
    assert turn.apart and turn.prompt == asked
    assert tokenizer.decode(turn.answer) == "\nB.</s>"


def test_a_prompt_of_a_chat_is_the_users_turn_and_any_other_is_its_own_text() -> None:
    tokenizer = chat_tokenizer("chatml")
    asked = tokenizer.apply_chat_template(as_dicts(chat("Name it.")), add_generation_prompt=True, return_dict=False)
    assert form_prompts(tokenizer, CHAT, ["Name it."]) == [asked]
    assert form_prompts(tokenizer, ALPACA, ["Name it."]) == encode_prompts(tokenizer, ["Name it."])


def test_a_template_that_prints_the_date_prints_the_same_on_any_day(caplog: pytest.LogCaptureFixture) -> None:
    template = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}\n{% endif %}{% for m in messages %}"
        "{{ m.content }}</s>{% endfor %}"
    )
    tokenizer = with_tokens(("<s>", "</s>"), "<s>", "</s>", template)
    with caplog.at_level("INFO", logger="pacos"):
        [turn] = ChatEncoder(tokenizer).turns([("x", chat("A?", "B."))])[0]
    assert tokenizer.decode(turn.prompt) == "26 July 2024\nA?</s>"
    assert tokenizer.decode(encode_chats(tokenizer, ["A?"])[0]) == "26 July 2024\nA?</s>"
    assert [line for line in caplog.messages if "prints the date" in line]


def test_a_tokenizer_is_left_as_it_was() -> None:
    tokenizer = chat_tokenizer("mistral-v3")
    before = tokenizer.backend_tokenizer.to_str()
    ChatEncoder(tokenizer).turns([("x", chat("a </s>", "[INST] b"))])
    assert tokenizer.backend_tokenizer.to_str() == before
