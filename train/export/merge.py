"""`pacos merge`: an adapter added into its base, for servers that take no adapters, with what the rounding cost.

A merge in bfloat16 loses small updates: with updates of 4e-5 on weights of 2e-2, 59 % of the weights stay as they
were. So the answers before and after are compared, and the loss is set against what the adapter changes at all.
"""

import logging
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import ModelConfig
from pacos.errors import ModelError, RunError
from pacos.models import load_tokenizer, model_sha256, read_adapter_config, read_provenance
from pacos.records import disk_error, write_json
from pacos.runs import file_sha256
from pacos.serving.merged import load_base, measure_drift, merge_weights, probe_logits, probe_prompts

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def merge(adapter: Path, out: Path) -> str:
    """Write the merged model to `out`, read it back, and return the command that serves it.

    Raises ModelError: no adapter, or another base than it was trained on. Raises RunError: `out` is taken, or what
    was written reads back otherwise.
    """
    import torch

    if out.exists():
        raise RunError("is there already", where=str(out), todo="choose another folder, or remove it")
    settings, provenance = read_adapter_config(adapter), read_provenance(adapter)
    base = ModelConfig(base=settings["base_model_name_or_path"], revision=settings.get("revision"))
    check_base(adapter, base, provenance)
    tokenizer = load_adapter_tokenizer(adapter, base)
    probes = probe_prompts(tokenizer, adapter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_base(base.base, base.revision, device)
    merged, before, untuned = merge_weights(model, adapter, probes)
    after = probe_logits(merged, probes)
    drift = measure_drift(before, after, untuned)
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        merged.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        hashes = {"adapter_sha256": file_sha256(adapter / "adapter_model.safetensors")}
        write_json(aside / "pacos.json", provenance | hashes | {"drift": asdict(drift)})
        del merged
        check_reads_back(aside, probes, after, device)
        aside.rename(out)
    except OSError as failure:
        raise disk_error(failure, out) from failure
    log.info("merge: %s", drift)
    if drift.share > 0.1:
        log.warning("the merge loses much of what was learnt: serve the adapter instead")
    return shlex.join(["vllm", "serve", str(out), "--served-model-name", out.name])


def load_adapter_tokenizer(adapter: Path, base: ModelConfig) -> Any:
    """The adapter's own, which carries its chat template; the base's where it has none."""
    from transformers import AutoTokenizer

    if (adapter / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(adapter)
    return load_tokenizer(base.base, base)


def check_base(adapter: Path, base: ModelConfig, provenance: dict[str, Any]) -> None:
    """Raises ModelError where the base at hand is not the one the adapter was trained on."""
    trained, found = provenance.get("base_sha256", ""), model_sha256(base.base, base)
    if trained and found and trained != found:
        raise ModelError(
            f"was trained on other weights than {base.base} has now",
            where=str(adapter),
            todo="bring the base back that it was trained on, or train again",
        )


def check_reads_back(folder: Path, probes: list[list[int]], expected: "torch.Tensor", device: str) -> None:
    import torch

    if not torch.equal(probe_logits(load_base(str(folder), None, device), probes), expected):
        raise RunError(
            "the merged model reads back other than it was written", where=str(folder), todo="check the disk"
        )
