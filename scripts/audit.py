"""Asks for known vulnerabilities of every locked package: `python -m scripts.audit`. Exits with 1 if there are any.

pip-audit asks the package index's database. A mirror often has none: then nothing is known, which is said and is no
failure.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.locks import ROOT, linux_pins

LIMIT_S = 180


def main() -> int:
    """Print what is known of the locked packages; 1 for a vulnerability, else 0."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted, found = Path(scratch) / "locked.txt", Path(scratch) / "audit.json"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in first_versions()), encoding="utf-8")
        command = [str(ROOT / ".venv/bin/uv"), "tool", "run", "--quiet", "pip-audit", "--no-deps", "--disable-pip"]
        command += ["--requirement", str(wanted), "--format", "json", "--output", str(found), "--timeout", "10"]
        command += ["--progress-spinner", "off"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            print(f"audit: not done: the database did not answer within {LIMIT_S} s")
            return 0
        if not found.exists():
            print(f"audit: not done: {(ended.stderr.strip().splitlines() or ['pip-audit wrote nothing'])[-1]}")
            return 0
        lines, code = verdict(json.loads(found.read_text(encoding="utf-8")))
    print("\n".join(lines))
    return code


def first_versions() -> list[tuple[str, str]]:
    """One version of each locked package: pip-audit takes no name twice."""
    return sorted(dict(sorted(linux_pins(), reverse=True)).items())


def verdict(report: Mapping[str, Any]) -> tuple[list[str], int]:
    """The lines to print for pip-audit's report, and the exit code."""
    asked = report["dependencies"]
    known = [one for one in asked if "vulns" in one]
    if not known:
        return [f"audit: not done: the database of this index knows none of the {len(asked)} packages"], 0
    bad = [
        f"  {one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in known
        for flaw in one["vulns"]
    ]
    unknown = len(asked) - len(known)
    head = f"audit: {len(known)} packages, {len(bad)} known vulnerabilities"
    return [head + (f"; {unknown} packages are not in the database" if unknown else ""), *bad], 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
