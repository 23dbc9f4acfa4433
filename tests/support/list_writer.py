"""A Llama of 0.7 million weights, trained in about a minute to continue the task lists that `pacos generate` asks for.

It is a base for tests and benchmarks that need real lists from a real engine, fast: most of its items parse and many
are novel, but few have the right answer. Its tasks are the templates below, filled from short lists of words.

With it a CPU's engine behaves as a GPU's does with a large model: most of a step is the engine's own time, not weights
and attention, so that sixty answers take only about twice as long as five.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from pacos.generate.prompting.alpaca import format_item, list_prompt
from pacos.records import Task
from pacos.seeds import PACKAGED_SEEDS, load_seeds

CONTEXT = 2048
VOCABULARY = 2048
SHOWN, NEW_TASKS = 3, 20
SHORT_STEPS = 0.6  # share of the steps that see single items; the others see whole lists
SHORT_ROWS = 32
LEARNING_RATE = 4e-3
BOS, EOS = "<s>", "</s>"

# An instruction is an opening, a question or command, and a closing. Two that share only one of these usually count
# as novel.
OPENINGS = (
    "", "", "", "", "For a reader in a hurry, ", "As a careful clerk would, ", "Before the shop closes, ",
    "With the note at hand, ", "To settle a small argument, ", "For the village newspaper, ", "In plain words, ",
    "As a favour to a neighbour, ", "Without guessing, ", "For next week's lesson, ", "Like a patient teacher, ",
    "To help a new colleague, ", "While there is still time, ", "As if you were there, ",
)  # fmt: skip
CLOSINGS = (
    "", "", "", " Keep it short.", " Add no explanation.", " Do not repeat the question.", " One line is enough.",
    " Leave everything else out.", " Nobody needs more than that.", " Use the words of the text where you can.",
)  # fmt: skip
# (question or command, input, output)
TEMPLATES = (
    ("who brought the {thing}?", "On {day} {name} came by and brought a {thing}.", "{name}"),
    ("where did {name} leave the {thing}?", "{name} left the {thing} at the {place}.", "At the {place}"),
    ("on which day do {name} and {friend} meet?", "{friend} will meet {name} at the {place} on {day}.", "{day}"),
    ("name the colour of what {friend} bought.", "{friend} bought a {colour} {thing} for {name}.", "{colour}"),
    ("extract the price.", "For sale: a {colour} {thing}, {number} dollars. Ask {name}.", "{number} dollars"),
    ("count the {animal}s.", "{name} saw {number} {animal}s near the {place}.", "{number}"),
    ("which animal lives with {name}?", "{name} has a {animal}, and {friend} feeds it.", "A {animal}"),
    ("find out what was lost and where.", "{name} lost a {thing} at the {place}.", "A {thing}, at the {place}"),
    ("is this review of the {place} friendly or angry?", "The {place} was {bad}. Never again!", "Angry"),
    ("decide if {name} sold the {thing}, yes or no.", "{name} sold the {thing} to {friend}.", "Yes"),
    ("did it happen on {day}? Reply yes or no.", "Nobody went to the {place} on {day}.", "No"),
    ("pick the taller person.", "{name} is a head taller than {friend}.", "{name}"),
    ("label the remark as a question or a statement.", "Has {name} been to the {place}?", "Question"),
    ("move the sentence into the past.", "{name} walks to the {place}.", "{name} walked to the {place}."),
    ("join both statements with \"but\".", "{name} left. {friend} stayed.", "{name} left but {friend} stayed."),
    ("put {friend} in the place of {name}.", "{name} cleans the {thing}.", "{friend} cleans the {thing}."),
    ("correct the spelling.", "{name} recieved a {thing}.", "{name} received a {thing}."),
    ("turn the order into a polite request.", "Bring me the {thing}!", "Could you bring me the {thing}, please?"),
    ("reduce the message to its point.", "Hello, it is {name}. The {place} is shut on {day}.", "{place} shut on {day}"),
    ("make a headline of this event.", "A {animal} ran into the {place} on {day}.", "{animal} runs into {place}"),
    ("list the two people who are mentioned.", "{name} showed {friend} the {thing}.", "{name}, {friend}"),
    ("what is the capital of {country}?", "", "{capital}"),
    ("give the opposite of \"{word}\".", "", "{opposite}"),
    ("write the plural of \"{noun}\".", "", "{plural}"),
    ("which sound does a {beast} make?", "", "It says {sound}."),
    ("sort {food} under fruit, vegetables or drinks.", "", "{kind}"),
    ("tell a child what a {tool} is good for.", "", "For {use}."),
    ("congratulate {name} on a new {thing}.", "", "Well done, {name}, on your new {thing}!"),
    ("invite {friend} to the {place} on {day}.", "", "{friend}, will you come to the {place} on {day}?"),
    ("thank {name} for lending you a {thing}.", "", "Thank you, {name}, for lending me your {thing}."),
    ("suggest a title for a story about a {animal} in a {place}.", "", "The {animal} of the {place}"),
    ("advertise a used {colour} {thing}.", "", "{colour} {thing}, hardly used, {number} dollars"),
    ("invent an excuse for missing {day} at the {place}.", "", "My {animal} was ill on {day}."),
    ("describe {country} to somebody who has never left home.", "", "A country whose capital is {capital}."),
)  # fmt: skip
# {slots: their fillings}; slots joined by "/" are filled together.
WORDS = {
    "name": "Ada Boris Carla Dinah Emil Fatima Goran Hanna Igor Jana",
    "friend": "Kofi Lena Marco Nadia Oskar Petra Quentin Rosa Samir Tilda",
    "thing": "lamp kettle bicycle ladder basket clock blanket mirror suitcase drum guitar chair",
    "place": "harbour library bakery station museum garden market school theatre bridge farm hotel",
    "animal": "goat parrot rabbit donkey hedgehog turtle swan badger",
    "colour": "red green blue yellow purple brown white grey",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "number": "two three four five six seven eight nine ten twelve twenty thirty forty fifty",
    "bad": "filthy noisy awful overpriced freezing",
    "country/capital": "France/Paris Japan/Tokyo Egypt/Cairo Peru/Lima Norway/Oslo Kenya/Nairobi Cuba/Havana",
    "word/opposite": "hot/cold early/late heavy/light empty/full narrow/wide cheap/expensive wet/dry loud/quiet",
    "noun/plural": "mouse/mice foot/feet child/children knife/knives tooth/teeth leaf/leaves goose/geese wolf/wolves",
    "beast/sound": "dog/woof cat/meow cow/moo sheep/baa duck/quack frog/croak bee/buzz owl/hoot",
    "food/kind": "apples/Fruit carrots/Vegetables tea/Drinks plums/Fruit onions/Vegetables milk/Drinks pears/Fruit",
    "tool/use": "hammer/nailing needle/sewing spade/digging brush/painting pen/writing saw/sawing broom/sweeping",
}


def build_list_writer(folder: Path, seed: int = 0, steps: int = 400) -> Path:
    """Train a model of `small_llama`'s shape for a fixed number of steps and save it with its tokenizer in `folder`."""
    import torch

    torch.manual_seed(seed)
    rng = Random(seed)
    tokenizer = train_tokenizer(rng)
    model = small_llama(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        rows = short_rows(tokenizer, rng) if step < SHORT_STEPS * steps else [whole_list(tokenizer, rng)]
        batch = tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for row, (_, prompt) in zip(labels, rows, strict=True):
            row[:prompt] = -100
        model(**batch, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def short_rows(tokenizer: Any, rng: Random) -> list[tuple[list[int], int]]:
    """(token ids, 0) of single items, under any number that a list has."""
    items = (format_item(rng.randint(SHOWN + 1, SHOWN + NEW_TASKS), task) for task in tasks(rng, SHORT_ROWS))
    return [(tokenizer(item)["input_ids"], 0) for item in items]


def whole_list(tokenizer: Any, rng: Random) -> tuple[list[int], int]:
    """(token ids, how many of them are the prompt's) of a list as the pipeline asks for it, at most CONTEXT."""
    seeds = [seed.task for seed in rng.sample(load_seeds(PACKAGED_SEEDS), SHOWN)]
    prompt = list_prompt(seeds, NEW_TASKS)
    items = "".join(format_item(number, task) for number, task in enumerate(tasks(rng, NEW_TASKS), SHOWN + 1))
    text = prompt + items.removeprefix(f"###\n{SHOWN + 1}. Instruction:") + EOS
    return tokenizer(text)["input_ids"][:CONTEXT], len(tokenizer(prompt)["input_ids"])


def tasks(rng: Random, count: int) -> Iterator[Task]:
    """Tasks of different templates."""
    for template in rng.sample(TEMPLATES, count):
        slots: dict[str, str] = {}
        for names, fillings in WORDS.items():
            slots |= zip(names.split("/"), rng.choice(fillings.split()).split("/"), strict=True)
        asked, given, answer = (part.format_map(slots) for part in template)
        instruction = f"{rng.choice(OPENINGS)}{asked}{rng.choice(CLOSINGS)}"
        yield Task(instruction[0].upper() + instruction[1:], given, answer[0].upper() + answer[1:])


def train_tokenizer(rng: Random) -> Any:
    """A byte-level BPE of the lists' text that puts BOS in front, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[BOS, EOS], initial_alphabet=bytes_, show_progress=False
    )
    shown = [seed.task for seed in load_seeds(PACKAGED_SEEDS)]
    items = [format_item(4, task) for task in (*shown, *(task for _ in range(100) for task in tasks(rng, 20)))]
    tokenizer.train_from_iterator([*items, *[list_prompt([], NEW_TASKS)] * 20], trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS, clean_up_tokenization_spaces=False
    )


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
