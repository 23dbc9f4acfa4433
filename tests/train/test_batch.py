import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from pacos.config import Config, LoraConfig, ModelConfig, TrainConfig
from pacos.errors import TrainingError
from pacos.train.attention import dispatch as attention
from pacos.train.attention.dispatch import block_mask
from pacos.train.attention.segments import SegmentGroups, group_segments, segment_attention
from pacos.train.attention.varlen import varlen_sequences
from pacos.train.data.examples import Example
from pacos.train.isolation import check_isolation
from pacos.train.model.lora import add_lora
from pacos.train.model.structure import trainable_parameters
from pacos.train.optimization import cross_entropy, frozen_head
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import Batch, Segment, collate
from pacos.train.packing.bins import Bin, pack
from pacos.train.packing.plan import item_of

CPU = torch.device("cpu")


def attended(batch: Batch) -> torch.Tensor:
    """[rows, width, width], 1 where a query attends a key."""
    from torch.nn.attention.flex_attention import create_mask

    rows, width = batch.ids.shape
    return create_mask(block_mask(batch).mask_mod, rows, 1, width, width, device="cpu")[:, 0].int()


def examples(*rows: tuple[list[int], int]) -> list[Example]:
    return [Example(f"rows:{number}", ids, prompt_length) for number, (ids, prompt_length) in enumerate(rows, 1)]


def test_a_row_carries_true_positions_and_labels() -> None:
    first, second = examples(([1, 5, 6, 2], 2), ([1, 7, 2], 1))
    batch = collate([[first, second]], 8, pad_id=9)
    assert batch.ids.tolist() == [[1, 5, 6, 2, 1, 7, 2, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]
    assert batch.segment_ids.tolist() == batch.prefix_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, -1]]
    assert batch.label_positions.tolist() == [1, 2, 4, 5]
    assert batch.labels.tolist() == [6, 2, 7, 2]


def test_a_shared_prefix_is_stored_once_and_its_end_predicts_for_each_example() -> None:
    first, second = (replace(one, prefix_length=2) for one in examples(([1, 5, 6, 2], 2), ([1, 5, 7, 8, 2], 3)))
    batch = collate([[first, second]], 8, pad_id=9)
    assert batch.ids.tolist() == [[1, 5, 6, 2, 7, 8, 2, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 2, 3, 4, 0]]
    assert batch.segment_ids.tolist() == [[0, 0, 1, 1, 2, 2, 2, -1]]
    assert batch.prefix_ids.tolist() == [[0, 0, 0, 0, 0, 0, 0, -1]]
    assert batch.label_positions.tolist() == [1, 2, 4, 5]
    assert batch.labels.tolist() == [6, 2, 8, 2]
    mask = attended(batch)[0].tolist()
    assert mask[3] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert mask[5] == [1, 1, 0, 0, 1, 1, 0, 0]
    assert mask[7] == [0, 0, 0, 0, 0, 0, 0, 1]


def test_each_token_attends_its_own_example_up_to_itself() -> None:
    first, second = examples(([1, 2], 1), ([1, 2], 1))
    mask = attended(collate([[first, second]], 5, pad_id=0))
    assert mask[0].tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def tiny_model(kind: str = "llama", **options: Any) -> Any:
    """Float64, with adapters away from zero, so that every gradient is alive."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    classes = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM)}
    config_class, model_class = classes[kind]
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = model_class(config_class(vocab_size=64, num_key_value_heads=1, initializer_range=0.2, **sizes, **options))
    attention.register_attention()
    base.set_attn_implementation(attention.SEGMENTS)
    model = add_lora(base, LoraConfig(r=4, alpha=8)).double()
    for parameter in trainable_parameters(model).values():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def random_examples(count: int, longest: int = 20) -> list[Example]:
    """Half of them share a prefix of 5 ids, a quarter one of 3; labels begin anywhere, also inside a prefix."""
    draw = random.Random(1)
    prefixes = [[3, 1, 4, 1, 5], [2, 7, 1], [3, 1, 4, 1, 5], []]
    made = []
    for number in range(count):
        prefix = prefixes[number % 4]
        ids = prefix + [draw.randrange(64) for _ in range(draw.randint(3, longest))]
        made.append(Example(f"rows:{number}", ids, draw.randint(1, len(ids) - 1), prefix_length=len(prefix)))
    return made


def loss_and_gradients(model: Any, batches: list[Batch]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = sum((token_losses(model, batch).sum() for batch in batches), torch.zeros((), dtype=torch.float64))
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), [
        cast(torch.Tensor, parameter.grad).clone() for parameter in trainable_parameters(model).values()
    ]


def one_at_a_time(model: Any, rows: list[Example]) -> tuple[float, list[torch.Tensor]]:
    """Independent of collate, masks and cross_entropy.py: one example alone, with the model's own causal attention."""
    model.zero_grad()
    total = 0.0
    for example in rows:
        logits = model(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0]
        predicted = logits.log_softmax(-1)
        loss = -sum(predicted[t - 1, example.ids[t]] for t in range(example.prompt_length, len(example.ids)))
        loss.backward()
        total += loss.item()
    return total, [cast(torch.Tensor, parameter.grad).clone() for parameter in trainable_parameters(model).values()]


