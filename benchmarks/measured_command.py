"""Runs a command and measures it: seconds, CPU seconds, and the most memory that one of its processes held."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

# A process of its own, as of several children `getrusage` knows the sums alone, and as a child begins with the memory
# of the process that starts it.
_MEASURED = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_mib": used.ru_maxrss // 1024}))
"""


def run_measured(command: Sequence[str]) -> dict[str, Any]:
    """{seconds, cpu_seconds, peak_mib} of a command that must succeed; what it prints to stdout is dropped."""
    began = time.perf_counter()
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return {"seconds": round(time.perf_counter() - began, 1), **json.loads(measured.stdout)}
