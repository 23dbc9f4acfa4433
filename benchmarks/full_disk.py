"""A disk that fills up mid-run: `python -m benchmarks.full_disk [--kib 150 300 …] [--save]`; needs root, to mount.

The run directory is on a tmpfs of so many KiB; the scripted server repeats its answers. The command must end with an
error that says so, leave a journal of whole lines, and resume to the same dataset once there is space.
"""

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import generation_runs as runs
from benchmarks.result import report
from pacos.errors import RunError
from tests.support.scripted_server import ScriptedServer
from tests.support.tiny_llama import build_tiny_llama


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kib", type=int, nargs="+", default=[150, 300, 500, 800], help="sizes of the disk")
    parser.add_argument("--target", type=int, default=1500, help="tasks of the dataset")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.kib, options.target)
    report("full_disk", figures, settings={"kib": options.kib, "target": options.target}, save=options.save)


def measure(folder: Path, sizes: Sequence[int], target: int) -> dict[str, Any]:
    base, seeds = build_tiny_llama(folder / "base"), runs.write_seeds(folder / "seeds.jsonl")
    asked = {"base": base, "seeds": str(seeds), "target": target, "sampling": {"seed": 0}}
    with ScriptedServer() as server:
        engine = {"url": server.url, "max_in_flight": 8}
        expected = runs.run_whole(runs.write_experiment(folder, "whole", engine=engine, **asked))
        figures = {}
        for kib in sizes:
            with small_disk(folder / f"disk-{kib}", kib) as disk:
                figures[f"{kib}_kib"] = _fill_and_resume(
                    runs.write_experiment(disk, "run", engine=engine, **asked), disk, server, expected
                )
    return figures


def _fill_and_resume(
    experiment: Path, disk: Path, server: ScriptedServer, expected: dict[str, bytes]
) -> dict[str, Any]:
    status, errors = runs.finish(runs.start(experiment))
    journal = runs.dataset_of(experiment) / "responses.jsonl"
    kept, whole_lines = runs.answered(experiment), journal.read_bytes()[-1:] in (b"\n", b"")
    _mount("-o", "remount,size=64m", str(disk))
    since = len(server.bodies)
    final = runs.run_whole(experiment)
    return {
        "exit_status": status,
        "says_the_disk_is_full": "the disk is full" in errors,
        "traceback": "Traceback" in errors,
        "answers_kept": len(kept),
        "journal_ends_at_a_whole_line": whole_lines,
        "answered_requests_asked_again": len(kept.keys() & runs.requests_asked(server, since)),
        "same_bytes": final == expected,
    }


@contextlib.contextmanager
def small_disk(at: Path, kib: int) -> Iterator[Path]:
    """A tmpfs of `kib` KiB at `at`. Raises RunError where it cannot be mounted."""
    at.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(at))
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def _mount(*arguments: str) -> None:
    mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise RunError(f"cannot mount a tmpfs: {mounted.stderr.strip()}", todo="run this benchmark as root")


if __name__ == "__main__":
    main()
