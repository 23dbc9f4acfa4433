"""Which causal language models train, and is it the same training as plain PEFT? One row for each name of transformers.

Every name of transformers' causal-LM mapping is built small and random, and trained for five steps as `pacos train`
does it: loading, choice of rows, checks, loop, export. Beside it PEFT trains the same adapters on each row alone,
without padding, by transformers' eager attention: cross-entropy summed, divided by the step's labels, clipped, AdamW.
Rows that are longer than a window or a rotary length are in variants of their own.

Results are added to `results/architectures.json` one by one, so that an interrupted run goes on; `--table` writes
docs/architectures.md from them.
"""

import argparse
import contextlib
import gc
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.result import RESULTS
from pacos.config import Config
from pacos.errors import PacosError
from pacos.files import write_json
from tests.support.small_training import train_here, training_config, write_tasks
from tests.support.tiny_llama import build_tiny_llama

SAVED = RESULTS / "architectures.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "architectures.md"
DTYPES = ("float32", "bfloat16")
STEPS, BATCH = 5, 4
# Largest difference of a step's loss from plain PEFT's, relative, that rounding explains.
TOLERANCE = {"float32": 2e-5, "bfloat16": 1e-3}
# Where it is larger: this multiple of the difference between two of PEFT's own, with sdpa, or in float32.
ALLOWANCE = 4
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


@dataclass(frozen=True)
class Outcome:
    """What became of one architecture in one precision; `difference` is the largest of a step's loss, relative."""

    state: str
    reason: str = ""
    difference: float = 0.0
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all of transformers' mapping, and the variants, unless given")
    parser.add_argument("--again", action="store_true", help="measure also what is in the results already")
    parser.add_argument("--save", action="store_true", help="add the outcomes to the results")
    parser.add_argument("--table", action="store_true", help="write docs/architectures.md from the results, and end")
    options = parser.parse_args()
    if options.table:
        PAGE.write_text(page(json.loads(SAVED.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    quiet()
    results = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.is_file() else {"outcomes": {}}
    for name in options.names or [*mapping_names(), *VARIANTS]:
        if name in results["outcomes"] and not options.again:
            continue
        try:
            outcomes = measure(name)
        except Exception as failure:
            outcomes = {dtype: Outcome("traceback", f"of the benchmark, {first_line(failure)}") for dtype in DTYPES}
        print(name, {dtype: tuple(asdict(outcome).values()) for dtype, outcome in outcomes.items()}, flush=True)
        if options.save:
            results["outcomes"][name] = {dtype: asdict(outcome) for dtype, outcome in outcomes.items()}
            write_json(SAVED, results | {"versions": versions()})


def quiet() -> None:
    import warnings

    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    logging.getLogger("pacos").setLevel(logging.CRITICAL)


def versions() -> dict[str, str]:
    """Of the libraries that decide what there is to train."""
    import peft
    import torch
    import transformers

    return {"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__}


def mapping_names() -> list[str]:
    """The model types of transformers' causal-LM mapping."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def measure(name: str) -> dict[str, Outcome]:
    """The outcome in each precision."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        try:
            build(name, base)
        except Exception as failure:
            return {dtype: Outcome("not built", first_line(failure)) for dtype in DTYPES}
        for dtype in DTYPES:
            began = time.monotonic()
            with open_precision():
                outcome = train_both(base, Path(folder) / dtype, dtype)
            outcomes[dtype] = replace(outcome, seconds=round(time.monotonic() - began, 1))
            gc.collect()
    return outcomes


@contextlib.contextmanager
def open_precision() -> Iterator[None]:
    """bfloat16 stays bfloat16 on any CPU, and the check that a model stops is short: it tells nothing here."""
    with (
        mock.patch("pacos.train.model.precision.has_amx", lambda: True),
        mock.patch("pacos.train.export.probe.LIMIT", 4),
    ):
        yield


def train_both(base: Path, folder: Path, dtype: str) -> Outcome:
    """Train by pacos and by PEFT, and compare the losses."""
    folder.mkdir()
    tasks = write_tasks(folder / "tasks.jsonl", STEPS * BATCH)
    config = run_config(folder, base, tasks, dtype)
    try:
        with mock.patch("pacos.train.pipeline.report_rows") as reported:
            found = [line["loss"] for line in train_here(config)]
    except PacosError as refused:
        return Outcome("refused", first_line(refused).replace(f"{base}: ", "").replace(f"{folder}/", ""))
    except Exception as failure:
        return Outcome("traceback", first_line(failure))
    [rules] = reported.call_args.args
    try:
        expected = plain_peft(config, config.run_dir / "train" / "adapter", dtype)
    except Exception as failure:
        return Outcome("not yet", f"trains, and plain PEFT, to compare it with, ends in {first_line(failure)}")
    difference, tolerance = furthest(found, expected), TOLERANCE[dtype]
    if not difference <= tolerance:
        # Some models amplify rounding: how far apart are two computations of PEFT's own?
        attention = "sdpa" if dtype == "float32" else "eager"
        with contextlib.suppress(ValueError):
            again = plain_peft(config, config.run_dir / "train" / "adapter", "float32", attention)
            tolerance = max(tolerance, ALLOWANCE * furthest(again, expected))
    shutil.rmtree(folder)
    if not difference <= tolerance:
        return Outcome("silently wrong", rules.unpacked, difference)
    return Outcome("equal, unpacked" if rules.unpacked else "equal, packed", rules.unpacked, difference)


def run_config(folder: Path, base: Path, tasks: Path, dtype: str) -> Config:
    """Five steps at a constant rate, high enough for the loss to move."""
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_size": BATCH,
        "pack_tokens": 512,
        "warmup_ratio": 0.0,
        "schedule": "constant",
    }
    settings |= {"learning_rate": 2e-3, "max_grad_norm": 1.0, "lora": {"r": 4, "alpha": 8}}
    config = training_config(folder, base, tasks, **settings)
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})


def furthest(found: list[float], expected: list[float]) -> float:
    """The largest difference of a step's loss, relative."""
    return max(abs(one - other) / abs(other) for one, other in zip(found, expected, strict=True))


def plain_peft(config: Config, adapter: Path, dtype: str, attention: str = "eager") -> list[float]:
    """The losses of PEFT on each row alone, with the settings of `adapter`. Uses nothing of pacos but its token ids."""
    import random

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from pacos.models import load_tokenizer
    from pacos.train.data.tokenized import load_dataset

    examples = load_dataset(config, load_tokenizer(config.model.base, config.model)).examples
    options = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    base = AutoModelForCausalLM.from_pretrained(config.model.base, **options)
    settings = LoraConfig.from_pretrained(str(adapter))
    settings.inference_mode = False
    torch.manual_seed(config.seed)
    model = get_peft_model(base, settings).train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.train.learning_rate, weight_decay=0.0)
    order = list(range(len(examples)))
    random.Random(f"{config.seed}:0").shuffle(order)
    losses = []
    for start in range(0, len(order), BATCH):
        rows = [examples[index] for index in order[start : start + BATCH]]
        count, total = sum(row.response_tokens for row in rows), 0.0
        for row in sorted(rows, key=lambda row: -len(row.ids)):
            ids = torch.tensor([row.ids])
            for part in model.modules():
                if hasattr(part, "max_seq_len_cached") and hasattr(part, "original_inv_freq"):
                    # Dynamic rotary embeddings remember longer rows: here each row is the first.
                    part.max_seq_len_cached, part.inv_freq = part.original_max_seq_len, part.original_inv_freq
            logits = model(input_ids=ids).logits[0, row.prompt_length - 1 : -1].float()
            loss = torch.nn.functional.cross_entropy(logits, ids[0, row.prompt_length :], reduction="sum") / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, config.train.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def first_line(failure: Exception) -> str:
    """The kind of an error and the first line of its message, for a table."""
    line = (str(failure).strip() or "no message").splitlines()[0]
    line = line if isinstance(failure, PacosError) else f"{type(failure).__name__}: {line}"
    return line.replace("|", "/")[:160]


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


