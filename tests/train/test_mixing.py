"""How rows are made for a model: decided by what its layers do, in any precision and at any size of a difference."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from pacos.config import LoraConfig
from pacos.errors import ModelError, TrainingError
from pacos.train.attention.dispatch import FLEX, SEGMENTS, VARLEN, register_attention
from pacos.train.data.examples import Example
from pacos.train.isolation import check_isolation
from pacos.train.model.lora import add_lora
from pacos.train.model.mixing import choose_rows, random_parts
from pacos.train.model.upcast import in_float32
from pacos.train.packing.batch import Batch, collate_padded
from pacos.train.packing.rules import RowRules
from tests.support.small_architectures import SPECIAL, louder, small_config

LONGEST = [1, *range(3, 60), 2]


def model_of(kind: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(small_config(kind, 64, SPECIAL.get(kind, {}) | changes), dtype=dtype)
    louder(base)
    return add_lora(base, LoraConfig(r=2, alpha=4))


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text", "gpt2", "gpt_neox", "opt", "mixtral", "deepseek_v3"])
def test_models_whose_tokens_meet_in_attention_alone_are_packed(kind: str) -> None:
    model = model_of(kind)
    assert choose_rows(model, LONGEST, SEGMENTS).unpacked == ""
    assert model.config._attn_implementation == SEGMENTS


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("lfm2", "Lfm2ShortConv links tokens"),
        ("mamba", "MambaMixer links tokens"),
        ("falcon", "FalconAttention links tokens"),
        ("bloom", "BloomAttention links tokens"),
        ("stablelm", "its layers do not hand on"),
        ("nemotron", "its layers do not hand on"),
        ("gpt_oss", "its attention has s_aux"),
        ("gemma2", "its attention has softcap"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_whose_tokens_meet_elsewhere_are_not_packed(kind: str, reason: str, dtype: torch.dtype) -> None:
    model = model_of(kind, dtype)
    rules = choose_rows(model, LONGEST, SEGMENTS)
    assert rules.unpacked.startswith(reason) and not rules.single
    assert model.config._attn_implementation in ("eager", "sdpa"), "what the model had, or what leaves nothing out"


def test_an_option_of_attention_that_flex_attention_computes_does_not_keep_it_from_packing() -> None:
    assert choose_rows(model_of("gemma2"), LONGEST, FLEX) == RowRules(static=True)


def test_a_convolution_is_found_whatever_its_weights_are() -> None:
    model = model_of("lfm2")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".conv.conv." in name:
                weight.zero_()
    assert "Lfm2ShortConv" in choose_rows(model, LONGEST, SEGMENTS).unpacked


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["mistral", "gemma3_text"])
def test_a_window_is_an_obstacle_where_an_example_is_longer(kind: str, dtype: torch.dtype) -> None:
    rules = choose_rows(model_of(kind, dtype, sliding_window=40), LONGEST, SEGMENTS)
    assert rules.unpacked.endswith("window of 40 is shorter than the longest example, 59")
    assert choose_rows(model_of(kind, dtype, sliding_window=40), LONGEST[:40], SEGMENTS) == RowRules()


def test_chunks_of_attention_are_an_obstacle_where_an_example_is_longer() -> None:
    assert "not complete" in choose_rows(model_of("llama4_text", attention_chunk_size=32), LONGEST, SEGMENTS).unpacked
    assert choose_rows(model_of("llama4_text", attention_chunk_size=64), LONGEST, SEGMENTS).unpacked == ""


def test_a_model_that_ignores_the_positions_it_is_given_is_not_packed() -> None:
    model = model_of("llama")
    model.get_base_model().model.register_forward_pre_hook(
        lambda module, given, options: (given, options | {"position_ids": None}), with_kwargs=True
    )
    assert "positions" in choose_rows(model, LONGEST, SEGMENTS).unpacked


@pytest.mark.parametrize(("longest", "single"), [(LONGEST, True), (LONGEST[:16], False)])
def test_rotary_embeddings_that_depend_on_the_longest_row_get_one_row(longest: list[int], single: bool) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    rules = choose_rows(model_of("llama", max_position_embeddings=32, rope_parameters=rope), longest, SEGMENTS)
    assert rules.single is single and bool(rules.unpacked) is single


def test_heads_that_flash_attention_does_not_take_are_attended_segment_by_segment() -> None:
    mixed = model_of("deepseek_v3")
    assert choose_rows(mixed, LONGEST, VARLEN).unpacked == "" and mixed.config._attn_implementation == SEGMENTS
    plain = model_of("llama")
    assert choose_rows(plain, LONGEST, VARLEN).unpacked == "" and plain.config._attn_implementation == VARLEN


@pytest.mark.parametrize(
    ("kind", "changes", "random"),
    [
        ("gpt2", {"attn_pdrop": 0.1}, True),
        ("gpt2", {}, False),
        ("opt", {"dropout": 0.1}, True),
        ("opt", {"layerdrop": 0.1}, True),
        ("phi", {"resid_pdrop": 0.1}, True),
        ("llama", {"attention_dropout": 0.1}, True),
        ("mixtral", {"router_jitter_noise": 0.1}, True),
        # Its router samples experts while training, which no number of its modules says.
        ("phimoe", {"router_jitter_noise": 0.0, "input_jitter_noise": 0.0}, True),
        ("llama", {}, False),
    ],
)
def test_a_base_that_is_random_while_training_shares_no_prefix(
    kind: str, changes: dict[str, Any], random: bool
) -> None:
    rules = choose_rows(model_of(kind, **changes), LONGEST, SEGMENTS)
    assert rules.shares_prefixes is not random
    assert rules.unpacked == ""


def test_the_dropout_of_an_adapter_is_not_the_bases() -> None:
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM(small_config("llama", 64, {}))
    assert random_parts(add_lora(base, LoraConfig(dropout=0.1)).get_base_model()) == ""


def test_a_window_of_two_percent_is_caught_in_bfloat16_by_the_numbers_too() -> None:
    """The second line, for what structure would miss: 2.9 % of error, of which bfloat16's rounding would explain 5."""
    register_attention()
    model = model_of("mistral", torch.bfloat16, sliding_window=54)
    model.get_base_model().set_attn_implementation(SEGMENTS)
    rows = [Example(f"rows:{n}", LONGEST[:n], 2) for n in (20, 30, 40, 59)]
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(model, rows, pad_id=0)


