"""SmolLM2's GGUF file as a folder that transformers and vLLM load, by the gguf library.

transformers reads GGUF files too, but differently in each version of the range supported here, and without the digit
split of this model's tokenizer. Names and the order of rows are those of llama.cpp's `convert_hf_to_gguf.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
MODULES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3  # of tokenizer.ggml.token_type


def convert(gguf: Path, folder: Path) -> None:
    """Write SmolLM2's GGUF file as a folder that transformers and vLLM load: bfloat16 weights, tokenizer, configs.

    Values are dequantised in float32 by the gguf library and rounded once. Raises OSError as the disk does.
    """
    from gguf import GGUFReader
    from safetensors.torch import save
    from transformers import GenerationConfig

    reader = GGUFReader(gguf)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    config, tokenizer, weights = _config(facts), _tokenizer(facts), _weights(reader, facts)
    folder.mkdir()
    config.save_pretrained(folder)
    GenerationConfig(**_special_ids(facts)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))


def _weights(reader: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """{transformers' name: bfloat16 tensor}. The output head is tied to the embedding and stored in neither format."""
    import torch
    from gguf.quants import dequantize

    heads = {"attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]}
    weights = {}
    for tensor in reader.tensors:
        *layer, module = tensor.name.removesuffix(".weight").split(".")
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type)).bfloat16()
        if module in heads:
            # RoPE rotates neighbouring rows of a head in llama.cpp, and rows half a head apart in transformers.
            values = values.unflatten(0, (heads[module], -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()
        name = f"model.layers.{layer[1]}.{LAYER_MODULES[module]}" if layer else MODULES[module]
        weights[f"{name}.weight"] = values
    return weights


def _special_ids(facts: Mapping[str, Any]) -> dict[str, Any]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{role}_token_id": facts[f"tokenizer.ggml.{name}_token_id"] for role, name in names.items()}


def _config(facts: Mapping[str, Any]) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        **_special_ids(facts),
    )


def _tokenizer(facts: Mapping[str, Any]) -> Any:
    """SmolLM2's byte-level BPE: single digits, then GPT-2's split (llama.cpp's `smollm`); adds no BOS or EOS.

    transformers' own GGUF reader does not split off the digits, so spaces before a number merge differently.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens, kinds = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
        chat_template=facts["tokenizer.chat_template"],
        clean_up_tokenization_spaces=False,
        model_max_length=facts["llama.context_length"],
    )
