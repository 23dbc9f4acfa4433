"""pacos raises an instruction-following model from a base model and a handful of human-written tasks.

The stages (`pacos.generate`, `pacos.train`, `pacos.evaluate`, `pacos.self_rewarding`) are folders of the repository's
root, linked in here. This package holds what they share and imports none of them, except `cli/` and `api.py`, the
public Python interface, inside their functions.
"""

__version__ = "0.2.0"
