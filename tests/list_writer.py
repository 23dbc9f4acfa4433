"""A Llama that a CPU's engine steps through as a GPU's does a large one: sixty answers cost little more than five.

What the engine reads at every step is the weights, once, and the keys and values of each answer. Of Llama-3.1-8B an
answer of a thousand tokens has 0.8 % of the weights' bytes. Of the demonstration's base it has 44 %, and a CPU reads no
faster than it multiplies: there sixty answers are five times the work of five. Here are two layers with one key-value
head, and most of a step is the engine's own time: sixty answers take twice as long as five.
"""

from pathlib import Path
from typing import Any

CONTEXT = 2048


def small_llama(tokenizer: Any) -> Any:
    """0.7 million random weights; draws from torch's generator."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def build_list_writer(folder: Path, seed: int = 0, steps: int = 700) -> Path:
    """Teach one to continue the task lists of demo.corpus: minutes on two cores. After 300 steps most of its items
    parse, and few have the right answer."""
    import torch

    from demo.base import Batches, train
    from demo.tokenizer import train_tokenizer

    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    model = small_llama(tokenizer)
    train(model, Batches(tokenizer, seed), seconds=600, steps=steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
