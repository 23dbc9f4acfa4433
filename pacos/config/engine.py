"""`model` and `engine`: the base model, and the server that answers for it."""

from typing import Literal

from pydantic import Field

from pacos.config.section import Count, NotNegative, Section


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
    url: str | None = Field(
        None,
        description="An OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1, or http+unix://%2Fpath%2Fof.sock/v1.",
    )
    api_key_env: str = Field("VLLM_API_KEY", description="Environment variable that holds `url`'s key.")
    max_in_flight: Count | Literal["auto"] = Field(
        "auto", description="Requests at a time; auto: 64, and on a CPU engine what its cache holds, 32 at most."
    )
    data_parallel: Count | Literal["auto"] = Field(
        "auto", description="Replicas over the GPUs; auto: one a GPU if the model fits one, else tensor parallel."
    )
    args: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Flags for vllm serve, but for where it listens."
    )
    start_timeout_s: Count = Field(900, description="Seconds that a server may take to start.")
    request_timeout_s: Count = Field(1800, description="Seconds that one request may take.")
    price_per_gpu_hour: NotNegative | None = Field(None, description="Price of the engine's GPUs for an hour.")
    price_per_million_tokens: TokenPrice | None = Field(None, description="Of a server that bills by the token.")

    @property
    def concurrency(self) -> str:
        """For plans, made before the engine is known."""
        return "as many in flight as it holds" if self.max_in_flight == "auto" else f"{self.max_in_flight} in flight"
