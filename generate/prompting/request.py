"""Request i: which examples its prompt shows, and how it is sampled. A pure function of (config.seed, i, pool)."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.config import Config, SamplingConfig
from pacos.errors import ConfigError
from pacos.generate.prompting import classify, instances
from pacos.generate.prompting.alpaca import list_prompt, stop_strings
from pacos.generate.prompting.classify import Kind
from pacos.generate.prompting.instructions import instructions_prompt, instructions_stops
from pacos.generate.prompting.shots import Shots
from pacos.generate.seeds import Seed
from pacos.records import Task
from pacos.serving.engine import Sampling
from pacos.templates import encode_chats, encode_prompts, encode_responses

DRAWS = 200


@dataclass(frozen=True, slots=True)
class Request:
    """`number` is that of the list; `key` names the instruction that a request of a later phase is about."""

    number: int
    sampled: list[str]
    prompt_ids: list[int]
    prompt_sha256: str
    sampling: Sampling
    phase: str = "tasks"
    key: str = ""


@dataclass(frozen=True)
class RequestMaker:
    """What all requests of a run share. `max_model_len` counts prompt and completion tokens."""

    config: Config
    seeds: list[Seed]
    tokenizer: Any
    max_model_len: int

    def make(self, number: int, pool: Sequence[tuple[str, Task]] = ()) -> Request:
        """The request for list `number`, with examples of the seeds and of `pool`, the tasks accepted so far.

        Draws until the prompt leaves room for an answer; a context of ordinary length takes the first draw.
        Raises ConfigError when no draw does.
        """
        generate = self.config.generate
        least_room = self._least_room(generate.sampling)
        draw = random.Random(f"{self.config.seed}:{number}")
        shortest = self.max_model_len
        for _ in range(DRAWS):
            examples = self._draw(draw, pool)
            prompt, stops = self._list([task for _, task in examples])
            prompt_ids = self._encode(prompt)
            room = self.max_model_len - len(prompt_ids)
            shortest = min(shortest, len(prompt_ids))
            if room >= least_room:
                return Request(
                    number=number,
                    sampled=[id for id, _ in examples],
                    prompt_ids=prompt_ids,
                    prompt_sha256=_sha256(prompt),
                    sampling=self._sampling(generate.sampling, number, room, stops),
                    phase="instructions" if generate.preset == "self-instruct" else "tasks",
                )
        raise ConfigError(
            f"the shortest of {DRAWS} prompts has {shortest} tokens; of the {self.max_model_len} that the model takes "
            f"at least {least_room} must be left for the answer",
            where="generate.seeds_per_request",
            todo="lower it, choose shorter seed tasks, or raise engine.args.max_model_len",
        )

    def classify(self, number: int, key: str, instruction: str) -> Request:
        """Whether an instruction of list `number` is classification."""
        question = f"Task: {instruction}\nIs it classification?"
        return self._about(number, key, "classify", classify.SHOTS, question, self.config.generate.classify)

    def instances(self, number: int, key: str, instruction: str, kind: Kind) -> Request:
        """Instances of an instruction of list `number`."""
        question = f"Task: {instruction}\n"
        return self._about(
            number, key, "instances", instances.shots_for(kind), question, self.config.generate.instances
        )

    def _about(
        self, number: int, key: str, phase: str, shots: Shots, question: str, sampling: SamplingConfig
    ) -> Request:
        """A question behind as many of the shots as leave room for an answer."""
        for count in range(len(shots.blocks), -1, -1):
            prompt = shots.prompt(question, shots.blocks[:count])
            prompt_ids = self._encode(prompt)
            room = self.max_model_len - len(prompt_ids)
            if room >= self._least_room(sampling):
                stops = classify.STOPS if phase == "classify" else instances.STOPS
                sampled = self._sampling(sampling, number, room, stops)
                return Request(number, [], prompt_ids, _sha256(prompt), sampled, phase, key)
        raise ConfigError(
            f"the instruction alone fills the {self.max_model_len} tokens that the model takes",
            where=f"generate.{phase}.max_tokens",
            todo="lower it, or raise engine.args.max_model_len",
        )

    def _draw(self, draw: random.Random, pool: Sequence[tuple[str, Task]]) -> list[tuple[str, Task]]:
        generate = self.config.generate
        machine = draw.sample(pool, min(generate.machine_per_request, len(pool)))
        human = draw.sample(self.seeds, examples_per_request(self.config) - len(machine))
        examples = [(seed.id, seed.task) for seed in human] + machine
        if machine:
            draw.shuffle(examples)
        return examples

    def _list(self, examples: Sequence[Task]) -> tuple[str, list[str]]:
        """The prompt and its stops."""
        new = new_tasks(self.config)
        if self.config.generate.preset == "self-instruct":
            prompt = instructions_prompt([task.instruction for task in examples])
            return prompt, instructions_stops(len(examples) + new, self.config.model.chat)
        return list_prompt(examples, new), stop_strings(len(examples), new)

    def _encode(self, prompt: str) -> list[int]:
        """A base model goes on from the prompt; a chat model is shown it, and its answer opens with the last line."""
        if not self.config.model.chat:
            return encode_prompts(self.tokenizer, [prompt])[0]
        shown, _, opening = prompt.rpartition("\n")
        return encode_chats(self.tokenizer, [shown])[0] + encode_responses(self.tokenizer, [opening])[0]

    def _least_room(self, sampling: SamplingConfig) -> int:
        return min(sampling.max_tokens, self.max_model_len // 4)

    def _sampling(self, sampling: SamplingConfig, number: int, room: int, stops: list[str]) -> Sampling:
        return Sampling(
            max_tokens=min(sampling.max_tokens, room),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            presence_penalty=sampling.presence_penalty,
            stop=tuple(stops),
            seed=None if sampling.seed is None else sampling.seed + number,
        )


def examples_per_request(config: Config) -> int:
    return config.generate.seeds_per_request + config.generate.machine_per_request


def new_tasks(config: Config) -> int:
    """Tasks asked for per answer: all of `tasks_per_request`, or what the examples leave of it, as published."""
    generate = config.generate
    examples = examples_per_request(config) if generate.preset == "alpaca-original" else 0
    return generate.tasks_per_request - examples


def _sha256(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()
