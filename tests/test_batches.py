import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.config import LoraConfig, TrainConfig
from pacos.errors import TrainingError
from pacos.train import batches
from pacos.train.batches import Batch, collate, lay_out, step_examples, steps_per_epoch, total_steps
from pacos.train.data import Example
from pacos.train.isolation import check_isolation
from pacos.train.model import add_lora, summed_loss, trainable_parameters


def test_alpaca_takes_the_published_number_of_steps():
    assert steps_per_epoch(52_002, TrainConfig()) == 407
    assert total_steps(52_002, TrainConfig()) == 1221
    assert total_steps(52_002, TrainConfig(epochs=0.5)) == 204
    assert total_steps(52_002, TrainConfig(max_steps=10)) == 10
    assert total_steps(3, TrainConfig(max_steps=10)) == 3


def test_every_epoch_takes_each_example_once_in_another_order():
    config = TrainConfig(batch_size=4)
    epochs = [[step_examples(10, config, 7, epoch * 3 + place) for place in range(3)] for epoch in range(2)]
    assert [[len(step) for step in epoch] for epoch in epochs] == [[4, 4, 2]] * 2
    first, second = ([index for step in epoch for index in step] for epoch in epochs)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert step_examples(10, config, 8, 0) != epochs[0][0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(2, 64), min_size=1, max_size=60), st.integers(64, 300), st.integers(1, 5))
def test_a_layout_holds_each_example_once_in_equal_passes(lengths, pack_tokens, processes):
    layout = lay_out(lengths, pack_tokens, processes)
    rows = [row for process in layout.passes for rows in process for row in rows]
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert len(layout.passes) == processes
    assert len({tuple(len(rows) for rows in process) for process in layout.passes}) == 1, (
        "as many rows on every process"
    )
    assert all(len(rows) * layout.width <= pack_tokens for process in layout.passes for rows in process)
    assert max(sum(lengths[index] for index in row) for row in rows) == layout.width
    assert layout.fill == sum(lengths) / (layout.width * len(rows))


@pytest.mark.parametrize("processes", [1, 4])
def test_an_alpaca_like_step_is_filled_with_real_tokens(processes):
    draw = random.Random(0)
    fills = []
    for _ in range(20):
        lengths = [min(512, max(40, int(draw.lognormvariate(4.66, 0.5)))) for _ in range(128)]
        fills.append(lay_out(lengths, 8192, processes).fill)
    assert min(fills) >= 0.95


def test_examples_of_one_length_fill_everything():
    assert lay_out([50] * 16, 200).fill == 1.0


def examples(*rows: tuple[list[int], int]) -> list[Example]:
    return [Example(f"rows:{number}", ids, learnt) for number, (ids, learnt) in enumerate(rows, 1)]


def test_a_row_carries_true_positions_and_targets():
    first, second = examples(([1, 5, 6, 2], 2), ([1, 7, 2], 1))
    batch = collate([[first, second]], 8, pad_id=9)
    assert batch.ids.tolist() == [[1, 5, 6, 2, 1, 7, 2, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]
    assert batch.documents.tolist() == [[0, 0, 0, 0, 1, 1, 1, -1]]
    assert batch.learnt.tolist() == [1, 2, 4, 5]
    assert batch.targets.tolist() == [6, 2, 7, 2]


def test_the_mask_lets_each_token_see_its_own_example_up_to_itself():
    first, second = examples(([1, 2], 1), ([1, 2], 1))
    mask = collate([[first, second]], 5, pad_id=0).mask
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def tiny_model(kind: str = "llama", **options):
    """Float64, with adapters away from zero, so that every gradient is alive."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    classes = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM)}
    config_class, model_class = classes[kind]
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = model_class(config_class(vocab_size=64, num_key_value_heads=1, initializer_range=0.2, **sizes, **options))
    model = add_lora(base, LoraConfig(r=4, alpha=8)).double()
    for parameter in trainable_parameters(model).values():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def random_examples(count: int, longest: int = 20) -> list[Example]:
    draw = random.Random(1)
    made = []
    for number in range(count):
        ids = [draw.randrange(64) for _ in range(draw.randint(3, longest))]
        made.append(Example(f"rows:{number}", ids, draw.randint(1, len(ids) - 1)))
    return made


def loss_and_gradients(model, packs: list[Batch]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = sum((summed_loss(model, batch) for batch in packs), torch.zeros((), dtype=torch.float64))
    loss.backward()
    return loss.item(), [parameter.grad.clone() for parameter in trainable_parameters(model).values()]


@pytest.mark.parametrize("pack_tokens", [25, 60, 400])
def test_packed_loss_and_gradients_equal_those_of_one_example_at_a_time(pack_tokens):
    model, rows = tiny_model(), random_examples(12)
    # Independent of collate's masks: one example alone, with the model's own causal attention.
    model.zero_grad()
    expected = 0.0
    for example in rows:
        logits = model(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0]
        predicted = logits.log_softmax(-1)
        loss = -sum(predicted[t - 1, example.ids[t]] for t in range(example.learnt, len(example.ids)))
        loss.backward()
        expected += loss.item()
    gradients = [parameter.grad.clone() for parameter in trainable_parameters(model).values()]

    layout = lay_out([len(example.ids) for example in rows], pack_tokens)
    packs = [collate([[rows[i] for i in row] for row in part], layout.width, 0) for part in layout.passes[0]]
    found, packed_gradients = loss_and_gradients(model, packs)
    assert found == pytest.approx(expected, rel=1e-12)
    for packed, alone in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(packed, alone, rtol=1e-9, atol=1e-11)


def test_a_process_without_examples_has_zero_loss_and_zero_gradients():
    model = tiny_model()
    loss, gradients = loss_and_gradients(model, [collate([[]], 6, pad_id=0)])
    assert loss == 0.0
    assert all(not gradient.any() for gradient in gradients)


def test_packed_examples_are_isolated_on_the_real_attention():
    assert check_isolation(tiny_model(), random_examples(9), pad_id=0) < 1e-6


def test_a_plain_causal_mask_is_caught_as_contamination(monkeypatch):
    def plain(batch: Batch) -> torch.Tensor:
        rows, width = batch.ids.shape
        return torch.ones(rows, 1, width, width, dtype=torch.bool).tril()

    monkeypatch.setattr(batches.Batch, "mask", property(plain))
    with pytest.raises(TrainingError, match="see one another"):
        check_isolation(tiny_model(), random_examples(9), pad_id=0)


def test_positions_that_run_on_across_examples_are_caught(monkeypatch):
    monkeypatch.setattr("pacos.train.isolation.collate", lambda *given: run_on(collate(*given)))

    def run_on(batch: Batch) -> Batch:
        positions = torch.arange(batch.ids.shape[1])[None] * 7
        return Batch(batch.ids, positions, batch.documents, batch.learnt, batch.targets)

    with pytest.raises(TrainingError, match="see one another"):
        check_isolation(tiny_model(), random_examples(9), pad_id=0)


def test_a_sliding_window_shorter_than_the_examples_is_caught():
    check_isolation(tiny_model("mistral", sliding_window=64), random_examples(9), pad_id=0)
    with pytest.raises(TrainingError, match="see one another"):
        check_isolation(tiny_model("mistral", sliding_window=8), random_examples(9, longest=40), pad_id=0)
