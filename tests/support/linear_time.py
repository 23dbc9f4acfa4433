"""Measures how the cost of a piece of work grows with its input."""

import time
from collections.abc import Callable


def least_seconds(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of three runs: one alone may be disturbed."""
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)
