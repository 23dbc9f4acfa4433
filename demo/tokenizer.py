"""A byte-level BPE tokenizer of its own for the demonstration's base model."""

from collections.abc import Iterator
from random import Random
from typing import Any

from demo.corpus import NEW_TASKS, seed_tasks
from demo.families import FAMILIES, compose
from pacos.generate.prompts import format_item, list_prompt

BOS, EOS = "<s>", "</s>"
SIZE = 2_560

# The labels of a list item are one token each, so that a context of 2,048 tokens holds a whole list. Any other
# text is cut into words with their leading space, numbers, and runs of punctuation.
_PIECES = r" (?:Instruction|Input|Output):\n?|<noinput>\n|###\n| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\n|\s"


def train_tokenizer(seed: int) -> Any:
    """A transformers tokenizer that puts BOS in front, as Llama's does."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(Random(seed)), trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=4_096,
    )


def _sample(rng: Random) -> Iterator[str]:
    """Families in plenty; seeds and the list prompt as often as their words deserve whole tokens."""
    for family in FAMILIES:
        for _ in range(60):
            task = compose(family, rng)
            yield format_item(rng.randint(1, 23), task)
            yield task.output  # an answer's first word has no space before it: another token than in a sentence
    for task in seed_tasks():
        yield format_item(rng.randint(1, 23), task)
    for _ in range(20):
        yield list_prompt([], NEW_TASKS)
