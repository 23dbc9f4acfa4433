"""pacos raises an instruction-following model from a base model and a handful of human-written tasks.

The stages (`pacos.generate`, `pacos.train`, `pacos.evaluate`) lie at the repository's root and are linked in
here. This package holds what they share and imports none of them, except `cli.py`, lazily.
"""

__version__ = "0.1.0"
