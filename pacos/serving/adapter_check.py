"""Proof that every adapter is really served: it must change what the base makes of some prompts.

Servers have ignored adapters without a word (lm-evaluation-harness #2432, oumi #389), and the base was then
scored under the adapter's name. Or the other way round: vLLM 0.32's CPU build answers for the base with an adapter
when the two share a batch and every adapter slot is taken.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pacos.errors import EngineError, ModelError
from pacos.serving.engine import Engine, Sampling
from pacos.serving.merged import MergedCopy

PROBES = 4
# A server computes log-probabilities over the whole vocabulary at each prompt position: keep them few.
PROBE_TOKENS = 256

BASE_READS = 3
# The difference must stand clear of the noise: a server shared with others rounds otherwise in each batch.
TIMES_NOISE = 4
# Prompts and tokens of the answers that are compared, asked for alone and in mixed company.
MIXED_PROBES = 8
MIXED_TOKENS = 16
# Nats; float32 repeats itself to about 1e-6, and one step of training moves more than this.
FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class AdapterCheck:
    """That an adapter is served and differs from its base: the largest |Δ log-probability| (nats) over `tokens`
    prompt tokens, against the largest between repeated reads of the base. `nearest` is the adapter that it differs
    from least, "" where it is the only one."""

    largest_difference: float = 0.0
    noise: float = 0.0
    tokens: int = 0
    nearest: str = ""
    nearest_difference: float = 0.0


async def check_adapters(
    engine: Engine, adapters: Sequence[str], prompts: Sequence[list[int]]
) -> dict[str, AdapterCheck]:
    """{adapter: its proof}, from the same probes read by the base, several times over, and by each adapter.

    Raises ModelError for an adapter that answers as the base or another adapter does, and EngineError for a server
    that answers for one of them with another.
    """
    if not adapters:
        return {}
    if engine.merged:
        return {name: await _check_merged(engine, engine.merged, name) for name in adapters}
    probes = [ids[:PROBE_TOKENS] for ids in prompts[:: max(1, len(prompts) // PROBES)][:PROBES]]
    by_base = [await _read(engine, probes, None) for _ in range(BASE_READS)]
    noise = max(largest_difference(one, other) for one, other in itertools.combinations(by_base, 2))
    reads = {name: await _read(engine, probes, name) for name in adapters}
    proofs = {}
    for name, read in reads.items():
        others = {other: largest_difference(read, reads[other]) for other in adapters if other != name}
        nearest = min(others, key=lambda other: others[other], default="")
        difference = largest_difference(by_base[0], read)
        proofs[name] = AdapterCheck(difference, noise, len(read), nearest, others.get(nearest, 0.0))
        check(name, proofs[name])
    await _check_company(engine, [None, *adapters], prompts[:: max(1, len(prompts) // MIXED_PROBES)][:MIXED_PROBES])
    return proofs


async def _check_merged(engine: Engine, copy: MergedCopy, name: str) -> AdapterCheck:
    """That the server of a merged copy gives the adapter's answers and not its base's. Both are known from
    transformers; how far the server is from the adapter's stands for the noise."""
    read = await _read(engine, copy.probes, name)
    proof = AdapterCheck(largest_difference(copy.base, read), largest_difference(copy.tuned, read), len(read))
    check(name, proof)
    return proof


async def _check_company(engine: Engine, names: Sequence[str | None], prompts: Sequence[list[int]]) -> None:
    """Each must answer beside the others as it answers alone (`None` is the base)."""

    async def answers(asked: Sequence[tuple[str | None, list[int]]]) -> list[str]:
        wanted = [engine.complete(ids, Sampling(MIXED_TOKENS), adapter=name) for name, ids in asked]
        return [completion.text for completion in await asyncio.gather(*wanted)]

    alone = {name: await answers([(name, ids) for ids in prompts]) for name in names}
    mixed = await answers([(name, ids) for ids in prompts for name in names])
    beside = {name: mixed[at :: len(names)] for at, name in enumerate(names)}
    for name, other in itertools.permutations(names, 2):
        check_own_voice(name or "base", other or "base", alone[name], alone[other], beside[name])


def check_own_voice(name: str, other: str, own: Sequence[str], others: Sequence[str], beside: Sequence[str]) -> None:
    """`beside` are `name`'s answers in mixed batches: mostly its own, not those that `other` gives alone.

    Single answers may turn where a batch rounds otherwise; the other's very words, more often than not, are no chance.
    Raises EngineError.
    """
    telling = [(mine, theirs, heard) for mine, theirs, heard in zip(own, others, beside, strict=True) if mine != theirs]
    crossed = sum(heard == theirs for _, theirs, heard in telling)
    if 2 * crossed > len(telling):
        raise EngineError(
            f"the server mixes its models up: beside {other!r}, {name!r} gave {other!r}'s answer to {crossed} of "
            f"{len(telling)} prompts",
            todo="start the server with more --max-loras than there are adapters, or evaluate them one at a time",
        )


async def _read(engine: Engine, probes: Sequence[list[int]], adapter: str | None) -> list[float]:
    """Log-probabilities of all probes' tokens, end to end.

    One probe at a time: vLLM 0.32's CPU build dies when a batch of several asks for prompt log-probabilities
    with LoRA on (its logits layer expects one position per request).
    """
    return [value for ids in probes for value in await engine.prompt_logprobs(ids, adapter=adapter)]


def check(name: str, proof: AdapterCheck) -> None:
    threshold = max(FLOOR, TIMES_NOISE * proof.noise)
    if not proof.largest_difference > threshold:
        raise ModelError(
            f"the adapter {name!r} answers as the base does: over {proof.tokens} tokens its log-probabilities differ "
            f"by at most {proof.largest_difference:.2g}, and {threshold:.2g} would be needed to tell it from noise",
            todo="its weights are zero, or the server ignores it: train longer, or look at the server's log",
        )
    if proof.nearest and not proof.nearest_difference > threshold:
        raise ModelError(
            f"the adapters {name!r} and {proof.nearest!r} answer alike: over {proof.tokens} tokens their "
            f"log-probabilities differ by at most {proof.nearest_difference:.2g}",
            todo="they hold the same weights, or the server gives one for the other: evaluate one of them",
        )


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)