def test_a_padded_micro_batch_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rules = model_of("lfm2"), RowRules(unpacked="its convolutions")
    rows = [Example(f"rows:{n}", LONGEST[:n], 1) for n in (20, 30, 40, 59)]
    assert check_isolation(model, rows, 0, rules) < 1e-5

    def a_place_too_far(examples: Any, pad_id: int) -> Batch:
        batch = collate_padded(examples, pad_id)
        return replace(batch, ids=batch.ids.roll(1, 1))

    monkeypatch.setattr("pacos.train.isolation.collate_padded", a_place_too_far)
    with pytest.raises(TrainingError, match="attend one another"):
        check_isolation(model, rows, 0, rules)


def test_in_float32_computes_with_the_bfloat16_weights_and_leaves_them_as_they_were() -> None:
    model = model_of("llama", torch.bfloat16).eval()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    wide = model_of("llama", torch.float32).eval()
    wide.load_state_dict(model.state_dict())
    ids = torch.tensor([LONGEST])
    with torch.no_grad():
        with in_float32(model):
            found = model(input_ids=ids).logits
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wide(input_ids=ids).logits)
        assert model(input_ids=ids).logits.dtype == torch.bfloat16
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_a_model_that_cannot_run_is_refused_with_its_own_error() -> None:
    model = model_of("gpt2", max_position_embeddings=32)
    with pytest.raises(ModelError, match="cannot be run on examples of up to 59 tokens"):
        check_isolation(model, [Example("rows:1", LONGEST, 2)], 0, RowRules(unpacked="a reason"))
