"""The HTTP client of an engine, with a connection for every request in flight."""

import resource
from typing import Any

from pacos.errors import ConfigError

SPARE_FILES = 256  # what a process has open besides its connections


def open_client(url: str, key: str, *, connections: int, timeout_s: float) -> Any:
    """An `openai.AsyncOpenAI`, which by itself opens 1,000 connections at most and keeps 100 of them open.

    It does not retry: the engine does, where a dead server can be told from a busy one.
    Raises ConfigError where the system does not let this process open so many files.
    """
    import openai

    _allow_open_files(connections + SPARE_FILES)
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=connections, max_keepalive_connections=connections)
    http = openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout_s)
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout_s, http_client=http)


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ConfigError(
            f"this system lets a process open {hard} files, and {count} are needed",
            where="engine.max_in_flight",
            todo=f"lower it to {hard - SPARE_FILES}, or raise the limit (ulimit -n)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
