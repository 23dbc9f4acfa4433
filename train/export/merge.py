"""`pacos merge`: adds an adapter into its base, for servers that take no adapters, and measures the rounding error.

A merge in bfloat16 loses small updates: with updates of 4e-5 on weights of 2e-2, 59 % of the weights do not change. So
logits before and after are compared, and their difference is related to the adapter's whole effect.
"""

import contextlib
import logging
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import read_adapter_config
from pacos.causal_lm import check_vocabulary, load_causal_lm
from pacos.config import ModelConfig
from pacos.errors import ModelError, PacosError, RunError
from pacos.files import disk_error, sync_tree, write_json
from pacos.models import load_tokenizer, resolve_model
from pacos.results import plain
from pacos.serving.merged import Drift, merge_weights, probe_logits, probe_prompts
from pacos.train.model.start import check_base
from pacos.weights import disk_failures

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")

# Errors of what is shared with the other stages name keys of an experiment; this command has options instead.
OPTIONS = {
    "`model.base`": "--base",
    "`model.trust_remote_code`": "--trust-remote-code",
    "model.trust_remote_code=true": "--trust-remote-code",
}


def merge(adapter: Path, out: Path, *, base: str | None = None, trust_remote_code: bool = False) -> str:
    """Write the merged model to `out`, read it back, and return the command that serves it.

    `base` (a folder or hub id) is the base where the one that the adapter names has moved; it must have the same
    weights. Raises ModelError: no adapter, one that does not fit or changes nothing, another base than it was trained
    on. Raises RunError: `out` exists or cannot be written, or the merged model reads back differently.
    """
    if out.exists() or out.is_symlink():
        raise RunError("already exists", where=str(out), todo="choose another folder, or remove it")
    settings = read_adapter_config(adapter)
    name = base or settings.get("base_model_name_or_path")
    if not name:
        raise ModelError("does not say which base it belongs to", where=str(adapter), todo="give it: --base PATH")
    revision = None if base else settings.get("revision")
    with _errors_of_this_command():
        drift = _merge(adapter, out, ModelConfig(base=name, revision=revision, trust_remote_code=trust_remote_code))
    log.info("merge: %s", drift)
    if drift.share > 0.1:
        log.warning("the merge loses much of what the adapter learned: serve the adapter instead")
    return shlex.join(["vllm", "serve", str(out), "--served-model-name", out.name])


def _merge(adapter: Path, out: Path, base: ModelConfig) -> Drift:
    import torch

    found = resolve_model(base.base, base, adapter)
    check_base(adapter, found, found.provenance)
    tokenizer = load_adapter_tokenizer(adapter, base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_causal_lm(base.base, base, device=device)
    check_vocabulary(model.get_input_embeddings().weight.shape[0], tokenizer, str(adapter))
    probes = probe_prompts(tokenizer, adapter)
    merged = merge_weights(model, adapter, probes)
    temporary = out.with_name(f".{out.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_failures():
            merged.model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        hashes = {"adapter_sha256": found.adapter_sha256}
        write_json(temporary / "pacos.json", {**found.provenance, **hashes, "drift": plain(merged.drift)})
        written = base.model_copy(update={"base": str(temporary), "revision": None})
        check_merged_folder(written, probes, merged.logits, device)
        sync_tree(temporary)
        temporary.rename(out)
    except OSError as failure:
        raise disk_error(failure, out) from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return merged.drift


@contextlib.contextmanager
def _errors_of_this_command() -> Iterator[None]:
    """Name the command's options in errors where other stages have keys."""
    try:
        yield
    except PacosError as failure:
        for key, option in OPTIONS.items():
            failure.what = failure.what.replace(key, option)
            failure.todo = failure.todo and failure.todo.replace(key, option)
        raise


def load_adapter_tokenizer(adapter: Path, base: ModelConfig) -> Any:
    """The adapter's own tokenizer, which has its chat template; the base's where it has none."""
    from transformers import AutoTokenizer

    if not (adapter / "tokenizer.json").is_file():
        return load_tokenizer(base.base, base)
    try:
        return AutoTokenizer.from_pretrained(str(adapter), trust_remote_code=base.trust_remote_code)
    except Exception as failure:  # The tokenizers library raises plain Exceptions.
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        code = "trust_remote_code" in str(failure)
        raise ModelError(
            f"its tokenizer cannot be read: {reason}",
            where=str(adapter),
            todo="--trust-remote-code runs the code, if you trust it" if code else "copy its tokenizer files again",
        ) from failure


def check_merged_folder(written: ModelConfig, probes: list[list[int]], expected: "torch.Tensor", device: str) -> None:
    """Raises RunError where the written model does not give the expected logits, bit for bit."""
    import torch

    if not torch.equal(probe_logits(load_causal_lm(written.base, written, device=device), probes), expected):
        raise RunError(
            "the merged model reads back differently than it was written", where=written.base, todo="check the disk"
        )