def page(results: dict[str, Any]) -> str:
    """docs/architectures.md."""
    outcomes = results["outcomes"]
    lines = [
        f"| {name} | {' | '.join(cell(outcomes[name][dtype]) for dtype in DTYPES)} |"
        for name in outcomes
        if outcomes[name]["float32"]["state"] != "not built"
    ]
    unbuilt = [
        f"- `{name}`: {one['float32']['reason']}"
        for name, one in outcomes.items()
        if one["float32"]["state"] == "not built"
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return TEXT.format(
        versions=versions,
        count=len(lines),
        allowance=ALLOWANCE,
        rows="\n".join(lines),
        unbuilt="\n".join(unbuilt) or "None.",
    )


def cell(outcome: dict[str, Any]) -> str:
    """One outcome as it stands in the table."""
    state, reason = outcome["state"], outcome["reason"]
    text = f"{state} ({reason})" if reason else state
    return f"{text}, {outcome['difference']:.0e}" if state.startswith("equal") else text


TEXT = """\
# Architectures

`pacos train` takes any causal language model that transformers and PEFT can train. Where a model's layers allow it,
examples are packed. Otherwise each has a padded row of its own: the loss is the same, a step takes longer, and the log
says why. What decides is what the layers do with a token, not a list of names (`train/model/mixing.py`).

<!-- written by `python -m benchmarks.architectures --table` from benchmarks/results/architectures.json -->

Measured with {versions}: {count} small random models, five steps each as `pacos train` takes them, beside PEFT on each
row alone. The number is the largest difference of a step's loss, relative to the loss. Up to 2e-5 in float32 and 1e-3
in bfloat16 is equal, or up to {allowance} times what PEFT's own losses differ by: with eager attention from sdpa's, in
bfloat16 from float32's.

| model type | float32 | bfloat16 |
|---|---|---|
{rows}

## Not built

The benchmark makes small configurations by reducing every size whose name it knows. These it could not make:

{unbuilt}
"""


if __name__ == "__main__":
    main()
