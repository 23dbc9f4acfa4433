"""`train/adapter/`, or `train/model/`: what PEFT and vLLM load as it is, with all that says where it came from.

Written aside, read back and compared with the weights in memory, then renamed: the folder is whole, true and
trained, or not there.
"""

import copy
import logging
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import RunError, TrainingError
from pacos.models import VLLM_LORA_RANKS, adapter_rank, serving_problems
from pacos.records import disk_error, write_json, write_text
from pacos.templates import Template, encode_prompts, template
from pacos.train.data.examples import Dataset
from pacos.train.export.card import model_card
from pacos.train.export.full_model import write_model
from pacos.train.export.probe import StopProbe
from pacos.train.model.lora import peft_settings
from pacos.train.model.start import WEIGHTS, start_weights

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def export_trained(
    model: Any,
    trained: "dict[str, torch.Tensor]",
    tokenizer: Any,
    config: Config,
    dataset: Dataset,
    provenance: dict[str, str],
    probe: StopProbe,
    folder: Path,
) -> None:
    """Write the finished adapter or model to `folder`; `trained` are whole weights by parameter name, on the CPU.

    Raises TrainingError for one that learnt nothing, RunError for one that reads back wrong.
    """
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if config.train.method == "full":
            write_model(model, trained, config, aside)
        else:
            weights = write_adapter(model, trained, config, aside)
            check_trained(weights, start_weights(config), where=str(folder))
        with_chat_template(tokenizer, template(config.train.template)).save_pretrained(aside)
        write_json(aside / "pacos.json", provenance)
        write_text(aside / "README.md", model_card(config, dataset, provenance, probe))
        replace_folder(aside, folder)
    except OSError as failure:
        raise disk_error(failure, folder) from failure
    log.info("%s: %s", config.train.result, folder)
    log.info("serve it: %s", serve_command(config, folder))


def write_adapter(
    model: Any, trained: "dict[str, torch.Tensor]", config: Config, folder: Path
) -> "dict[str, torch.Tensor]":
    """PEFT's own two files, read back and compared bit for bit; returns the weights under PEFT's names."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    model.peft_config["default"].base_model_name_or_path = config.student
    # "auto" would ask the hub whether the vocabulary was resized; it never is.
    model.save_pretrained(str(folder), state_dict=trained, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    expected: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, state_dict=trained, save_embedding_layers=False
    )
    check_equal(load_file(folder / WEIGHTS), expected, where=str(folder / WEIGHTS))
    return expected


def check_equal(found: "dict[str, torch.Tensor]", expected: "dict[str, torch.Tensor]", *, where: str) -> None:
    """Raises RunError unless both hold the same names and the same bits."""
    import torch

    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise RunError(f"what was written lacks or adds weights: {odd[0]}, …", where=where)
    for name, weight in expected.items():
        if found[name].dtype != weight.dtype or not torch.equal(found[name], weight):
            raise RunError(f"{name} reads back other than it was written", where=where, todo="check the disk")


def check_trained(weights: "dict[str, torch.Tensor]", start: "Mapping[str, torch.Tensor]", *, where: str) -> None:
    """Every module has both halves, all finite, and no B half is as it started: as in `start`, or zero as LoRA's."""
    import torch

    ups = {name for name in weights if ".lora_B." in name}
    downs = {name.replace(".lora_A.", ".lora_B.") for name in weights if ".lora_A." in name}
    if not ups or ups != downs:
        raise TrainingError("the adapter is empty or lacks half of a module", where=where)
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise TrainingError(f"{name} is not finite", where=where, todo="lower train.learning_rate")
    zero = torch.zeros(())
    if untouched := sorted(name for name in ups if not (weights[name] - start.get(name, zero)).any()):
        raise TrainingError(
            f"{len(untouched)} of {len(ups)} modules were never trained, {untouched[0]} first",
            where=where,
            todo="leave modules out of train.lora.targets that the model does not use, or train for more steps",
        )


def with_chat_template(tokenizer: Any, format: Template) -> Any:
    """A copy of the tokenizer whose chat template gives the very ids of the training prompt.

    Where none does (a tokenizer that treats text behind BOS otherwise), it has no template: better none
    than another prompt than was trained.
    """
    tokenizer = copy.deepcopy(tokenizer)
    instruction = "Name two fruits.\nOne of them red: “<b>&amp;</b>”"
    expected = encode_prompts(tokenizer, [format.chat_prompt.format(instruction=instruction)])[0]
    bos, rest = "{{ bos_token }}", format.chat_template.removeprefix("{{ bos_token }}")
    for text in (bos + rest, rest):
        tokenizer.chat_template = text
        messages = [{"role": "user", "content": instruction}]
        if list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)) == expected:
            return tokenizer
    log.warning("no chat template is saved: this tokenizer renders chats to other ids than the training prompts")
    tokenizer.chat_template = None
    return tokenizer


def replace_folder(aside: Path, folder: Path) -> None:
    """Put a finished folder in another's place; a crash in between leaves the old one under `.NAME.old`."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def serve_command(config: Config, folder: Path) -> str:
    if config.train.method == "full":
        return shlex.join(["vllm", "serve", str(folder), "--served-model-name", config.name])
    settings = peft_settings(config.train.lora)
    if serving_problems(settings):
        return f"{shlex.join(['pacos', 'merge', str(folder), '--out', 'DIR'])} && vllm serve DIR"
    rank = next(rank for rank in VLLM_LORA_RANKS if rank >= adapter_rank(settings))
    words = ["vllm", "serve", config.student, "--enable-lora", "--max-lora-rank", str(rank)]
    return shlex.join([*words, "--lora-modules", f"{config.name}={folder}"])
