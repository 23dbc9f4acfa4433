"""`python -m benchmarks.fuzz`: see the package."""

import argparse
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzz import __doc__ as description
from benchmarks.fuzz.config import fuzz_config
from benchmarks.fuzz.files import fuzz_files
from benchmarks.fuzz.outcomes import Failure
from benchmarks.fuzz.replies import fuzz_replies
from benchmarks.result import report

Family = Callable[..., tuple[dict[str, int], list[Failure]]]
FAMILIES: dict[str, Family] = {"files": fuzz_files, "config": fuzz_config, "replies": fuzz_replies}


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.getLogger("pacos").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(description or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="cases of each family")
    parser.add_argument("--of", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--only", nargs="+", help="subjects whose names begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, help="folder for the cases that failed; a new one unless given")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    folder = options.failures or Path(tempfile.mkdtemp(prefix="pacos-fuzz-failures-"))
    figures: dict[str, Any] = {}
    for family in options.of:
        counts, failures = FAMILIES[family](options.cases, options.seed, options.only)
        figures[family] = {"cases": options.cases, **counts}
        for failure in failures:
            failure.write(folder)
        _print(failures)
    report("fuzz", figures, settings={"cases": options.cases, "seed": options.seed}, save=options.save)
    if any(figure["failed"] for figure in figures.values()):
        raise SystemExit(f"the cases that failed are in {folder}")


def _print(failures: list[Failure]) -> None:
    """The failures by subject and first line, with how often and an example."""
    kinds = Counter((failure.subject, failure.what.partition("\n")[0][:160]) for failure in failures)
    example = {(one.subject, one.what.partition("\n")[0][:160]): one.how for one in failures}
    for (subject, what), count in sorted(kinds.items()):
        print(
            f"{subject:28} {count:5}  {what}\n{'':36}e.g. {example[subject, what][:120]}".encode(
                "ascii", "backslashreplace"
            ).decode()
        )


if __name__ == "__main__":
    main()
