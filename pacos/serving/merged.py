"""Merges adapters into their base: for `pacos merge`, and as temporary copies to serve.

    with merged_copy(adapter, base, model_config, folder, dtype="float32") as copy:
        …serve copy.folder…

vLLM's CPU engine copies an adapter's weights for every token, and so answers several times more slowly with an adapter
than with a merged model (`benchmarks.cpu_engine`). Weights are always added in float32: rounded to bfloat16, much of a
small update is lost.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import ModelConfig
from pacos.errors import ModelError
from pacos.files import disk_error
from pacos.models import load_tokenizer, loading_options, model_error, read_provenance
from pacos.templates import template
from pacos.tokenization import encode_prompts

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")

PROBES = (
    "Name three things that float on water.",
    "Write a short letter that asks a neighbour to feed the cat.",
    "Explain to a child why the moon seems to change its shape.",
    "List the days of the week in reverse order.",
)
# Share of the adapter's effect that rounding the merged weights may cost before they are kept in float32.
DRIFT_ALLOWED = 0.01


@dataclass(frozen=True, slots=True)
class Drift:
    """Difference of merged from unmerged logits at every position of the probe prompts.

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


@dataclass(frozen=True, slots=True)
class MergedCopy:
    """A merged model in `folder`, to be served in `dtype`, and what shows that a server gives its answers: natural-log
    probabilities of the probes' tokens after the first, end to end, by the base alone and with the adapter."""

    folder: Path
    dtype: str
    probes: list[list[int]]
    base: list[float]
    tuned: list[float]


@contextlib.contextmanager
def merged_copy(adapter: Path, base: str, config: ModelConfig, folder: Path, *, dtype: str) -> Iterator[MergedCopy]:
    """Write the merged model to `folder`, which is deleted at the end; one that a killed run left is replaced.

    `dtype` is what the server would compute in. Raises ModelError (base or adapter cannot be loaded), RunError (disk).
    """
    shutil.rmtree(folder, ignore_errors=True)
    log.info("merging %s into %s for the CPU engine", adapter, base)
    try:
        copy = _write_copy(adapter, base, config, folder, dtype)
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_copy(adapter: Path, base: str, config: ModelConfig, folder: Path, dtype: str) -> MergedCopy:
    import torch

    tokenizer = load_tokenizer(base, config)
    probes = probe_prompts(tokenizer, adapter)
    model = load_base(base, loading_options(base, config)["revision"], "cpu", torch.float32)
    merged, tuned, untuned = merge_weights(model, adapter, probes)
    if dtype in ("bfloat16", "float16"):
        dtype = _exact_enough(merged, probes, tuned, untuned, dtype)
    try:
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except OSError as failure:
        raise disk_error(failure, folder) from failure
    return MergedCopy(folder, dtype, probes, token_logprobs(untuned, probes), token_logprobs(tuned, probes))


def _exact_enough(model: Any, probes: Sequence[list[int]], tuned: "torch.Tensor", base: "torch.Tensor", to: str) -> str:
    """Round the weights to `to` where that changes little; what they are then."""
    import torch

    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, to)).float()
    drift = measure_drift(tuned, probe_logits(model, probes), base)
    if drift.share <= DRIFT_ALLOWED:
        model.to(getattr(torch, to))
        return to
    log.info("merged in float32: in %s the merge would lose %.1f %% of the adapter", to, 100 * drift.share)
    model.load_state_dict(weights)
    return "float32"


def merge_weights(model: Any, adapter: Path, probes: Sequence[list[int]]) -> "tuple[Any, torch.Tensor, torch.Tensor]":
    """(merged model, logits with the adapter before the merge, logits of the base alone); `model` is used up."""
    from peft import PeftModel

    tuned_model = PeftModel.from_pretrained(model, str(adapter)).eval()
    tuned = probe_logits(tuned_model, probes)
    with tuned_model.disable_adapter():
        untuned = probe_logits(tuned_model, probes)
    try:
        return tuned_model.merge_and_unload(safe_merge=True), tuned, untuned
    except ValueError as failure:
        raise ModelError(f"cannot be merged: {failure}", where=str(adapter)) from failure


def load_base(name: str, revision: str | None, device: str, dtype: "torch.dtype | str" = "auto") -> Any:
    """A causal language model ready to evaluate. Raises ModelError where it cannot be loaded."""
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, revision=revision, use_safetensors=True, device_map={"": device}
        ).eval()
    except (OSError, ValueError) as failure:
        raise model_error(name, failure) from failure


def probe_prompts(tokenizer: Any, adapter: Path) -> list[list[int]]:
    """Token ids of PROBES in the template that the adapter was trained with."""
    prompt = template(read_provenance(adapter).get("template", "alpaca")).chat_prompt
    return encode_prompts(tokenizer, [prompt.format(instruction=text) for text in PROBES])


def probe_logits(model: Any, probes: Sequence[list[int]]) -> "torch.Tensor":
    """[positions of all probes, vocabulary] float32 on the CPU."""
    import torch

    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0] for ids in probes]
    return torch.cat(rows).float().cpu()


def token_logprobs(logits: "torch.Tensor", probes: Sequence[list[int]]) -> list[float]:
    """Log-probability of each probe's tokens after its first, end to end; `logits` as of `probe_logits`."""
    values: list[float] = []
    first = 0
    for ids in probes:
        logprobs = logits[first : first + len(ids)].log_softmax(-1)
        values += [float(logprobs[at, token]) for at, token in enumerate(ids[1:])]
        first += len(ids)
    return values


def measure_drift(before: "torch.Tensor", after: "torch.Tensor", untuned: "torch.Tensor") -> Drift:
    """How far a merge moved logits: of the adapter `before`, the merged model `after`, and the base `untuned`."""
    change, effect = after - before, before - untuned
    return Drift(
        float(change.abs().max()),
        float(change.pow(2).mean().sqrt() / effect.pow(2).mean().sqrt().clamp(min=1e-30)),
        float((after.argmax(-1) == before.argmax(-1)).float().mean()),
    )
