"""`pacos merge`: adds an adapter into its base, for servers that take no adapters, and measures the rounding error.

A merge in bfloat16 loses small updates: with updates of 4e-5 on weights of 2e-2, 59 % of the weights do not change. So
logits before and after are compared, and their difference is related to the adapter's whole effect.
"""

import logging
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import read_adapter_config
from pacos.config import ModelConfig
from pacos.errors import RunError
from pacos.files import disk_error, file_sha256, write_json
from pacos.models import load_tokenizer, read_provenance, resolve_model
from pacos.results import plain
from pacos.serving.merged import load_base, measure_drift, merge_weights, probe_logits, probe_prompts
from pacos.train.model.start import check_base

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def merge(adapter: Path, out: Path) -> str:
    """Write the merged model to `out`, read it back, and return the command that serves it.

    Raises ModelError: no adapter, or another base than it was trained on. Raises RunError: `out` exists, or the merged
    model reads back differently.
    """
    import torch

    if out.exists():
        raise RunError("already exists", where=str(out), todo="choose another folder, or remove it")
    settings, provenance = read_adapter_config(adapter), read_provenance(adapter)
    base = ModelConfig(base=settings["base_model_name_or_path"], revision=settings.get("revision"))
    check_base(adapter, resolve_model(base.base, base), provenance)
    tokenizer = load_adapter_tokenizer(adapter, base)
    probes = probe_prompts(tokenizer, adapter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_base(base.base, base.revision, device)
    merged, before, untuned = merge_weights(model, adapter, probes)
    after = probe_logits(merged, probes)
    drift = measure_drift(before, after, untuned)
    temporary = out.with_name(f".{out.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        merged.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        hashes = {"adapter_sha256": file_sha256(adapter / "adapter_model.safetensors")}
        write_json(temporary / "pacos.json", provenance | hashes | {"drift": plain(drift)})
        del merged
        check_merged_folder(temporary, probes, after, device)
        temporary.rename(out)
    except OSError as failure:
        raise disk_error(failure, out) from failure
    log.info("merge: %s", drift)
    if drift.share > 0.1:
        log.warning("the merge loses much of what the adapter learned: serve the adapter instead")
    return shlex.join(["vllm", "serve", str(out), "--served-model-name", out.name])


def load_adapter_tokenizer(adapter: Path, base: ModelConfig) -> Any:
    """The adapter's own tokenizer, which has its chat template; the base's where it has none."""
    from transformers import AutoTokenizer

    if (adapter / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(adapter)
    return load_tokenizer(base.base, base)


def check_merged_folder(folder: Path, probes: list[list[int]], expected: "torch.Tensor", device: str) -> None:
    """Raises RunError where the folder's model does not give the expected logits, bit for bit."""
    import torch

    if not torch.equal(probe_logits(load_base(str(folder), None, device), probes), expected):
        raise RunError(
            "the merged model reads back differently than it was written", where=str(folder), todo="check the disk"
        )
