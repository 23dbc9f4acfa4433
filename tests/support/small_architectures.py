"""Builds a small random model of any architecture in transformers' causal-LM mapping, with the tests' tokenizer."""

from pathlib import Path
from typing import Any

from tests.support.tiny_llama import build_tiny_llama

# Weights of linear layers and embeddings are multiplied by it: at their usual size nothing that attention gets wrong
# would show in the loss.
LOUDNESS = 3.0

LARGEST = 20_000_000
# The tests' tokenizer has fewer; some types of model add tokens of their own to it.
VOCABULARY = 512
LAYERS, HEADS, KEY_HEADS, HEAD = 2, 4, 2, 16
# Sizes by the names that configurations give them.
LAYER_NAMES = [
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "decoder_layers",
    "encoder_layers",
    "num_blocks",
]
SIZES = {
    HEADS * HEAD: "hidden_size d_model n_embd dim embed_dim word_embed_proj_dim lru_width hidden_dim",
    2 * HEADS * HEAD: "intermediate_size ffn_dim n_inner d_ff feed_forward_size decoder_ffn_dim encoder_ffn_dim "
    "ffn_hidden_size intermediate_size_mlp dense_intermediate_size",
    HEADS: "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
    "num_local_experts num_experts n_routed_experts moe_num_experts",
    KEY_HEADS: "num_key_value_heads num_kv_heads num_experts_per_tok num_experts_per_token moe_topk moe_k moe_top_k "
    "top_k_experts",
    HEAD: "head_dim attention_head_dim global_head_dim v_head_dim qk_nope_head_dim linear_key_head_dim "
    "linear_value_head_dim swa_head_dim kv_channels",
    HEAD // 2: "qk_rope_head_dim",
    2 * HEAD: "q_lora_rank kv_lora_rank moe_intermediate_size shared_expert_intermediate_size "
    "expert_ffn_hidden_size moe_shared_expert_intermediate_size expert_intermediate_size shared_intermediate_size "
    "prefix_dense_intermediate_size",
    1024: "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length max_target_positions",
}

# What a causal language model of a type that is also used otherwise needs.
RULES: dict[str, Any] = {"is_decoder": True, "use_cache": False, "n_group": 1, "topk_group": 1}

# What the rule above cannot know of an architecture.
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16},
    "codegen": {"rotary_dim": 8},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4},
    },
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0, "laurel_rank": 8,
        "hidden_size_per_layer_input": 16, "activation_sparsity_pattern": [0.95, 0.0],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"], "mamba_n_heads": 8, "mamba_d_head": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"num_heads": 4, "head_dim": 32, "state_size": 16, "n_groups": 1},
    "nemotron": {"num_key_value_heads": KEY_HEADS},
    "phimoe": {"router_jitter_noise": 0.0},
    "reformer": {
        "axial_pos_embds_dim": [32, 32], "axial_pos_shape": [32, 32], "attention_head_size": 16,
        "attn_layers": ["local", "lsh"], "feed_forward_size": 128,
    },
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 3, "attn_layer_offset": 1, "n_mamba_heads": 2},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip

# Settings under which a model of the mapping must be treated otherwise.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral, window 32": ("mistral", {"sliding_window": 32}),
    "gemma3_text, window 32": ("gemma3_text", {"sliding_window": 32}),
    "gpt_neo, local 32": ("gpt_neo", {"window_size": 32}),
    "llama, dynamic rope": (
        "llama",
        {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "phi3, longrope": (
        "phi3",
        {
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64,
                "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
            },
        },
    ),
}  # fmt: skip


def build(name: str, folder: Path) -> None:
    """Write a small random model of this type, or variant, with the tests' tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    build_tiny_llama(folder)
    kind, changes = VARIANTS.get(name, (name, {}))
    config = small_config(kind, VOCABULARY, SPECIAL.get(kind, {}) | changes)
    (folder / "model.safetensors").unlink()
    (folder / "generation_config.json").unlink(missing_ok=True)
    with torch.device("meta"):
        size = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} weights after all sizes were reduced")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    louder(model)
    model.generation_config = type(model.generation_config)() if model.generation_config else None
    model.save_pretrained(folder)


def louder(model: Any) -> None:
    """Make weights of linear layers and embeddings large, and biases and zeros alive, all from a seed."""
    import torch

    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding) or type(module).__name__ == "Conv1D":
                if not module.weight.any():
                    module.weight.normal_(std=0.02, generator=draw)
                module.weight.mul_(LOUDNESS)


def small_config(kind: str, vocabulary: int, special: dict[str, Any]) -> Any:
    """A configuration of this model type with every size that has a known name reduced."""
    from transformers import CONFIG_MAPPING

    return shrink(CONFIG_MAPPING[kind], vocabulary, special)


def shrink(kind: Any, vocabulary: int, special: dict[str, Any]) -> Any:
    """The same for a class, and for the configuration of its text part."""
    default = kind()
    sizes = {name: size for size, names in SIZES.items() for name in names.split()}
    sizes |= dict.fromkeys(LAYER_NAMES, LAYERS)
    known = vars(default) | {name: getattr(default, name, None) for name in getattr(kind, "attribute_map", {})}
    values: dict[str, Any] = {
        name: sizes[name]
        for name, value in known.items()
        if name in sizes and (value is not None or name in ("head_dim", "n_routed_experts", "num_experts_per_tok"))
    }
    values |= {"vocab_size": vocabulary} if hasattr(default, "vocab_size") else {}
    if known.get("qk_rope_head_dim"):
        # Attention by a compressed latent: the rotary part is all that rotary embeddings see.
        values |= {
            name: size for name, size in (("head_dim", HEAD // 2), ("num_key_value_heads", HEADS)) if name in known
        }
    for name, reduced in RULES.items():
        if name in known:
            values[name] = reduced
    special_ids = (("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 0))
    values |= {name: number for name, number in special_ids if name in known}
    for name in known:
        if "drop" in name and isinstance(known[name], float):
            values[name] = 0.0
        if name.endswith("vocab_size_per_layer_input") or name == "n_vocab":
            values[name] = vocabulary
    if isinstance(vars(default).get("layer_types"), list) and "layer_types" not in special:
        # One layer of each kind that the default has, in its order, and the first of them again.
        kinds = list(dict.fromkeys(known["layer_types"]))
        values["layer_types"] = kinds + kinds[:1]
        values |= {name: len(kinds) + 1 for name in values if name in LAYER_NAMES}
    for name in getattr(kind, "sub_configs", {}):
        if (part := getattr(default, name, None)) is not None:
            values[name] = shrink(type(part), vocabulary, SPECIAL.get(part.model_type, {})).to_dict()
    return kind(**values | special)
