"""What every benchmark prints and leaves behind: its figures, with the machine and the versions that gave them."""

import json
import os
import platform
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pacos.files import write_json
from pacos.machine import git_state, hardware, library_versions

RESULTS = Path(__file__).parent / "results"
SHARED_DATA = Path(os.environ.get("PACOS_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def report(name: str, figures: dict[str, Any], *, settings: dict[str, Any], save: bool) -> None:
    """Print a benchmark's figures as JSON; with `save`, write them to `results/<name>.json` as well.

    `settings` is what the run was given (sizes, repetitions). Save full-size runs on a quiet machine only.
    """
    result = {
        "benchmark": name,
        "date": date.today().isoformat(),
        "figures": figures,
        "settings": settings,
        "machine": {**asdict(hardware()), "cpu": _cpu_name()},
        "versions": library_versions(),
        "git": asdict(git_state()),
    }
    print(json.dumps(result, ensure_ascii=False, indent=2))
    if save:
        write_json(RESULTS / f"{name}.json", result)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
