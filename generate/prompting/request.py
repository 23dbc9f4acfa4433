"""Requests: which examples a list's prompt shows, and how it is sampled.

The request for list i is a pure function of (config.seed, i, pool).
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pacos.config import Config, GenerateConfig, SamplingConfig
from pacos.errors import ConfigError
from pacos.generate.presets import preset
from pacos.generate.prompting.follow_ups import FollowUp
from pacos.records import Task
from pacos.seeds import Seed
from pacos.serving.completion import Sampling
from pacos.tokenization import encode_chats, encode_prompts

DRAWS = 200


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request as it is sent. `number` is that of the list; `key` is the instruction that a follow-up is about.

    `sampled` are the ids of the examples in the prompt.
    """

    number: int
    prompt_ids: list[int]
    prompt_sha256: str
    sampling: Sampling
    phase: str
    sampled: list[str] = field(default_factory=list)
    key: str = ""


@dataclass(frozen=True)
class RequestMaker:
    """Makes a run's requests. `max_model_len` counts prompt and completion tokens."""

    config: Config
    seeds: list[Seed]
    tokenizer: Any
    max_model_len: int

    def make(self, number: int, pool: Sequence[tuple[str, Task]] = ()) -> GenerationRequest:
        """The request for list `number`, with examples from the seeds and from `pool`, the tasks accepted so far.

        Draws examples until the prompt leaves room for an answer; with an ordinary context length the first draw does.
        Raises ConfigError when none of the draws does.
        """
        sampling, lists = self.config.generate.sampling, preset(self.config.generate.preset).lists
        least_room = self._least_room(sampling)
        new = new_items(self.config.generate)
        draw = random.Random(f"{self.config.seed}:{number}")
        shortest = self.max_model_len
        for _ in range(DRAWS):
            examples = self._draw(draw, pool)
            prompt = lists.prompt([task for _, task in examples], new)
            prompt_ids = self._encode(prompt)
            room = self.max_model_len - len(prompt_ids)
            shortest = min(shortest, len(prompt_ids))
            if room >= least_room:
                stops = lists.stops(len(examples) + new, self.config.model.chat)
                return GenerationRequest(
                    number=number,
                    prompt_ids=prompt_ids,
                    prompt_sha256=_sha256(prompt),
                    sampling=replace(self._sampling(sampling, number, room, stops), forbidden=self._forbidden()),
                    phase=lists.phase,
                    sampled=[id for id, _ in examples],
                )
        raise ConfigError(
            f"the shortest of {DRAWS} prompts has {shortest} tokens; of the {self.max_model_len} that the model takes "
            f"at least {least_room} must be left for the answer",
            where="generate.seeds_per_request",
            todo="lower it, choose shorter seed tasks, or raise engine.args.max_model_len",
        )

    def follow_up(self, number: int, key: str, instruction: str, follow_up: FollowUp) -> GenerationRequest:
        """A follow-up about the instruction `key` of list `number`, with as many shots as leave room for an answer.

        Raises ConfigError when not even a prompt without shots does.
        """
        sampling: SamplingConfig = getattr(self.config.generate, follow_up.phase)
        for count in range(len(follow_up.shots), -1, -1):
            prompt = follow_up.prompt(instruction, follow_up.shots[:count])
            prompt_ids = self._encode(prompt)
            room = self.max_model_len - len(prompt_ids)
            if room >= self._least_room(sampling):
                return GenerationRequest(
                    number=number,
                    prompt_ids=prompt_ids,
                    prompt_sha256=_sha256(prompt),
                    sampling=self._sampling(sampling, number, room, follow_up.stops),
                    phase=follow_up.phase,
                    key=key,
                )
        raise ConfigError(
            f"the instruction alone fills the {self.max_model_len} tokens that the model takes",
            where=f"generate.{follow_up.phase}.max_tokens",
            todo="lower it, or raise engine.args.max_model_len",
        )

    def _draw(self, draw: random.Random, pool: Sequence[tuple[str, Task]]) -> list[tuple[str, Task]]:
        generate = self.config.generate
        machine = draw.sample(pool, min(generate.machine_per_request, len(pool)))
        human = draw.sample(self.seeds, examples_per_request(generate) - len(machine))
        examples = [(seed.id, seed.task) for seed in human] + machine
        if machine:
            draw.shuffle(examples)
        return examples

    def _encode(self, prompt: str) -> list[int]:
        """A base model continues the prompt; a chat model is sent all but its last line, which begins the answer."""
        if not self.config.model.chat:
            return encode_prompts(self.tokenizer, [prompt])[0]
        shown, _, opening = prompt.rpartition("\n")
        return encode_chats(self.tokenizer, [shown], opening)[0]

    def _forbidden(self) -> tuple[int, ...]:
        """The ids that no list may hold: EOS with `generate.forbid_eos`, where the tokenizer has one."""
        eos: int | None = self.tokenizer.eos_token_id
        return (eos,) if self.config.generate.forbid_eos and eos is not None else ()

    def _least_room(self, sampling: SamplingConfig) -> int:
        return min(sampling.max_tokens, self.max_model_len // 4)

    def _sampling(self, sampling: SamplingConfig, number: int, room: int, stops: Sequence[str]) -> Sampling:
        return Sampling(
            max_tokens=min(sampling.max_tokens, room),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            presence_penalty=sampling.presence_penalty,
            stop=tuple(stops),
            seed=None if (seed := self._seed(sampling)) is None else seed + number,
        )

    def _seed(self, sampling: SamplingConfig) -> int | None:
        """`sampling.seed`; with `engine.deterministic` the experiment's, as vLLM's own depends on what came before."""
        return self.config.seed if sampling.seed is None and self.config.engine.deterministic else sampling.seed


def examples_per_request(generate: GenerateConfig) -> int:
    """Number of examples in a list's prompt."""
    return generate.seeds_per_request + generate.machine_per_request


def new_items(generate: GenerateConfig) -> int:
    """Number of new items that each list asks for."""
    return preset(generate.preset).new_items(generate.tasks_per_request, examples_per_request(generate))


def _sha256(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()
