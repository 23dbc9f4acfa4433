"""vLLM's own chat endpoint and our rendered prompts get the same greedy answers, on one server, in four templates.

pacos never uses the chat endpoint: it stands for the programs that ask a served model later. The model is random, with
SmolLM2's tokenizer and the control tokens of the other templates; an adapter on it answers.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pacos.asked_chat import asked_tokenizer, stops_of_turns
from pacos.config import Config, EngineConfig, ModelConfig
from pacos.evaluate.prompts import prompt_encoder
from pacos.models import load_tokenizer
from pacos.serving.client import send
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cpu import Workload
from pacos.serving.engine import served_name
from pacos.serving.flags import server_flags
from pacos.serving.server import ManagedServer
from pacos.superni.prompts import prompt_preset
from tests.support.chat_adapter import write_chat_adapter
from tests.support.chat_templates import CHAT_KINDS

# The base's own template is SmolLM2's, ChatML. The adapter's, which the server takes unless a request brings another
# (`--chat-template`, as the command of a finished training says), is Llama-3's.
KINDS = ("chatml", "llama-3", "mistral-v1", "gemma")
TRAINED = "llama-3"
SYSTEM = "Answer in one line."
QUESTIONS = ("Name two fruits.", "  Name it.\n\na red ball ", "Wie heißt die Hauptstadt von Peru?", "日本の首都は？ 🗾")
TOKENS = 12


@dataclass(frozen=True)
class ChatServer:
    """A server of `base`, which takes `adapter` and requests' own chat templates."""

    config: Config
    base: Path
    adapter: Path
    run_dir: Path


@pytest.fixture(scope="module")
def server(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatServer]:
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    folder = tmp_path_factory.mktemp("chats")
    base = build_base(smollm2, folder / "base")
    adapter = write_chat_adapter(base, folder / "adapter", CHAT_KINDS[TRAINED].template)
    for kind in KINDS:
        end_one_answer(base, adapter, kind)
    args = {"max_model_len": 512, "enable_lora": True, "max_lora_rank": 8, "max_loras": 2}
    model = ModelConfig(base=str(base), dtype="float32")
    config = Config(name="chats", model=model, engine=EngineConfig(args=args))
    flags = server_flags(config, str(base), [adapter], Workload(), 8) | {"trust-request-chat-template": True}
    flags["chat-template"] = str(adapter / "chat_template.jinja")
    started = ManagedServer(flags, folder, timeout_s=600, in_flight=8)
    started.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACOS_CHAT_KEY", started.key)
        engine = EngineConfig(url=started.url, api_key_env="PACOS_CHAT_KEY")
        yield ChatServer(config.model_copy(update={"engine": engine}), base, adapter, folder)
    started.stop()


def build_base(smollm2: Path, folder: Path) -> Path:
    """A random Llama with SmolLM2's tokenizer and template; its answers end at the end of turn of any template."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    tokenizer.add_special_tokens({"additional_special_tokens": [t for kind in KINDS for t in CHAT_KINDS[kind].tokens]})
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    # As of Llama-3 and Gemma. Mistral's template ends turns in EOS, whatever that is.
    ends = [tokenizer.convert_tokens_to_ids(CHAT_KINDS[kind].end) for kind in ("llama-3", "gemma")]
    GenerationConfig(eos_token_id=[tokenizer.eos_token_id, *ends]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompt_ids(base: Path, kind: str, system: str = "") -> tuple[list[list[int]], tuple[int, ...]]:
    """Our ids of the questions in a template, and what else than EOS ends their answers."""
    tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))
    if kind == TRAINED:
        tokenizer = asked_tokenizer(tokenizer, base.parent / "adapter")
    elif kind != "chatml":
        tokenizer.chat_template = CHAT_KINDS[kind].template
    encoding = replace(prompt_preset("chat"), system=system)
    return prompt_encoder(tokenizer, encoding)(QUESTIONS), stops_of_turns(tokenizer)


def greedy(base: Path, adapter: Path, ids: list[int]) -> list[int]:
    """transformers' answer with the adapter, EOS and all that follows included."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(adapter))
    whole = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
    return [int(id) for id in whole[0, len(ids) :]]


