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
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapter_fit import load_adapter
from pacos.adapters import read_adapter_config
from pacos.asked_chat import asked_tokenizer
from pacos.causal_lm import check_vocabulary, load_causal_lm
from pacos.chat import form_prompts
from pacos.config import ModelConfig
from pacos.errors import ModelError
from pacos.files import disk_error
from pacos.models import load_tokenizer, read_provenance
from pacos.templates import template
from pacos.weights import disk_failures

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
# Parts of the largest logit: below the first a change is rounding, and above the second float32 does not round.
NOTHING, WRONG = 1e-6, 1e-3


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
class Merged:
    """A merged model, with logits of the probes by the adapter before the merge, the base alone, and the model.

    `drift` is how far the merge moved them.
    """

    model: Any
    tuned: "torch.Tensor"
    untuned: "torch.Tensor"
    logits: "torch.Tensor"
    drift: Drift


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
    model = load_causal_lm(base, config, device="cpu", dtype=torch.float32)
    check_vocabulary(model.get_input_embeddings().weight.shape[0], tokenizer, base)
    merged = merge_weights(model, adapter, probes)
    if dtype in ("bfloat16", "float16"):
        dtype = _exact_enough(merged, probes, dtype)
    try:
        with disk_failures():
            merged.model.save_pretrained(folder)
        asked_tokenizer(tokenizer, adapter).save_pretrained(folder)
    except OSError as failure:
        raise disk_error(failure, folder) from failure
    answers = (token_logprobs(logits, probes) for logits in (merged.untuned, merged.tuned))
    return MergedCopy(folder, dtype, probes, *answers)


def _exact_enough(merged: Merged, probes: Sequence[list[int]], to: str) -> str:
    """Round the weights to `to` where that changes little; what they are then."""
    import torch

    model = merged.model
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, to)).float()
    drift = measure_drift(merged.tuned, probe_logits(model, probes), merged.untuned)
    if drift.share <= DRIFT_ALLOWED:
        model.to(getattr(torch, to))
        return to
    log.info("merged in float32: in %s the merge would lose %.1f %% of the adapter", to, 100 * drift.share)
    model.load_state_dict(weights)
    return "float32"


def merge_weights(model: Any, adapter: Path, probes: Sequence[list[int]]) -> Merged:
    """Merge the adapter into its base; `model` is used up. Tied embeddings are untied where the adapter changes one.

    Raises ModelError: an adapter that does not fit, changes nothing, or whose effect is no change of weights.
    """
    import torch

    _refuse_what_is_no_sum(adapter)
    untuned = probe_logits(model, probes)
    tied = _untie(model)
    tuned_model = load_adapter(model, adapter)
    tuned = probe_logits(tuned_model, probes)
    if float((tuned - untuned).abs().max()) <= NOTHING * float(untuned.abs().max()):
        raise ModelError(
            "the adapter changes nothing: with it, the base gives the logits that it gives alone",
            where=str(adapter),
            todo="its weights are zero, or too small for the base's dtype: train it for longer",
        )
    try:
        with warnings.catch_warnings():  # What PEFT says of tied embeddings is dealt with below.
            warnings.filterwarnings("ignore", message="(?s).*tie[d_]")
            merged = tuned_model.merge_and_unload(safe_merge=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as failure:  # PEFT's kinds of layers each have their own way to refuse.
        raise ModelError(f"cannot be merged: {failure}", where=str(adapter)) from failure
    if tied:
        _tie_where_equal(merged)
    logits = probe_logits(merged, probes)
    found = Merged(merged, tuned, untuned, logits, measure_drift(tuned, logits, untuned))
    if merged.dtype == torch.float32 and _is_wrong(found):
        raise ModelError(
            f"cannot be merged, what it does is no change of weights: {found.drift}",
            where=str(adapter),
            todo="load it with PEFT instead of merging it",
        )
    return found


def _refuse_what_is_no_sum(adapter: Path) -> None:
    """Raises ModelError for options by which an adapter is more than what is added to its base's weights."""
    settings = read_adapter_config(adapter)
    reason = ""
    if settings.get("layer_replication"):
        reason = "layer_replication repeats layers that share weights, and each would be changed several times"
    elif settings.get("alora_invocation_tokens"):
        reason = "alora_invocation_tokens: it acts only behind these tokens"
    elif str(settings.get("init_lora_weights")).startswith("pissa_niter"):
        reason = "pissa_niter takes a part away from the base that is drawn anew each time, and was not saved"
    if reason:
        raise ModelError(f"cannot be merged: {reason}", where=str(adapter), todo="load it with PEFT, or train it again")


def _untie(model: Any) -> bool:
    """Give the LM head weights of its own; whether it shared them with the embeddings."""
    import torch

    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not embeddings.weight:
        return False
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    return True


def _tie_where_equal(model: Any) -> None:
    """Let LM head and embeddings share their weights again, or say in the model's config that they no longer do."""
    import torch

    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    equal = torch.equal(head.weight, embeddings.weight)
    if equal:
        head.weight = embeddings.weight
    else:
        log.info("merge: the adapter changes one of two tied embeddings; the merged model has an LM head of its own")
    # PEFT has changed it already, from weights that lay apart.
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = equal


def _is_wrong(merged: Merged) -> bool:
    """Whether a float32 merge lost more than rounding can explain."""
    return merged.drift.share > 0.1 and merged.drift.largest > WRONG * float(merged.untuned.abs().max())


def probe_prompts(tokenizer: Any, adapter: Path) -> list[list[int]]:
    """Token ids of PROBES in the template that the adapter was trained with, a chat template being beside it."""
    form = template(read_provenance(adapter).get("template", "alpaca"))
    texts = [form.chat_prompt.format(instruction=text) for text in PROBES]
    return form_prompts(asked_tokenizer(tokenizer, adapter), form, texts)


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