def packed(rows: list[Example], pack_tokens: int) -> list[Batch]:
    layout = pack([item_of((example,)) for example in rows], Bin(pack_tokens))
    return [collate([[rows[i] for i in row] for row in part], layout.width, 0) for part in layout.micro_batches[0]]


def worst(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Largest error of a gradient, relative to the largest entry of its tensor."""
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, expected, strict=True))


@pytest.fixture
def exact_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaRMSNorm.forward", exact_norm)
    return tiny_model()


def exact_norm(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    """RMSNorm in the input's own precision; transformers' computes in float32 whatever the model is."""
    weight: torch.Tensor = norm.weight
    return weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


@pytest.mark.parametrize("pack_tokens", [30, 60, 400])
def test_packed_loss_and_gradients_equal_those_of_one_example_at_a_time(exact_model: Any, pack_tokens: int) -> None:
    rows = random_examples(12)
    expected, gradients = one_at_a_time(exact_model, rows)
    found, packed_gradients = loss_and_gradients(exact_model, packed(rows, pack_tokens))
    assert found == pytest.approx(expected, rel=1e-12)
    assert worst(packed_gradients, gradients) < 1e-12


def test_the_stock_model_packs_to_the_precision_of_its_norm() -> None:
    model, rows = tiny_model(), random_examples(12)
    expected, gradients = one_at_a_time(model, rows)
    found, packed_gradients = loss_and_gradients(model, packed(rows, 400))
    assert found == pytest.approx(expected, rel=1e-7)
    assert worst(packed_gradients, gradients) < 1e-7


@pytest.mark.parametrize("trained", [False, True])
def test_chunks_of_the_head_give_the_same_loss_and_gradients(
    exact_model: Any, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    exact_model.get_output_embeddings().weight.requires_grad_(trained)
    expected, gradients = loss_and_gradients(exact_model, packed(random_examples(12), 400))
    monkeypatch.setattr(cross_entropy, "CHUNK_LOGITS", 64 * 7)
    monkeypatch.setattr(frozen_head, "CHUNK_LOGITS", 64 * 7)
    parts, part_gradients = loss_and_gradients(exact_model, packed(random_examples(12), 400))
    assert parts == pytest.approx(expected, rel=1e-12)
    assert worst(part_gradients, gradients) < 1e-12


def test_the_head_answers_with_logits_again_after_a_loss() -> None:
    model, rows = tiny_model(), random_examples(4)
    token_losses(model, packed(rows, 400)[0])
    assert model(input_ids=torch.tensor([rows[0].ids])).logits.shape == (1, len(rows[0].ids), 64)


def test_a_process_without_examples_has_zero_loss_and_zero_gradients() -> None:
    model = tiny_model()
    loss, gradients = loss_and_gradients(model, [collate([[]], 6, pad_id=0)])
    assert loss == 0.0
    assert all(not gradient.any() for gradient in gradients)


def test_packed_examples_are_isolated_on_the_real_attention() -> None:
    assert check_isolation(tiny_model(), random_examples(9), pad_id=0) < 1e-6


def unsegmented(segments: list[Segment], positions: int, device: torch.device) -> SegmentGroups:
    return group_segments([Segment(0, positions)], positions, device)


def beside_the_prefix(segments: list[Segment], positions: int, device: torch.device) -> SegmentGroups:
    """Examples that share a prefix attend one another: a leak that examples without a prefix do not show."""
    leaking = [Segment(s.start, s.end, (s.prefix[0], s.start) if s.prefix[1] else (0, 0)) for s in segments]
    return group_segments(leaking, positions, device)


def without_the_prefix(segments: list[Segment], positions: int, device: torch.device) -> SegmentGroups:
    return group_segments([Segment(s.start, s.end) for s in segments], positions, device)


@pytest.mark.parametrize("wrong", [unsegmented, beside_the_prefix, without_the_prefix])
def test_segments_that_attend_too_much_or_too_little_are_caught(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., SegmentGroups]
) -> None:
    monkeypatch.setattr("pacos.train.attention.segments.group_segments", wrong)
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(tiny_model(), random_examples(9), pad_id=0)


def test_in_bfloat16_a_leak_is_still_more_than_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model().bfloat16()
    assert check_isolation(model, random_examples(9), pad_id=0) < 1e-5, "it is compared in float32"
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    monkeypatch.setattr("pacos.train.attention.segments.group_segments", beside_the_prefix)
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(model, random_examples(9), pad_id=0)


def run_on(batch: Batch) -> Batch:
    return replace(batch, positions=torch.arange(batch.ids.shape[1])[None] * 7)


def one_too_far(batch: Batch) -> Batch:
    """Examples begin a position late behind their prefix."""
    return replace(batch, positions=batch.positions + (batch.prefix_ids != batch.segment_ids).long())


@pytest.mark.parametrize("shift", [run_on, one_too_far])
def test_wrong_positions_are_caught(monkeypatch: pytest.MonkeyPatch, shift: Callable[[Batch], Batch]) -> None:
    monkeypatch.setattr("pacos.train.isolation.collate", lambda *given: shift(collate(*given)))
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(tiny_model(), random_examples(9), pad_id=0)


def leave_cache_on(model: Any) -> None:
    model.get_base_model().register_forward_pre_hook(
        lambda module, args, options: (args, options | {"use_cache": True}), with_kwargs=True
    )


def test_a_cache_left_on_is_caught_where_transformers_keeps_examples_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it does so by positions that start anew, and with a cache no more."""
    monkeypatch.setattr("pacos.train.attention.dispatch.attention_arguments", lambda *_: {})
    rows = [replace(example, prefix_length=0) for example in random_examples(9)]
    model = tiny_model()
    assert check_isolation(model, rows, pad_id=0) < 1e-6
    leave_cache_on(model)
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(model, rows, pad_id=0)


def test_with_a_cache_left_on_no_segment_attends_another(exact_model: Any) -> None:
    rows = random_examples(12)
    expected, gradients = one_at_a_time(exact_model, rows)
    leave_cache_on(exact_model)
    found, packed_gradients = loss_and_gradients(exact_model, packed(rows, 400))
    assert found == pytest.approx(expected, rel=1e-12)
    assert worst(packed_gradients, gradients) < 1e-12


def test_a_sliding_window_shorter_than_the_examples_is_caught() -> None:
    check_isolation(tiny_model("mistral", sliding_window=64), random_examples(9), pad_id=0)
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(tiny_model("mistral", sliding_window=8), random_examples(9, longest=40), pad_id=0)


def test_segments_attend_what_the_mask_of_flex_attention_allows() -> None:
    batch = packed(random_examples(12), 130)[0]
    groups, found = group_segments(batch.segments, batch.ids.numel(), CPU), torch.zeros_like(attended(batch)[0])
    index, at = groups.index, 0
    for count, length in groups.sizes:
        for segment in index.gathered[at : at + count * length].view(count, length):
            for place, query in enumerate(segment):
                if index.own[query] == at + place:
                    found[query, segment[: place + 1]] = 1
            at += length
    assert torch.equal(found, attended(batch)[0])


def test_varlen_sequences_attend_what_the_mask_of_flex_attention_allows() -> None:
    """As FlashAttention reads them: query and key sequences end alike, and the causal mask with them."""
    batch = collate([random_examples(12)], 200, pad_id=0)
    sequences, found = varlen_sequences(batch.segments, batch.ids.numel(), CPU), torch.zeros_like(attended(batch)[0])
    bounds = zip(
        *(itertools.pairwise(ends.tolist()) for ends in (sequences.query_starts, sequences.key_starts)), strict=True
    )
    for (query, query_end), (key, key_end) in bounds:
        for place in range(query, query_end):
            found[place, sequences.index.gathered[key : key_end - (query_end - 1 - place)]] = 1
    assert torch.equal(found, attended(batch)[0])


def test_segments_in_bfloat16_attend_as_in_float32_to_rounding() -> None:
    from types import SimpleNamespace

    torch.manual_seed(0)
    batch = packed(random_examples(12), 400)[0]
    width = batch.ids.numel()
    module = SimpleNamespace(num_key_value_groups=2)
    segments = group_segments(batch.segments, width, CPU)
    query, key, value = (torch.randn(1, heads, width, 16) for heads in (4, 2, 2))
    expected, _ = segment_attention(module, query, key, value, None, segments=segments)
    rounded = query.bfloat16(), key.bfloat16(), value.bfloat16()
    found, _ = segment_attention(module, *rounded, None, segments=segments)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


def test_flex_attention_gives_the_losses_and_gradients_of_segment_attention(
    exact_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU torch has no kernel for its backward pass and refuses; what defines it runs without the refusal."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    batch = packed(random_examples(12), 400)
    expected, gradients = loss_and_gradients(exact_model, batch)
    exact_model.get_base_model().set_attn_implementation("flex_attention")
    with torch.compiler.set_stance("force_eager"):
        found, flex_gradients = loss_and_gradients(exact_model, batch)
        assert check_isolation(exact_model, random_examples(9), pad_id=0) < 1e-6
    assert found == pytest.approx(expected, rel=1e-12)
    assert worst(flex_gradients, gradients) < 1e-12


def test_flex_attention_is_refused_on_a_cpu() -> None:
    config = Config(name="x", model=ModelConfig(base="m"), train=TrainConfig(attention="flex_attention"))
    with pytest.raises(TrainingError, match="no backward pass on a CPU"):
        attention.attention_for(config, torch.device("cpu"))
