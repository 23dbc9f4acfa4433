import json
import random
from pathlib import Path

import pytest
import torch

from pacos.config import ModelConfig
from pacos.models import load_tokenizer
from pacos.train.data.sources import read_training_rows
from pacos.train.export.probe import LIMITS, PROMPTS, answer_lengths, asked_of
from tests.support.small_training import train_here, training_config, write_tasks


def one_answer_tasks(path: Path, count: int = 24) -> Path:
    """Different questions, one answer: a tiny model learns it, and to stop behind it, in seconds."""
    draw = random.Random(0)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "red", "apple"]
    rows = [{"instruction": " ".join(draw.choices(words, k=5)), "output": "the fox"} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("eos", [True, False])
def test_the_probe_tells_a_model_that_learned_to_stop_from_one_that_did_not(
    tmp_path: Path, tiny_base: Path, eos: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = one_answer_tasks(tmp_path / "tasks.jsonl")
    config = training_config(tmp_path, tiny_base, tasks, append_eos=eos, epochs=8)
    train_here(config)
    probe = json.loads((config.run_dir / "train" / "probe.json").read_text())
    assert probe["prompts"] == 24 and probe["limit"] == LIMITS[0]
    assert (probe["stopped"], probe["median_tokens"] < 12) == ((24, True) if eos else (0, True))
    card = (config.run_dir / "train" / "adapter" / "README.md").read_text()
    assert f"{probe['stopped']} of 24 greedy answers ended by themselves" in card
    assert ("rarely stops" in caplog.text) is not eos


def test_batched_answers_end_where_transformers_generate_ends_them(tiny_base: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    # Apart from its embeddings, and with larger weights, a random model does not just repeat itself.
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny_base, tie_word_embeddings=False, initializer_range=0.3)
    model = AutoModelForCausalLM.from_config(config).eval()
    draw = random.Random(1)
    prompts = [[1, *(draw.randrange(3, 200) for _ in range(draw.randint(2, 20)))] for _ in range(12)]
    answers = []
    for prompt in prompts:
        answer = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)[0].tolist()
        answers.append(answer[len(prompt) :])
    # Any token may stand for EOS: the one that half of the answers have.
    eos = min(range(3, 200), key=lambda token: abs(6 - sum(token in answer for answer in answers)))
    expected = [answer.index(eos) + 1 if eos in answer else 0 for answer in answers]
    assert 0 in expected and len(set(expected)) > 2, "or the test would say nothing"
    assert answer_lengths(model, prompts, eos, 20) == expected


def test_prompts_are_drawn_from_the_whole_of_the_data(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl", 500))
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    prompts = asked_of(read_training_rows(config), tokenizer, config).prompts
    assert len(prompts) == PROMPTS == len({tuple(prompt) for prompt in prompts})


@pytest.mark.parametrize(("words", "limit"), [(3, 32), (40, 80), (128, 256)])
def test_an_answer_may_be_twice_as_long_as_the_longest_of_the_rows(
    tmp_path: Path, tiny_base: Path, words: int, limit: int
) -> None:
    """A word is a token here, and one that takes more than half of the greatest limit is not asked for."""
    rows = [{"instruction": f"the fox {number}", "output": "fox " * length} for number, length in ((1, 2), (2, 200))]
    rows.append({"instruction": "the dog", "output": ("fox " * (words - 1)).strip()})  # and EOS
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = training_config(tmp_path, tiny_base, path)
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    asked = asked_of(read_training_rows(config), tokenizer, config)
    assert (len(asked.prompts), asked.limit) == (2, limit)
