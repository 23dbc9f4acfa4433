"""`pacos merge`: an adapter added into its base, for servers that take no adapters, with what the rounding cost.

A merge in bfloat16 loses small updates: with updates of 4e-5 on weights of 2e-2, 59 % of the weights stay as they
were. So the answers before and after are compared, and the loss is set against what the adapter changes at all.
"""

import logging
import shlex
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import ModelConfig
from pacos.errors import ModelError, RunError
from pacos.models import load_tokenizer, model_error, model_sha256, read_adapter_config, read_provenance
from pacos.records import disk_error, write_json
from pacos.runs import file_sha256
from pacos.templates import CHAT_PROMPTS, encode_prompts

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")

INSTRUCTIONS = (
    "Name three things that float on water.",
    "Write a short letter that asks a neighbour to feed the cat.",
    "Explain to a child why the moon seems to change its shape.",
    "List the days of the week in reverse order.",
)


@dataclass(frozen=True, slots=True)
class Drift:
    """Merged against unmerged logits at every position of the probe prompts.

    `share` is the root mean square difference over that which the adapter makes; `same_token` the share of
    positions with the same most likely token.
    """

    largest: float
    share: float
    same_token: float

    def __str__(self) -> str:
        return (
            f"merged logits differ from unmerged ones by up to {self.largest:.2g}, {self.share:.1%} of what the "
            f"adapter changes; {self.same_token:.1%} of the most likely tokens are the same"
        )


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
    prompt = CHAT_PROMPTS[provenance.get("template", "alpaca")]
    probes = encode_prompts(tokenizer, [prompt.format(instruction=text) for text in INSTRUCTIONS])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    merged, before, after, untuned = merge_weights(adapter, base, probes, device)
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


def merge_weights(
    adapter: Path, base: ModelConfig, probes: list[list[int]], device: str
) -> "tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]":
    """(merged model, logits unmerged, logits merged, logits of the base alone)."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_base(base.base, base.revision, device), str(adapter)).eval()
    before = probe_logits(model, probes)
    with model.disable_adapter():
        untuned = probe_logits(model, probes)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as failure:
        raise ModelError(f"cannot be merged: {failure}", where=str(adapter)) from failure
    return merged, before, probe_logits(merged, probes), untuned


def load_base(name: str, revision: str | None, device: str) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            name, dtype="auto", revision=revision, use_safetensors=True, device_map={"": device}
        ).eval()
    except (OSError, ValueError) as failure:
        raise model_error(name, failure) from failure


def probe_logits(model: Any, probes: list[list[int]]) -> "torch.Tensor":
    """[positions of all probes, vocabulary] float32 on the CPU."""
    import torch

    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0] for ids in probes]
    return torch.cat(rows).float().cpu()


def measure_drift(before: "torch.Tensor", after: "torch.Tensor", untuned: "torch.Tensor") -> Drift:
    change, effect = after - before, before - untuned
    return Drift(
        float(change.abs().max()),
        float(change.pow(2).mean().sqrt() / effect.pow(2).mean().sqrt().clamp(min=1e-30)),
        float((after.argmax(-1) == before.argmax(-1)).float().mean()),
    )


def check_reads_back(folder: Path, probes: list[list[int]], expected: "torch.Tensor", device: str) -> None:
    import torch

    if not torch.equal(probe_logits(load_base(str(folder), None, device), probes), expected):
        raise RunError(
            "the merged model reads back other than it was written", where=str(folder), todo="check the disk"
        )
