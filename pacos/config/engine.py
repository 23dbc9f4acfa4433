"""`model` and `engine`: the base model, and the server that answers for it."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from pacos.config.section import Count, NotNegative, Section

# Reading the prompts of all requests in flight takes a while, and then a token a second is slow.
SILENCE_S = 120

# The type of an error that does not show the value.
UNSAID = "unsaid_value"
NO_ADDRESS = "must be an address such as http://127.0.0.1:8000/v1"


def _complaint(url: str) -> str:
    """What is wrong with a server's address; "" if nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return NO_ADDRESS
    if parts.scheme not in ("http", "https", "http+unix") or not host or not url.isprintable() or " " in url:
        return NO_ADDRESS
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "must have no user, password, ? or #: put the key into the variable that engine.api_key_env names"
    return ""


class ModelConfig(Section):
    """The base model that the experiment starts from."""

    base: str = Field(description="Hub id or local folder of the base model.")
    revision: str | None = Field(None, description="Commit, branch or tag of `base` on the hub; main if unset.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Type of weights and arithmetic; auto: the checkpoint's, and float32 on a CPU without AMX."
    )
    trust_remote_code: bool = Field(False, description="Run model code that comes with the checkpoint.")
    chat: bool = Field(False, description="The model that generates is asked through its own chat template.")


class TokenPrice(Section):
    """Price of a million tokens, in the currency of generate.budget.money."""

    prompt: NotNegative = Field(description="Price of a million prompt tokens.")
    completion: NotNegative = Field(description="Price of a million generated tokens.")


class EngineConfig(Section):
    """The model server. Without `url`, one is started on this machine and stopped at the end."""

    model: str | None = Field(None, description="The model that generates; `model.base` unless given.")
    url: str | list[str] | None = Field(
        None,
        description="An OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1, or http+unix://%2Fpath%2Fof.sock/v1; "
        "or several of the same model: requests go to the one with the fewest in flight.",
    )
    api_key_env: str = Field(
        "VLLM_API_KEY", description="Environment variable with `url`'s key: VLLM_…KEY or PACOS_…KEY, no other secret."
    )
    max_in_flight: Count | Literal["auto"] = Field(
        "auto",
        description="Requests at a time, over all servers; auto: 64 for each of `url`, and on a CPU engine what its "
        "cache holds, 32 at most.",
    )
    data_parallel: Count | Literal["auto"] = Field(
        "auto", description="Replicas over the GPUs; auto: one a GPU if the model fits one, else tensor parallel."
    )
    deterministic: bool = Field(
        False,
        description="The same request gets the same answer, however many are in flight: slower on a GPU (vLLM's "
        "batch-invariant mode, with seeds sent), several times slower on a CPU (one request at a time, float32).",
    )
    args: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Flags for vllm serve, but for where it listens."
    )
    start_timeout_s: Count = Field(900, description="Seconds that a server may take to start.")
    request_timeout_s: Count = Field(1800, description="Seconds that one request may take.")
    silence_timeout_s: Count | Literal["auto"] = Field(
        "auto",
        description="Seconds in which a server must reply to something; auto: 120, and one a token that it may write.",
    )
    price_per_gpu_hour: NotNegative | None = Field(None, description="Price of the engine's GPUs for an hour.")
    price_per_million_tokens: TokenPrice | None = Field(None, description="Of a server that bills by the token.")

    @field_validator("url", mode="before")
    @classmethod
    def _are_addresses(cls, url: Any) -> Any:
        """The addresses; an empty text is none. Raises an error that does not repeat one: it may have a key in it."""
        if url == "":
            return None
        addresses = url if isinstance(url, list) else [] if url is None else [url]
        if url == []:
            raise PydanticCustomError(UNSAID, "must have an address at least; null starts a server on this machine")
        if not all(isinstance(address, str) for address in addresses):
            raise PydanticCustomError(UNSAID, f"{NO_ADDRESS}, or a list of such")
        if complaint := next(filter(None, map(_complaint, addresses)), ""):
            raise PydanticCustomError(UNSAID, complaint)
        if len({address.rstrip("/") for address in addresses}) < len(addresses):
            raise PydanticCustomError(UNSAID, "has an address twice")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_key_for_engines(cls, name: str) -> str:
        """Raises ValueError for any other secret of the environment: an experiment says where the key is sent."""
        if not re.fullmatch(r"(VLLM|PACOS)_(\w+_)?KEY", name):
            raise ValueError(
                "must name a key that is meant for a model server, VLLM_…KEY or PACOS_…KEY (for another variable: "
                "export PACOS_KEY=$NAME)"
            )
        return name

    @property
    def flags(self) -> dict[str, str | int | float | bool]:
        """`args`, named as vLLM's command line does."""
        return {name.replace("_", "-"): value for name, value in self.args.items()}

    @property
    def urls(self) -> list[str]:
        """The addresses in `url`; none where a server is started here."""
        return [self.url] if isinstance(self.url, str) else list(self.url or [])

    def silence_s(self, answer_tokens: int) -> int:
        """Seconds without any reply after which a server that should write answers of so many tokens is given up."""
        asked = SILENCE_S + answer_tokens if self.silence_timeout_s == "auto" else self.silence_timeout_s
        return min(asked, self.request_timeout_s)

    @property
    def concurrency(self) -> str:
        """For plans, made before the engine is known."""
        return "as many in flight as it holds" if self.max_in_flight == "auto" else f"{self.max_in_flight} in flight"
