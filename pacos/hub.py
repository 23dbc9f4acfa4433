"""Rows of a dataset of the Hugging Face hub, or of any local folder that `datasets` reads."""

from typing import Any

from pacos.errors import ConfigError, DataError, HubOutOfReach


def load_rows(name: str, *, split: str = "train", revision: str | None = None, where: str) -> Any:
    """A split as `datasets` has it. `where` is the option or config key that names it.

    Raises ConfigError for a split that is not there, DataError for a dataset that is not there or is broken,
    HubOutOfReach without network and cache.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(name, split=split, revision=revision)
    except (DatasetsError, FileNotFoundError) as failure:
        todo = "check its id and its files, or `hf auth login`"
        raise DataError(str(failure).splitlines()[0], where=name, todo=todo) from failure
    except ConnectionError as failure:
        raise HubOutOfReach("is not in the local cache and the hub is out of reach", where=name) from failure
    except ValueError as failure:
        raise ConfigError(str(failure).splitlines()[0], where=f"{where}: {name}") from failure
