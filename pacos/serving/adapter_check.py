"""Check that every adapter is really served: its log-probabilities must differ from its base's.

Servers have silently ignored adapters (lm-evaluation-harness #2432, oumi #389), and the base was then scored under the
adapter's name. The reverse happens, too: vLLM 0.32's CPU build answers requests to the base with an adapter when the
two share a batch and every adapter slot is taken.
"""

import asyncio
import itertools
from collections.abc import Sequence

from pacos.errors import EngineError, ModelError
from pacos.results.evaluation import AdapterCheck
from pacos.serving.completion import Sampling
from pacos.serving.engine import Engine
from pacos.serving.merged import MergedCopy

PROBE_PROMPTS = 4
# A server computes log-probabilities over the whole vocabulary at each prompt position: keep them few.
PROBE_TOKENS = 256

BASE_READS = 3
# The difference must be well above the noise: a server shared with others rounds differently in each batch.
TIMES_NOISE = 4
# Prompts, and tokens of their answers, that are compared between separate and mixed batches.
MIXED_PROBES = 8
MIXED_TOKENS = 16
# Nats; float32 repeats itself to about 1e-6, and one step of training moves more than this.
FLOOR = 1e-4


async def check_adapters(
    engine: Engine, adapters: Sequence[str], prompts: Sequence[list[int]]
) -> dict[str, AdapterCheck]:
    """{adapter: its check}, from log-probabilities of the same probes under the base, several times, and each adapter.

    Of several servers each is checked, and the smallest difference returned. Raises ModelError for an adapter that
    answers as the base or another adapter does, and EngineError for a server that answers requests to one of them with
    another.
    """
    if not adapters:
        return {}
    found = [await _check_server(each, adapters, prompts) for each in engine.on_each_server()]
    return {name: min((each[name] for each in found), key=lambda check: check.largest_difference) for name in adapters}


async def _check_server(
    engine: Engine, adapters: Sequence[str], prompts: Sequence[list[int]]
) -> dict[str, AdapterCheck]:
    if engine.merged:
        return {name: await _check_merged(engine, engine.merged, name) for name in adapters}
    probes = [ids[:PROBE_TOKENS] for ids in prompts[:: max(1, len(prompts) // PROBE_PROMPTS)][:PROBE_PROMPTS]]
    by_base = [await _read(engine, probes, None) for _ in range(BASE_READS)]
    noise = max(largest_difference(one, other) for one, other in itertools.combinations(by_base, 2))
    reads = {name: await _read(engine, probes, name) for name in adapters}
    checks = {}
    for name, read in reads.items():
        others = {other: largest_difference(read, reads[other]) for other in adapters if other != name}
        nearest = min(others, key=lambda other: others[other], default="")
        difference = largest_difference(by_base[0], read)
        checks[name] = AdapterCheck(difference, noise, len(read), nearest, others.get(nearest, 0.0))
        require_difference(name, checks[name])
    await _check_mixed_batches(
        engine, [None, *adapters], prompts[:: max(1, len(prompts) // MIXED_PROBES)][:MIXED_PROBES]
    )
    return checks


async def _check_merged(engine: Engine, copy: MergedCopy, name: str) -> AdapterCheck:
    """Check that the server of a merged copy answers as the adapter and not as its base. Both are known from
    transformers; the server's distance from the adapter is the noise."""
    read = await _read(engine, copy.probes, name)
    found = AdapterCheck(largest_difference(copy.base, read), largest_difference(copy.tuned, read), len(read))
    require_difference(name, found)
    return found


async def _check_mixed_batches(engine: Engine, names: Sequence[str | None], prompts: Sequence[list[int]]) -> None:
    """Check that each answers in mixed batches as it does alone (`None` is the base)."""

    async def answers(asked: Sequence[tuple[str | None, list[int]]]) -> list[str]:
        wanted = [engine.complete(ids, Sampling(MIXED_TOKENS), adapter=name) for name, ids in asked]
        return [completion.text for completion in await asyncio.gather(*wanted)]

    alone = {name: await answers([(name, ids) for ids in prompts]) for name in names}
    mixed = await answers([(name, ids) for ids in prompts for name in names])
    in_mixed = {name: mixed[at :: len(names)] for at, name in enumerate(names)}
    for name, other in itertools.permutations(names, 2):
        check_not_swapped(name or "base", other or "base", alone[name], alone[other], in_mixed[name])


def check_not_swapped(name: str, other: str, own: Sequence[str], others: Sequence[str], mixed: Sequence[str]) -> None:
    """Check that `mixed`, the answers of `name` in mixed batches, are not the answers of `other`.

    `own` and `others` are the answers of the two alone. Single answers may change where a batch rounds differently;
    the exact answers of the other, to more than half of the prompts where the two differ, are no coincidence.
    Raises EngineError.
    """
    different = [(theirs, found) for mine, theirs, found in zip(own, others, mixed, strict=True) if mine != theirs]
    swapped = sum(found == theirs for theirs, found in different)
    if 2 * swapped > len(different):
        raise EngineError(
            f"the server mixes its models up: in one batch with {other!r}, {name!r} gave {other!r}'s answer to "
            f"{swapped} of {len(different)} prompts",
            todo="start the server with more --max-loras than there are adapters, or evaluate them one at a time",
        )


async def _read(engine: Engine, probes: Sequence[list[int]], adapter: str | None) -> list[float]:
    """Log-probabilities of all probes' tokens, concatenated.

    One probe at a time: vLLM 0.32's CPU build dies when a batch of several asks for prompt log-probabilities
    with LoRA on (its logits layer expects one position per request).
    """
    return [value for ids in probes for value in await engine.prompt_logprobs(ids, adapter=adapter)]


def require_difference(name: str, found: AdapterCheck) -> None:
    """Raises ModelError for an adapter that differs from its base, or from another adapter, by no more than noise."""
    threshold = max(FLOOR, TIMES_NOISE * found.noise)
    if not found.largest_difference > threshold:
        raise ModelError(
            f"the adapter {name!r} answers as the base does: over {found.tokens} tokens its log-probabilities differ "
            f"by at most {found.largest_difference:.2g}, and {threshold:.2g} would be needed to tell it from noise",
            todo="its weights are zero, or the server ignores it: train longer, or read the server's log",
        )
    if found.nearest and not found.nearest_difference > threshold:
        raise ModelError(
            f"the adapters {name!r} and {found.nearest!r} answer alike: over {found.tokens} tokens their "
            f"log-probabilities differ by at most {found.nearest_difference:.2g}",
            todo="they have the same weights, or the server mixes them up: evaluate one of them",
        )


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest absolute difference of paired values; 0 without any."""
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)