def last_new(answer: list[int]) -> int:
    """Where the last token stands that the answer has not had before."""
    return max(at for at, id in enumerate(answer) if id not in answer[:at])


def end_one_answer(base: Path, adapter: Path, kind: str) -> None:
    """Exchange two rows of the LM head, so that the first question's answer ends behind some tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    answer = greedy(base, adapter, prompt_ids(base, kind)[0][0])
    at = last_new(answer)
    end = tokenizer.eos_token_id if kind == "mistral-v1" else tokenizer.convert_tokens_to_ids(CHAT_KINDS[kind].end)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight[[end, answer[at]]] = model.lm_head.weight[[answer[at], end]].clone()
    model.save_pretrained(base)


def test_chats_and_our_own_prompts_get_the_same_answers(server: ChatServer) -> None:
    finished = {}
    for kind in KINDS:
        for system in ("", SYSTEM) if CHAT_KINDS[kind].system else ("",):
            ours = asyncio.run(completions(server, kind, system))
            assert ours == chats(server, kind, system), (kind, system)
            finished[kind, system] = {reason for _, reason in ours}
            assert not any(token in text for text, _ in ours for token in CHAT_KINDS[kind].tokens)
    assert all("stop" in finished[kind, ""] for kind in KINDS) and "length" in finished["gemma", ""]
    assert len({text for text, _ in asyncio.run(completions(server, "gemma", ""))}) > 1


async def completions(server: ChatServer, kind: str, system: str) -> list[tuple[str, str]]:
    """(text, finish reason) of each question, as pacos asks it."""
    prompts, stops = prompt_ids(server.base, kind, system)
    async with open_engine(server.config, server.run_dir, adapters={"tuned": server.adapter}) as engine:
        sampling = Sampling(TOKENS, stop_token_ids=stops)
        answers = await asyncio.gather(*[engine.complete(ids, sampling, adapter="tuned") for ids in prompts])
    return [(answer.text, answer.finish_reason) for answer in answers]


def chats(server: ChatServer, kind: str, system: str) -> list[tuple[str, str]]:
    """(text, finish reason) of each question by the chat endpoint."""
    tokenizer = load_tokenizer(str(server.base), server.config.model)
    template = tokenizer.chat_template if kind == "chatml" else CHAT_KINDS[kind].template
    own: dict[str, Any] = {} if kind == TRAINED else {"chat_template": template}
    found = []
    for question in QUESTIONS:
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": question})
        asked = {"model": served_name(server.adapter), "messages": turns, "max_tokens": TOKENS, "temperature": 0.0}
        engine = server.config.engine
        url, key = f"{engine.url}/chat/completions", os.environ[engine.api_key_env]
        status, text = send(url, key, asked | own)
        assert status == 200, text
        choice = json.loads(text)["choices"][0]
        found.append((choice["message"]["content"], choice["finish_reason"]))
    return found


def test_a_turns_end_that_the_model_does_not_name_ends_an_answer(server: ChatServer) -> None:
    ids = prompt_ids(server.base, "chatml")[0][1]
    answer = greedy(server.base, server.adapter, ids)
    at = last_new(answer)
    tokenizer = load_tokenizer(str(server.base), server.config.model)

    async def ask() -> Completion:
        async with open_engine(server.config, server.run_dir, adapters={"tuned": server.adapter}) as engine:
            return await engine.complete(ids, Sampling(TOKENS, stop_token_ids=(answer[at],)), adapter="tuned")

    found = asyncio.run(ask())
    assert found.finish_reason == "stop" and found.completion_tokens == at + 1
    assert found.text.rstrip("\ufffd") == tokenizer.decode(answer[:at], skip_special_tokens=True).rstrip("\ufffd")
