"""Which of a server's models answers for the model that is asked for, and whether several servers' are the same."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pacos.errors import EngineError
from pacos.serving.replies import ServedModel

log = logging.getLogger("pacos")


def served_base(models: Sequence[ServedModel], wanted: str, url: str) -> ServedModel:
    """The model that goes by the name `wanted`, or the only one, with a warning that it goes by another name.

    Raises EngineError where several are served, and none by this name.
    """
    bases = [model for model in models if not model.parent] or list(models)
    if named := [model for model in bases if _is(model.id, wanted) or _is(model.root, wanted)]:
        return named[0]
    if len({model.root or model.id for model in bases}) > 1:
        raise EngineError(
            f"the server does not serve {wanted!r}, but {', '.join(map(str, bases[:10]))}",
            where=url,
            todo="name one of them in the experiment, or start the server with the model",
        )
    log.warning(
        "%s serves %s, and the experiment names %s: where these are different weights, another model answers",
        url, bases[0], wanted,
    )  # fmt: skip
    return bases[0]


def check_same_model(one: ServedModel, where: str, other: ServedModel, there: str) -> None:
    """Raises EngineError where two servers serve models of different names, or from folders of different names."""
    if one.id == other.id and (not one.root or not other.root or _is(one.root, other.root)):
        return
    raise EngineError(
        f"serves {one}, and {there} serves {other}",
        where=where,
        todo="start all servers of `engine.url` with the same model and the same --served-model-name",
    )


def _is(served: str, wanted: str) -> bool:
    """Whether two names mean one model: the same id, the same folder, or a copy in a folder of the same name."""
    if not served:
        return False
    return served == wanted or Path(served).expanduser().resolve().name == Path(wanted).expanduser().resolve().name
