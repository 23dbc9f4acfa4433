"""`pacos push` and `train.push_to_hub`: uploads a finished adapter or model to the Hugging Face hub."""

import logging
from pathlib import Path

from pacos.errors import ConfigError, HubOutOfReach, ModelError

log = logging.getLogger("pacos")

# What the stage wrote and checked; nothing else in the folder is published.
PUBLISHED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md"]


def check_push(repository: str, where: str = "train.push_to_hub") -> None:
    """Raises ConfigError for what is no repository's name, and where there is no token of the hub; called before
    training, not after it."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError as failure:
        raise ConfigError(
            f"{repository!r} is no name of a repository: {failure}", where=where, todo="write it as owner/name"
        ) from None
    if not get_token():
        raise ConfigError("there is no token to push with", where=where, todo="`hf auth login`, or set HF_TOKEN")


def push(folder: Path, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
    """Upload what a training stage left in `folder` to `repository` in one commit; returns its address.

    A repository that does not exist is created, private unless `public`. Raises ModelError for a folder without weights
    or card and for what the hub refuses, HubOutOfReach where it does not answer.
    """
    from huggingface_hub import HfApi

    # HTTPError is that of the library's HTTP client, whichever it uses.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    if not any(folder.glob("*.safetensors")) or not (folder / "README.md").is_file():
        raise ModelError("holds no finished adapter or model: no weights, or no README.md", where=str(folder))
    check_push(repository, where="pacos push")
    hub = HfApi(endpoint=endpoint)
    try:
        name = hub.create_repo(repository, private=not public, exist_ok=True).repo_id
        commit = hub.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=PUBLISHED, commit_message="Trained by pacos"
        )
    except HfHubHTTPError as refused:
        raise ModelError(f"the hub refuses it: {str(refused).splitlines()[0]}", where=repository) from refused
    except ValueError as failure:  # The card's own header, and what the hub says of it.
        raise ModelError(f"cannot be pushed: {failure}", where=str(folder)) from failure
    except (OSError, HTTPError) as failure:
        raise HubOutOfReach(f"the hub is out of reach: {failure}", where=repository, todo="pacos push, later") from None
    log.info("pushed: %s", commit.commit_url)
    return str(commit.commit_url)
