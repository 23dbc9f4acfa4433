"""Workers as actors of a Ray cluster, on as many machines as it has."""

import contextlib
import logging
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

from pacos.config import FiltersConfig
from pacos.errors import ConfigError, RunError
from pacos.generate.workers import Worker, Workers


@contextlib.contextmanager
def ray_actors(address: str, count: int | None, filters: FiltersConfig, *, whole_tasks: bool) -> Iterator[Workers]:
    """`count` workers, or one for each of the cluster's CPUs, spread over its nodes; on exit they have ended.

    Every node needs pacos, of the same version. Raises ConfigError where Ray is not installed or the cluster has fewer
    CPUs, RunError where it does not answer.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("needs Ray, which is not installed", where="--ray", todo="pip install ray") from None
    try:
        _refuse_silent(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as failure:
        raise RunError(
            f"no Ray cluster that can be used: {failure}",
            where=f"--ray {address}",
            todo="start one with `ray start --head`, which prints its address",
        ) from failure
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if not 0 < (wanted := cpus if count is None else count) <= cpus:
            raise ConfigError(
                f"each worker takes a CPU, and the cluster has {cpus}",
                where=f"--workers {wanted}",
                todo="use fewer, or add nodes first",
            )
        actor = ray.remote(Worker).options(num_cpus=1, scheduling_strategy="SPREAD")
        yield Workers([_Actor(ray, actor.remote(filters, whole_tasks)) for _ in range(wanted)])
    finally:
        ray.shutdown()  # ends the actors


def _refuse_silent(address: str) -> None:
    """Raises OSError where nothing listens at host:port, for which Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


class _Actor:
    """An actor, and its answers that have not been asked after. It handles messages in the order of sending."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._answers: deque[Any] = deque()

    def send(self, kind: str, *rest: Any) -> None:
        answer = self._actor.handle.remote(kind, *rest)
        if kind != "extend":
            self._answers.append(answer)

    def receive(self) -> Any:
        try:
            answer = self._ray.get(self._answers.popleft())
        except self._ray.exceptions.RayError as failure:
            raise RunError(
                f"a worker of the Ray cluster failed: {failure}",
                todo="where its node was lost or ran out of memory, run the command again, with fewer --workers",
            ) from failure
        return answer
