"""Where pacos grows: every choice that a configuration or an option offers, by name, and where its object is.

Adding one is a file that defines the object and a line here; docs/architecture.md has an example of each. Places are
`module:object`, imported when one is chosen, so that the shared modules need not import a stage.
"""

import importlib
from collections.abc import Mapping
from typing import Any

TEMPLATES = {
    "alpaca": "pacos.templates:ALPACA",
    "self-instruct": "pacos.templates:SELF_INSTRUCT",
}


def load(table: Mapping[str, str], name: str) -> Any:
    """The object that `table` has under `name`. Raises KeyError for a name that it has not."""
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
