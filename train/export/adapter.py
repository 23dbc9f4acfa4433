"""Exports `train/adapter/` or `train/model/`, which PEFT and vLLM load directly, with tokenizer, provenance and card.

It is written to a temporary folder, read back, compared with the weights in memory and renamed, so that the folder is
complete, correct and trained, or absent.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import WEIGHTS
from pacos.config import Config
from pacos.errors import RunError, TrainingError
from pacos.files import disk_error, sync_tree, write_text
from pacos.results import write_result
from pacos.results.training import Provenance
from pacos.templates import Template, template
from pacos.tokenization import encode_prompts
from pacos.train.interfaces import method_of
from pacos.weights import disk_failures, read_tensors

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


@dataclass(frozen=True)
class TrainedWeights:
    """A trained model, and its trained weights as full tensors on the CPU, by parameter name."""

    model: Any
    weights: "dict[str, torch.Tensor]"


def export_trained(
    trained: TrainedWeights, tokenizer: Any, config: Config, provenance: Provenance, card: str, folder: Path
) -> None:
    """Write the finished adapter or model to `folder`.

    Raises TrainingError for weights that were not trained, RunError for files that read back wrong.
    """
    method = method_of(config.train)
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_failures():
            method.export(trained.model, trained.weights, config, temporary)
        with_chat_template(tokenizer, template(config.train.template)).save_pretrained(temporary)
        write_result(temporary / "pacos.json", provenance)
        write_text(temporary / "README.md", card)
        replace_folder(temporary, folder)
    except OSError as failure:
        raise disk_error(failure, folder) from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.info("%s: %s", method.result, folder)
    log.info("serve it: %s", method.serve_command(config, folder))


def write_adapter(
    model: Any, weights: "Mapping[str, torch.Tensor]", base: str, folder: Path
) -> "dict[str, torch.Tensor]":
    """Write PEFT's two files, and read them back; returns the weights under PEFT's names.

    `weights` are by parameter name, `base` is recorded as the adapter's base model. Raises RunError as `check_equal`.
    """
    from peft import get_peft_model_state_dict

    model.peft_config["default"].base_model_name_or_path = base
    # "auto" would ask the hub whether the vocabulary was resized; it never is.
    model.save_pretrained(str(folder), state_dict=dict(weights), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    expected: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, state_dict=dict(weights), save_embedding_layers=False
    )
    check_equal(read_tensors(folder / WEIGHTS), expected, where=str(folder / WEIGHTS))
    return expected


def check_equal(found: "Mapping[str, torch.Tensor]", expected: "Mapping[str, torch.Tensor]", *, where: str) -> None:
    """Raises RunError unless both have the same names and the same bits."""
    import torch

    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise RunError(f"what was written lacks or adds weights: {odd[0]}, …", where=where)
    for name, weight in expected.items():
        if found[name].dtype != weight.dtype or not torch.equal(found[name], weight):
            raise RunError(f"{name} reads back differently than it was written", where=where, todo="check the disk")


def check_trained(
    weights: "dict[str, torch.Tensor]",
    start: "Mapping[str, torch.Tensor]",
    *,
    where: str,
    blameless: Callable[[], set[str]] = set,
) -> None:
    """Raises TrainingError unless every module has a finite A and B, and the half that begins at zero has changed.

    That is B, and A of an embedding's adapter. It changed if it differs from that in `start`, or from zero for a new
    adapter. `blameless` is asked for the names of those that may stay as they were.
    """
    import torch

    halves = {
        name: name.replace(".lora_A.", ".lora_B.").replace(".lora_embedding_A", ".lora_embedding_B") for name in weights
    }
    ups = {name for name in weights if name.endswith((".lora_B.weight", ".lora_embedding_B"))}
    if not ups or ups != {other for name, other in halves.items() if name != other}:
        odd = sorted(ups ^ {other for name, other in halves.items() if name != other})
        lacking = f"lacks half of a module: {odd[0]}" if odd else "is empty"
        raise TrainingError(f"the adapter {lacking}", where=where)
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise TrainingError(f"{name} is not finite", where=where, todo="lower train.learning_rate")
    zero = torch.zeros(())
    first_zero = {name for name in weights if name.endswith((".lora_B.weight", ".lora_embedding_A"))}
    untouched = {name for name in first_zero if not (weights[name] - start.get(name, zero)).any()}
    wrong = untouched if untouched == first_zero else untouched and untouched - blameless()
    if wrong:
        raise TrainingError(
            f"{len(wrong)} of {len(ups)} modules were never trained, {min(wrong)} first",
            where=where,
            todo="leave modules out of train.lora.targets that the model does not use, or train for more steps",
        )


def with_chat_template(tokenizer: Any, format: Template) -> Any:
    """A copy of the tokenizer whose chat template gives exactly the ids of the training prompt.

    Tokenizers of Llama-2's newer kind put a space before a text but not behind BOS; there, the template writes it.
    Where no template gives these ids, the copy has none, rather than one that renders another prompt than was trained.
    """
    if format.is_chat:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    instruction = "Name two fruits.\nOne of them red: “<b>&amp;</b>”"
    expected = encode_prompts(tokenizer, [format.chat_prompt.format(instruction=instruction)])[0]
    bos, rest = "{{ bos_token }}", format.chat_template.removeprefix("{{ bos_token }}")
    for text in (bos + rest, bos + " " + rest, rest):
        tokenizer.chat_template = text
        messages = [{"role": "user", "content": instruction}]
        if list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)) == expected:
            return tokenizer
    log.warning("no chat template is saved: this tokenizer renders chats to other ids than the training prompts")
    tokenizer.chat_template = None
    return tokenizer


def replace_folder(temporary: Path, folder: Path) -> None:
    """Replace `folder` by a finished one; a crash in between leaves the old one under `.NAME.old`.

    Raises RunError where the disk does not take what was written.
    """
    sync_tree(temporary)
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
