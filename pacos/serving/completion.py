"""Sampling settings, which are sent with every request, and the completions that come back."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Every field is sent with every request, so that no server's default applies."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    choice: tuple[str, ...] = ()  # the only answers allowed; servers other than vLLM may pass over it
    stop_token_ids: tuple[int, ...] = ()  # besides EOS and the model's own; sent only where there are some
    forbidden: tuple[int, ...] = ()  # ids that are never drawn, by OpenAI's logit_bias; sent only where there are some

    def fields(self) -> dict[str, Any]:
        """The request's fields, each sent explicitly."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "stop": list(self.stop) or None,
            "seed": self.seed,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            **({"stop_token_ids": list(self.stop_token_ids)} if self.stop_token_ids else {}),
            **({"structured_outputs": {"choice": list(self.choice)}} if self.choice else {}),
            **({"logit_bias": {str(id): -100 for id in self.forbidden}} if self.forbidden else {}),
        }


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `finish_reason` is `stop`, `length`, or what else the server says; "" where it says nothing."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
