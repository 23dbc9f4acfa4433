"""SuperNI's encodings against an independent rendering of them, on the real headers of all 119 test tasks."""

import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.extensions import PROMPTS
from pacos.superni.prompts import Demonstrations, prompt_preset, tk_instruct
from pacos.superni.tasks import Demonstration, Instance

EXAMPLES = (Demonstration("one ", "1", " because"), Demonstration("two?", "2!", "yes."))
INSTANCE = Instance("task1_a", "1", "c", " Name the colour ", "a red ball\n", ("red",), EXAMPLES, EXAMPLES[::-1])


def golden(preset: str, header: dict[str, Any], question: str) -> str:
    """Written from the encodings' description, line by line, each part closed by a period."""
    definition, question = header["Definition"][0].strip(), question.strip()
    if preset == "alpaca":
        body = f"### Instruction:\n{definition}\n\n### Input:\n{question}\n\n### Response:"
        opening = "Below is an instruction that describes a task, paired with an input that provides further context."
        return f"{opening} Write a response that appropriately completes the request.\n\n{body}"
    if preset == "self-instruct":
        return "\n".join([definition, "", f"Input: {question}", "Output:"])
    if preset == "chat":
        return f"{definition}\n\n{question}"

    def closed(*words: str) -> str:
        line = " ".join(words)
        return line + ("" if line.endswith(tuple(string.punctuation)) else ".")

    lines = [closed("Definition:", definition), ""]
    for kind in ("Positive", "Negative"):
        wanted = 2 if f"{kind[:3].lower()}2" in preset else 0
        for number, example in enumerate(header[f"{kind} Examples"][:wanted]):
            lines += [f" {kind} Example {number + 1} -", closed("Input:", example["input"].strip())]
            lines += [" " + closed("Output:", example["output"].strip())]
            if "expl" in preset:
                lines += [" " + closed("Explanation:", example["explanation"].strip())]
            lines += [""]
    return "\n".join([*lines, "Now complete the following example -", closed("Input:", question), "Output:"])


@pytest.mark.parametrize("preset", PROMPTS)
def test_prompts_on_all_119_real_headers(preset: str, shared_data: Path) -> None:
    lines = (shared_data / "superni" / "test_task_headers.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 119
    for header in map(json.loads, lines):
        positive = tuple(Demonstration(**example) for example in header["Positive Examples"])
        negative = tuple(Demonstration(**example) for example in header["Negative Examples"])
        for question in (example.input for example in positive + negative):
            instance = Instance("t", "1", "c", header["Definition"][0], question, ("x",), positive, negative)
            assert prompt_preset(preset).render(instance) == golden(preset, header, question)


def test_tk_instruct_prompt_byte_for_byte() -> None:
    assert tk_instruct(INSTANCE, prompt_preset("tk-instruct:def").shown) == (
        "Definition: Name the colour.\n\nNow complete the following example -\nInput: a red ball.\nOutput: "
    )
    assert tk_instruct(INSTANCE, prompt_preset("tk-instruct:def+pos2+neg2+expl").shown) == (
        "Definition: Name the colour.\n\n"
        " Positive Example 1 -\nInput: one.\n Output: 1.\n Explanation: because.\n\n"
        " Positive Example 2 -\nInput: two?\n Output: 2!\n Explanation: yes.\n\n"
        " Negative Example 1 -\nInput: two?\n Output: 2!\n Explanation: yes.\n\n"
        " Negative Example 2 -\nInput: one.\n Output: 1.\n Explanation: because.\n\n"
        "Now complete the following example -\nInput: a red ball.\nOutput: "
    )


def test_an_empty_input() -> None:
    bare = replace(INSTANCE, input=" ")
    assert prompt_preset("self-instruct").render(bare) == "Name the colour\nOutput:"
    assert "### Input" not in prompt_preset("alpaca").render(bare)
    # As upstream: the space before an empty input is no punctuation.
    assert prompt_preset("tk-instruct:def").render(bare).endswith("\nInput: .\nOutput:")


def test_each_preset_has_its_own_fingerprint() -> None:
    assert len({prompt_preset(preset).sha256 for preset in PROMPTS}) == len(PROMPTS)


def test_a_users_turn_shows_as_many_demonstrations_as_it_is_asked_for() -> None:
    chat = prompt_preset("chat")
    assert chat.render(INSTANCE) == "Name the colour\n\na red ball"
    assert chat.render(INSTANCE, Demonstrations(positive=1)) == (
        "Name the colour\n\nInput: one\nOutput: 1\n\nInput: a red ball\nOutput:"
    )
    assert chat.render(INSTANCE, Demonstrations(positive=9)).count("Output:") == 3
    assert chat.render(replace(INSTANCE, input=" ")) == "Name the colour"


def test_a_chats_fingerprint_covers_its_system_text_and_its_demonstrations() -> None:
    chat = prompt_preset("chat")
    kinds = [chat, replace(chat, system="Be brief."), *(replace(chat, shown=Demonstrations(n)) for n in (1, 2, 3))]
    assert len({kind.sha256 for kind in kinds}) == len(kinds)


@given(st.text(), st.text())
def test_prompts_keep_their_cue_and_their_texts_whatever_they_hold(definition: str, question: str) -> None:
    for preset in PROMPTS:
        prompt = prompt_preset(preset).render(replace(INSTANCE, definition=definition, input=question))
        cues = {"alpaca": "### Response:", "chat": question.strip() or definition.strip()}
        assert prompt.endswith(cues.get(preset, "\nOutput:"))
        assert definition.strip() in prompt and question.strip() in prompt
