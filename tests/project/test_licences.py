"""The licences of all that is installed or locked: permissive, or named here with the reason why it stays."""

import importlib.metadata as metadata
import re
from fnmatch import fnmatch

import pytest

from scripts import locks

PERMISSIVE = re.compile(
    r"\b(?:apache|mit|bsd|isc|psf|python software foundation|zlib|unlicense|cc0|0bsd|hpnd|boost|bsl-1\.0|cnri|ncsa|"
    r"public domain|permission is hereby granted, free of charge|blueoak|postgresql|x11|curl)\b",
    re.IGNORECASE,
)
COPYLEFT = re.compile(
    r"GPL|\bEPL|\bCDDL|\bEUPL|SSPL|BUSL|Commons Clause|\bMPL|Mozilla|Proprietary|Commercial|\bNVIDIA|"
    r"CC[- ]BY[- ](?:SA|NC|ND)",
    re.IGNORECASE,
)

# None of it is in pacos or changed by it: each is a distribution of its own that pip installs.
NAMED = {
    "certifi": "MPL-2.0, a list of certificates; of the HTTP clients",
    "tqdm": "MPL-2.0 and MIT: file by file; progress bars",
    "pathspec": "MPL-2.0; mypy's, for development only",
    "hypothesis": "MPL-2.0; for development only",
    "pycountry": "LGPL-2.1, a module of its own that vLLM's dependencies import",
    "intel-*": "Intel's own licence: redistributable run-time libraries of torch and vLLM on CPUs",
    "nvidia-*": "NVIDIA's own licence: redistributable run-time libraries of torch on GPUs",
    "cuda-*": "NVIDIA's own licence: CUDA for Python, of torch and vLLM on GPUs",
    "quack-kernels": "Apache-2.0 in its repository, of which its metadata says nothing; vLLM's, on GPUs",
    "torchcodec": "BSD-3-Clause in its repository, of which its metadata says nothing; vLLM's, on GPUs",
}


def licence(of: metadata.Distribution) -> str:
    """What a distribution's metadata says of its licence, its classifiers included."""
    classifiers = [one for one in of.metadata.get_all("Classifier") or [] if one.startswith("License ::")]
    expression = of.metadata.get_all("License-Expression") or []
    text = "".join(of.metadata.get_all("License") or [])
    said = "; ".join([*expression, *classifiers, *text.strip().splitlines()[:1]])
    return said or licence_file(of)


def licence_file(of: metadata.Distribution) -> str:
    """The beginning of a distribution's own licence file; "" where it has none."""
    name = of.metadata["Name"].replace("-", "_").lower()
    own = [file for file in of.files or [] if re.match(rf"{name}-[^/]*info/.*licen[cs]e", str(file).lower())]
    return own[0].read_text()[:400] if own else ""


def licences() -> dict[str, str]:
    return {one.metadata["Name"].lower(): licence(one) for one in metadata.distributions() if one.metadata["Name"]}


def is_named(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in NAMED)


def is_permissive(text: str) -> bool:
    """Whether a licence is permissive. Of `A OR B` one of them is enough; of `A AND B` all must be."""
    return any(not COPYLEFT.search(choice) and PERMISSIVE.search(choice) for choice in re.split(r"\bOR\b", text))


def test_every_licence_is_permissive_or_named() -> None:
    odd = {name: text or "not named" for name, text in licences().items() if not is_permissive(text)}
    assert {name: text for name, text in odd.items() if not is_named(name)} == {}


def test_every_locked_licence_is_permissive_or_named() -> None:
    """Of the locks that are not installed here too; where the index states none, the installed files may."""
    stated = {name: text for (name, _), text in locks.read_licences().items()}
    silent = {name: licences().get(name, "") for name, text in stated.items() if not text}
    odd = {name: text or "not named" for name, text in (stated | silent).items() if not is_permissive(text)}
    assert {name: text for name, text in odd.items() if not is_named(name)} == {}


def test_the_list_of_licences_has_every_locked_package() -> None:
    """After a change of the locks: scripts/update --keep."""
    assert locks.linux_pins() - locks.read_licences().keys() == set()


@pytest.mark.parametrize(
    ("text", "permissive"),
    [
        ("MIT", True),
        ("License :: OSI Approved :: BSD License", True),
        ("Apache-2.0 AND MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND LGPL-2.1-only", False),
        ("License :: Other/Proprietary License", False),
        ("AGPL-3.0", False),
        ("CC-BY-NC-4.0", False),
        ("", False),
        ("Ask the author", False),
    ],
)
def test_copyleft_and_unknown_licences_are_told_from_permissive_ones(text: str, permissive: bool) -> None:
    assert is_permissive(text) is permissive
