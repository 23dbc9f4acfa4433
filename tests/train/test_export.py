import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pacos.adapters import read_adapter_config
from pacos.config import Config, ModelConfig
from pacos.errors import RunError, TrainingError
from pacos.models import load_tokenizer
from pacos.results.training import Provenance
from pacos.templates import ALPACA, alpaca_prompt
from pacos.tokenization import encode_prompts
from pacos.train.export.adapter import TrainedWeights, check_equal, check_trained, export_trained, with_chat_template
from pacos.train.interfaces import method_of
from pacos.train.model.fsdp import full_tensors
from pacos.train.model.load import load_model
from pacos.train.model.structure import trainable_parameters
from tests.support.small_training import train_here, training_config, write_tasks

PROVENANCE = Provenance("base", "", "", "alpaca", ALPACA.sha256, "", "0" * 64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Config:
    folder = tmp_path_factory.mktemp("trained")
    config = training_config(folder, tiny_base, write_tasks(folder / "tasks.jsonl", 24), "fruit")
    train_here(config)
    return config


def test_the_adapter_loads_in_peft_and_gives_the_logits_of_its_checkpoint(trained: Config, tiny_base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    train = trained.run_dir / "train"
    ids = torch.tensor([encode_prompts(load_tokenizer(str(tiny_base), trained.model), [alpaca_prompt("Go.")])[0]])
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    alone = base(ids).logits
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), train / "adapter")(ids).logits
    assert (adapted - alone).abs().max() > 0.1

    # The checkpoint of the last step was written by the loop, from the weights that were trained.
    in_memory = load_model(trained, torch.device("cpu")).eval()
    weights = load_file(train / "checkpoints" / "step-6" / "adapter" / "adapter_model.safetensors")
    for name, parameter in trainable_parameters(in_memory).items():
        parameter.data.copy_(weights[name.replace(".default", "")])
    assert torch.equal(in_memory(ids).logits, adapted)


def test_the_folder_holds_what_peft_vllm_and_a_reader_need(trained: Config, tiny_base: Path) -> None:
    folder = trained.run_dir / "train" / "adapter"
    config = read_adapter_config(folder)
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert (config["r"], config["lora_alpha"], config["bias"]) == (8, 16, "none")
    provenance = json.loads((folder / "pacos.json").read_text())
    assert set(provenance) == {
        "base", "base_sha256", "start_sha256", "template", "template_sha256", "tokenizer_sha256", "dataset_sha256",
        "best",
    }  # fmt: skip
    assert provenance["template_sha256"] == ALPACA.sha256
    assert provenance.pop("start_sha256") == "", "it started at the base"
    assert provenance["best"] is None, "the weights are the last step's"
    assert all(len(value) == 64 for name, value in provenance.items() if name.endswith("sha256"))
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".")], (
        "no temporary folder is left"
    )


