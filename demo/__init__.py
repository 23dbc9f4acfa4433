"""The demonstration: a small base model, its text, and its evaluation suite, all composed in this repository.

Run from the repository's root: `python -m demo.base`, `python -m demo.suite`, `python -m demo.check`.
"""
