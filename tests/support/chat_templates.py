"""Chat templates built as those of well-known models are, written for these tests, and tiny tokenizers for them."""

from dataclasses import dataclass
from typing import Any

from tests.support.small_tokenizers import TEXT

_RAISE_ON_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"


@dataclass(frozen=True)
class ChatKind:
    """A template, the special tokens of its tokenizer, which of them are BOS, EOS and the end of a turn.

    `asks` is what asks for an answer. `strips`: white space around texts is dropped. `system`: a system text is shown.
    `moves`: earlier turns are rendered otherwise than they were as the last ones. `pieces`: the tokenizer is of
    SentencePiece's kind.
    """

    template: str
    tokens: tuple[str, ...]
    bos: str | None
    eos: str
    end: str
    asks: str
    strips: bool = False
    system: bool = True
    moves: bool = False
    pieces: bool = False


def _chatml(extra: str = "") -> str:
    return (
        extra + "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


CHAT_KINDS: dict[str, ChatKind] = {
    "llama-2": ChatKind(
        "{% if messages[0].role == 'system' %}{% set head = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set head = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}"
        "{{ ((head if loop.first else '') + m.content) | trim }}{{ ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}",
        ("<s>", "</s>"),
        "<s>",
        "</s>",
        "</s>",
        " [/INST]",
        strips=True,
        pieces=True,
    ),
    "llama-3": ChatKind(
        "{% for m in messages %}{% set text = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
        "m.content | trim + '<|eot_id|>' %}{% if loop.first %}{{ bos_token }}{% endif %}{{ text }}{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        strips=True,
    ),
    "chatml": ChatKind(
        _chatml(), ("<|im_start|>", "<|im_end|>"), None, "<|im_end|>", "<|im_end|>", "<|im_start|>assistant\n"
    ),
    "mistral-v1": ChatKind(
        _RAISE_ON_SYSTEM + "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}",
        ("<s>", "</s>"),
        "<s>",
        "</s>",
        "</s>",
        " [/INST]",
        system=False,
        pieces=True,
    ),
    "mistral-v3": ChatKind(
        "{% set head = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}{{ bos_token }}"
        "{% for m in messages %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + (head if loop.index0 >= messages | length - 2 else '') + m.content }}"
        "{{ '[/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "<s>",
        "</s>",
        "</s>",
        "[/INST]",
        moves=True,
        pieces=True,
    ),
    "gemma": ChatKind(
        _RAISE_ON_SYSTEM + "{{ bos_token }}{% for m in messages %}<start_of_turn>"
        "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        "<start_of_turn>model\n",
        strips=True,
        system=False,
        pieces=True,
    ),
    "phi-3": ChatKind(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "<s>",
        "<|endoftext|>",
        "<|end|>",
        "<|assistant|>\n",
    ),
    "qwen2.5": ChatKind(
        _chatml("{% if messages[0].role != 'system' %}<|im_start|>system\nYou answer.<|im_end|>\n{% endif %}"),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        None,
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>assistant\n",
    ),
    "qwen3": ChatKind(
        "{% set last = namespace(at=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set last.at = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
        "{% set thought = m.content.split('</think>')[0].split('<think>')[-1] if '</think>' in m.content else '' %}"
        "{% if loop.index0 > last.at %}{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}{% endif %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        None,
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>assistant\n",
        moves=True,
    ),
    "zephyr": ChatKind(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        ("<s>", "</s>"),
        "<s>",
        "</s>",
        "</s>",
        "<|assistant|>\n",
        pieces=True,
    ),
    "command": ChatKind(
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
        "{{ {'user': '<|USER_TOKEN|>', 'system': '<|SYSTEM_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>'}[m.role] }}"
        "{{ m.content }}<|END_OF_TURN_TOKEN|>{% endfor %}"
        "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
        (
            "<BOS_TOKEN>",
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
        ),
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
    ),
    "deepseek": ChatKind(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
        "<|User|>{{ m.content }}{% else %}<|Assistant|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% endif %}",
        ("<|begin_of_sentence|>", "<|end_of_sentence|>", "<|User|>", "<|Assistant|>"),
        "<|begin_of_sentence|>",
        "<|end_of_sentence|>",
        "<|end_of_sentence|>",
        "<|Assistant|>",
    ),
}


def chat_tokenizer(name: str) -> Any:
    """A tiny tokenizer with the template and the special tokens of a kind; it puts BOS before plain texts."""
    kind = CHAT_KINDS[name]
    return with_tokens(kind.tokens, kind.bos, kind.eos, kind.template, pieces=kind.pieces)


def with_tokens(
    tokens: tuple[str, ...], bos: str | None, eos: str, template: str | None = None, *, pieces: bool = False
) -> Any:
    """A tiny tokenizer with these special tokens, of byte-level or SentencePiece's kind."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend = _pieces(["<unk>", *tokens]) if pieces else _byte_level(["<unk>", *tokens])
    if bos:
        special = [(bos, backend.token_to_id(bos))]
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token=bos, eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer


def _byte_level(specials: list[str]) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    # Line ends are tokens whatever follows them, as in Llama-3's tokenizer.
    lines = pre_tokenizers.Split(Regex(r"\s*[\r\n]+| ?\w+| ?[^\w\s]+|\s+(?!\S)|\s+"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.ByteLevel(False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = [*TEXT, *["a\n\nb\n\n\nc"] * 9]
    backend.train_from_iterator(
        text,
        trainers.BpeTrainer(vocab_size=480, show_progress=False, special_tokens=specials, initial_alphabet=alphabet),
    )
    return backend


def _pieces(specials: list[str]) -> Any:
    import json

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    pieces = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))]
    # No piece has a line end, which is a byte, as in the files of Llama-2 and Mistral.
    text = [line.replace("\n", " ") for line in TEXT]
    backend.train_from_iterator(text, trainers.BpeTrainer(vocab_size=700, show_progress=False, special_tokens=pieces))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    rules = json.loads(backend.to_str())
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] in specials]
    return Tokenizer.from_str(json.dumps(rules))
