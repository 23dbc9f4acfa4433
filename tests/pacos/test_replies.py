"""What servers reply, rightly and wrongly: whatever is no answer is a clear error before anything uses it."""

import json
import logging
from typing import Any

import pytest

from pacos.errors import EngineError
from pacos.serving.replies import (
    ServedModel,
    message,
    read_completion,
    read_models,
    read_prompt_logprobs,
    refusal,
)
from pacos.serving.served import served_base

ABSENT = object()


def completion(*, usage: Any = None, **choice: Any) -> str:
    values = {"text": "yes", "finish_reason": "stop"} | choice
    kept = {key: value for key, value in values.items() if value is not ABSENT}
    return json.dumps({"choices": [kept], "usage": usage or {"prompt_tokens": 3, "completion_tokens": 1}})


def test_an_answer_is_read_with_its_tokens() -> None:
    found = read_completion(completion(), "here", 1.5)
    assert (found.text, found.finish_reason, found.prompt_tokens, found.completion_tokens, found.seconds) == (
        "yes", "stop", 3, 1, 1.5,
    )  # fmt: skip


def test_a_server_need_not_say_why_an_answer_ended() -> None:
    assert read_completion(completion(finish_reason=None), "here", 0).finish_reason == ""


def test_half_a_character_becomes_the_replacement_character_before_anything_uses_it() -> None:
    assert read_completion(completion(text="a \ud83d b"), "here", 0).text == "a \ufffd b"


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (completion(text=None), "`text` of the answer is null"),
        (completion(text=ABSENT), "`text` of the answer is null or absent"),
        (completion(text=["yes"]), "`text` of the answer is a list"),
        (completion(text=5), "`text` of the answer is 5"),
        (completion(finish_reason=ABSENT), "`finish_reason` is absent"),
        (completion(finish_reason=3), "`finish_reason` is 3"),
        (completion(finish_reason=["stop"]), "`finish_reason` is a list"),
        (completion(usage={"prompt_tokens": 3}), "`usage.completion_tokens` is null or absent"),
        (completion(usage={"prompt_tokens": None, "completion_tokens": 1}), "`usage.prompt_tokens` is null"),
        (completion(usage={"prompt_tokens": -1, "completion_tokens": 1}), "`usage.prompt_tokens` is -1"),
        (completion(usage={"prompt_tokens": "3", "completion_tokens": 1}), "`usage.prompt_tokens` is text"),
        (completion(usage={"prompt_tokens": True, "completion_tokens": 1}), "`usage.prompt_tokens` is True"),
        (completion(usage={"prompt_tokens": 1.5, "completion_tokens": 1}), "`usage.prompt_tokens` is 1.5"),
        (completion(usage={"prompt_tokens": float("nan"), "completion_tokens": 1}), "`usage.prompt_tokens` is nan"),
        (completion(usage={"prompt_tokens": 10**12, "completion_tokens": 1}), "`usage.prompt_tokens` is 1000000000000"),
        (completion(usage={"prompt_tokens": 10**99, "completion_tokens": 1}), "is a huge number"),
        ('{"choices": [], "usage": {}}', "`choices` has 0"),
        ('{"choices": [{"text": "a"}, {"text": "b"}], "usage": {}}', "`choices` has 2"),
        ('{"choices": [null], "usage": {}}', "one answer was asked for"),
        ('{"choices": {}, "usage": {}}', "not an OpenAI completion"),
        ('{"choices": [{"text": "a", "finish_reason": "stop"}], "usage": null}', "`usage` is null"),
        ('{"error": {"message": "overloaded"}}', "overloaded"),
        ("[]", "not an OpenAI completion"),
        ("null", "not an OpenAI completion"),
        ("", "not an OpenAI completion"),
        ("<html>It works</html>", "It works"),
        (completion()[:40], "not an OpenAI completion"),
        ("[" * 200_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_clear_error(reply: str, complaint: str) -> None:
    with pytest.raises(EngineError, match="OpenAI-compatible") as refused:
        read_completion(reply, "http://host/v1/completions", 0)
    assert complaint in str(refused.value) and str(refused.value.where) == "http://host/v1/completions"
    assert len(str(refused.value)) < 1000


def logprobs_reply(entries: Any) -> str:
    return completion(prompt_logprobs=entries)


def test_prompt_logprobs_are_read_from_the_second_token_on() -> None:
    entries = [None, {"7": {"logprob": -1.5}, "9": {"logprob": -0.1}}, {"8": {"logprob": -2}}]
    assert read_prompt_logprobs(logprobs_reply(entries), [1, 7, 8], "here") == [-1.5, -2.0]


@pytest.mark.parametrize(
    "entries",
    [
        ABSENT,
        None,
        [],
        [None],
        [None, None],
        [None, {"8": {"logprob": -1}}],
        [None, {"7": {"logprob": None}}],
        [None, 5],
    ],
)
def test_missing_prompt_logprobs_are_told(entries: Any) -> None:
    with pytest.raises(EngineError, match=r"log-probabilities of prompts|no number for token 7"):
        read_prompt_logprobs(logprobs_reply(entries), [1, 7], "here")


def test_models_are_read_with_what_the_server_says_of_them() -> None:
    text = json.dumps(
        {"data": [{"id": "base", "root": "/models/m", "max_model_len": 2048}, {"id": "a", "parent": "base"}]}
    )
    assert read_models(text, "here") == [ServedModel("base", "/models/m", "", 2048), ServedModel("a", "", "base", 0)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"data": []}', "serves no model"),
        ('{"data": null}', "`data` is null"),
        ("{}", "`data` is null or absent"),
        ("[]", "not a list of models"),
        ("null", "not a list of models"),
        ("", "not a list of models"),
        ("<html>login</html>", "login"),
        ('{"data": ["x"]}', "without an `id`"),
        ('{"data": [{"id": 5}]}', "without an `id`"),
        ('{"data": [{"id": "m", "max_model_len": "many"}]}', "`max_model_len` of 'm' is text"),
        ('{"data": [{"id": "m", "max_model_len": 0}]}', "`max_model_len` of 'm' is 0"),
        ('{"data": [{"id": "m", "max_model_len": -1}]}', "is -1"),
        ('{"data": [{"id": "m", "max_model_len": 1000000000000000000}]}', "not a number of tokens"),
        ('{"data": [{"id": "m", "max_model_len": [1]}]}', "is a list"),
    ],
)
def test_a_list_of_models_that_is_none_is_a_clear_error(text: str, complaint: str) -> None:
    with pytest.raises(EngineError) as refused:
        read_models(text, "http://host/v1/models")
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, "", "PACOS_KEY"),
        (403, "", "PACOS_KEY"),
        (404, '{"detail": "Not Found"}', "usually in /v1"),
        (413, "", "shorten the prompts"),
        (422, '{"detail": [{"msg": "extra fields not permitted"}]}', "extra fields"),
        (400, '{"error": {"message": "maximum context length is 16 tokens"}}', "--max-model-len"),
        (307, "", "redirects"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: str, says: str) -> None:
    assert says in str(refusal(status, body, "http://host/v1", "PACOS_KEY"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error": {"message": "too long"}}', "too long"),
        ('{"error": "too long"}', "too long"),
        ('{"object": "error", "message": "too long"}', "too long"),
        ("too long\nsecond line", "too long"),
        ("", "no reason given"),
        ("[1]", "[1]"),
        ('{"error": null}', '{"error": null}'),
    ],
)
def test_an_error_bodys_message_is_found(body: str, reason: str) -> None:
    assert message(body) == reason
    assert len(message("x" * 10_000)) < 400


@pytest.mark.parametrize(
    "served",
    [
        ServedModel("Qwen/Qwen2.5-7B"),
        ServedModel("base", root="Qwen/Qwen2.5-7B"),
        ServedModel("base", root="/mnt/models/Qwen2.5-7B/"),
    ],
)
def test_a_served_model_is_known_by_its_id_its_root_or_its_folder(
    served: ServedModel, caplog: pytest.LogCaptureFixture
) -> None:
    other = ServedModel("other", root="/mnt/other")
    assert served_base([other, served], "Qwen/Qwen2.5-7B", "http://host/v1") is served
    assert not caplog.records


def test_the_only_model_of_another_name_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    served, adapter = ServedModel("gpt", root="/mnt/qwen"), ServedModel("m", parent="gpt")
    assert served_base([adapter, served], "m", "http://host/v1") is served
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "serves gpt (/mnt/qwen), and the experiment names m" in caplog.text


def test_several_models_of_other_names_are_listed() -> None:
    with pytest.raises(EngineError, match=r"does not serve 'm', but a, b \(/mnt/b\)"):
        served_base([ServedModel("a"), ServedModel("b", root="/mnt/b")], "m", "http://host/v1")
