"""Request i: which seeds its prompt shows, and how it is sampled. A pure function of (config.seed, i)."""

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from pacos.config import Config
from pacos.engine import Sampling
from pacos.errors import ConfigError
from pacos.generate.prompts import list_prompt, stop_strings
from pacos.generate.seeds import Seed
from pacos.templates import encode_prompts

DRAWS = 200


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    sampled: list[str]
    prompt_ids: list[int]
    prompt_sha256: str
    sampling: Sampling


@dataclass(frozen=True)
class RequestMaker:
    """What all requests of a run share. `max_model_len` counts prompt and completion tokens."""

    config: Config
    seeds: list[Seed]
    tokenizer: Any
    max_model_len: int

    def make(self, number: int) -> Request:
        """Draw seeds until their prompt leaves room for an answer; a context of ordinary length takes the first draw.

        Raises ConfigError when no draw does.
        """
        generate = self.config.generate
        max_tokens = generate.sampling.max_tokens
        least_room = min(max_tokens, self.max_model_len // 4)
        draw = random.Random(f"{self.config.seed}:{number}")
        shortest = self.max_model_len
        for _ in range(DRAWS):
            examples = draw.sample(self.seeds, generate.seeds_per_request)
            prompt = list_prompt([seed.task for seed in examples], new_tasks(self.config))
            prompt_ids = encode_prompts(self.tokenizer, [prompt])[0]
            room = self.max_model_len - len(prompt_ids)
            shortest = min(shortest, len(prompt_ids))
            if room >= least_room:
                return Request(
                    number=number,
                    sampled=[seed.id for seed in examples],
                    prompt_ids=prompt_ids,
                    prompt_sha256=hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest(),
                    sampling=self._sampling(number, min(max_tokens, room)),
                )
        raise ConfigError(
            f"the shortest of {DRAWS} prompts has {shortest} tokens; of the {self.max_model_len} that the model takes "
            f"at least {least_room} must be left for the answer",
            where="generate.seeds_per_request",
            todo="lower it, choose shorter seed tasks, or raise engine.args.max_model_len",
        )

    def _sampling(self, number: int, max_tokens: int) -> Sampling:
        generate = self.config.generate
        return Sampling(
            max_tokens=max_tokens,
            temperature=generate.sampling.temperature,
            top_p=generate.sampling.top_p,
            presence_penalty=generate.sampling.presence_penalty,
            stop=tuple(stop_strings(generate.seeds_per_request, new_tasks(self.config))),
            seed=None if generate.sampling.seed is None else generate.sampling.seed + number,
        )


def new_tasks(config: Config) -> int:
    """Tasks asked for per answer: all of `tasks_per_request`, or what the examples leave of it, as published."""
    generate = config.generate
    examples = generate.seeds_per_request if generate.preset == "alpaca-original" else 0
    return generate.tasks_per_request - examples