def test_the_model_card_says_what_was_done(trained: Config, tiny_base: Path) -> None:
    card = (trained.run_dir / "train" / "adapter" / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["base_model"] == str(tiny_base) and header["library_name"] == "peft"
    assert "24 examples" in body and "0.01, cosine" in body and "### Response:" in body
    assert "More Information Needed" not in card


def test_the_saved_chat_template_renders_the_training_prompt(trained: Config) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained.run_dir / "train" / "adapter")
    messages = [{"role": "user", "content": "Name a fruit."}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert rendered == encode_prompts(tokenizer, [alpaca_prompt("Name a fruit.")])[0]


def test_a_tokenizer_that_puts_no_bos_gets_a_template_without_one(tiny_base: Path) -> None:
    from tokenizers import processors

    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    assert "bos_token" not in with_chat_template(tokenizer, ALPACA).chat_template
    assert tokenizer.chat_template is None, "the caller's tokenizer stays as it was"


def test_no_template_is_better_than_one_that_renders_another_prompt(
    tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    other = replace(ALPACA, chat_template="{{ bos_token }}USER: {{ messages[-1]['content'] }}")
    assert with_chat_template(tokenizer, other).chat_template is None
    assert "no chat template" in caplog.text


def test_the_serve_command_is_exact(trained: Config, tiny_base: Path) -> None:
    folder = Path("runs/fruit/train/adapter")
    assert method_of(trained.train).serve_command(trained, folder) == (
        f"vllm serve {tiny_base} --enable-lora --max-lora-rank 8 --lora-modules fruit={folder}"
    )
    odd = training_config(folder, tiny_base, folder, "fruit", lora={"r": 12})
    assert "--max-lora-rank 16" in method_of(odd.train).serve_command(odd, folder)


def pair(up: float = 1.0) -> dict[str, torch.Tensor]:
    return {"q.lora_A.weight": torch.ones(2, 4), "q.lora_B.weight": torch.full((4, 2), up)}


def test_an_untrained_adapter_is_refused() -> None:
    check_trained(pair(), {}, where="x")
    for weights, message in [
        ({}, "empty"),
        ({"q.lora_A.weight": torch.ones(2, 4)}, r"lacks half of a module: q\.lora_B"),
        ({"q.lora_B.weight": torch.ones(2, 4)}, r"lacks half of a module: q\.lora_B"),
        (pair(up=0.0), "1 of 1 modules were never trained, q.lora_B.weight"),
        (pair(up=float("nan")), "not finite"),
    ]:
        with pytest.raises(TrainingError, match=message):
            check_trained(weights, {}, where="x")


def test_trained_biases_are_no_halves_of_modules() -> None:
    biased = pair() | {"q.lora_B.bias": torch.ones(4)}
    check_trained(biased, {}, where="x")
    with pytest.raises(TrainingError, match=r"1 of 1 modules were never trained, q\.lora_B\.weight"):
        check_trained(biased | {"q.lora_B.weight": torch.zeros(4, 2)}, {}, where="x")


def test_an_adapter_equal_to_the_one_it_started_from_is_refused() -> None:
    check_trained(pair(up=2.0), pair(), where="x")
    with pytest.raises(TrainingError, match="1 of 1 modules were never trained"):
        check_trained(pair(), pair(), where="x")


def test_weights_that_read_back_differently_are_refused() -> None:
    check_equal(pair(), pair(), where="x")
    with pytest.raises(RunError, match="lacks or adds"):
        check_equal({}, pair(), where="x")
    with pytest.raises(RunError, match="reads back differently"):
        check_equal(pair(up=2.0), pair(), where="x")
    with pytest.raises(RunError, match="reads back differently"):
        check_equal({name: weight.half() for name, weight in pair().items()}, pair(), where="x")


def export_to(folder: Path, config: Config, model: Any, tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    weights = full_tensors(trainable_parameters(model), keep=True)
    trained = TrainedWeights(model, weights)
    export_trained(trained, tokenizer, config, PROVENANCE, "", folder)


def test_an_untrained_adapter_is_not_exported_and_the_old_one_stays(
    trained: Config, tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(trained.run_dir / "train" / "adapter", folder)
    before = (folder / "adapter_model.safetensors").read_bytes()
    untrained = load_model(trained, torch.device("cpu"))
    with pytest.raises(TrainingError, match="never trained"):
        export_to(folder, trained, untrained, tiny_base)
    assert (folder / "adapter_model.safetensors").read_bytes() == before


def test_an_empty_state_dict_is_caught_when_it_is_read_back(
    trained: Config, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(trained, torch.device("cpu"))
    save = type(model).save_pretrained

    def save_nothing(self: Any, folder: Path, **options: Any) -> None:
        save(self, folder, **options)
        save_file({}, Path(folder) / "adapter_model.safetensors")

    monkeypatch.setattr(type(model), "save_pretrained", save_nothing)
    with pytest.raises(RunError, match="lacks or adds"):
        export_to(tmp_path / "adapter", trained, model, tiny_base)
    assert not (tmp_path / "adapter").exists()
