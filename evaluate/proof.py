"""Proof that every adapter is really served: it must change what the base makes of some prompts.

Servers have ignored adapters without a word (lm-evaluation-harness #2432, oumi #389), and the base was then
scored under the adapter's name.
"""

import itertools
from collections.abc import Sequence

from pacos.engine import Engine
from pacos.errors import ModelError
from pacos.evaluate.evaluation import Proof

PROBES = 4
# A server computes log-probabilities over the whole vocabulary at each prompt position: keep them few.
PROBE_TOKENS = 256

BASE_READS = 3
# The difference must stand clear of the noise: a server shared with others rounds otherwise in each batch.
TIMES_NOISE = 4
# Nats; float32 repeats itself to about 1e-6, and one step of training moves more than this.
FLOOR = 1e-4


async def prove(engine: Engine, adapters: Sequence[str], prompts: Sequence[list[int]]) -> dict[str, Proof]:
    """{adapter: its proof}, from the same probes read by the base, several times over, and by each adapter.

    Raises ModelError for an adapter that answers as the base does.
    """
    if not adapters:
        return {}
    probes = [ids[:PROBE_TOKENS] for ids in prompts[:: max(1, len(prompts) // PROBES)][:PROBES]]
    by_base = [await _read(engine, probes, None) for _ in range(BASE_READS)]
    noise = max(largest_difference(one, other) for one, other in itertools.combinations(by_base, 2))
    proofs = {}
    for name in adapters:
        difference = largest_difference(by_base[0], await _read(engine, probes, name))
        proofs[name] = Proof(difference, noise, tokens=len(by_base[0]))
        check(name, proofs[name])
    return proofs


async def _read(engine: Engine, probes: Sequence[list[int]], adapter: str | None) -> list[float]:
    """Log-probabilities of all probes' tokens, end to end.

    One probe at a time: vLLM 0.32's CPU build dies when a batch of several asks for prompt log-probabilities
    with LoRA on (its logits layer expects one position per request).
    """
    return [value for ids in probes for value in await engine.prompt_logprobs(ids, adapter=adapter)]


def check(name: str, proof: Proof) -> None:
    threshold = max(FLOOR, TIMES_NOISE * proof.noise)
    if not proof.largest_difference > threshold:
        raise ModelError(
            f"the adapter {name!r} answers as the base does: over {proof.tokens} tokens its log-probabilities differ "
            f"by at most {proof.largest_difference:.2g}, and {threshold:.2g} would be needed to tell it from noise",
            todo="its weights are zero, or the server ignores it: train longer, or look at the server's log",
        )


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)
