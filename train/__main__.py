"""`python -m pacos.train` and `train.py`: the process that `accelerate launch` starts once per device.

What imports tqdm is imported inside the functions, so that libraries' bars can be switched off before.
"""

import logging
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from pacos.config import Config
from pacos.errors import PacosError
from pacos.runs import Run
from pacos.serving import guard
from pacos.shipped import shipped_configs
from pacos.terminal import EscapingFormatter, complain, quiet_libraries, say
from pacos.train.arguments import command_line, parse_arguments
from pacos.train.distributed import ERROR_FILE


def main(arguments: Sequence[str]) -> int:
    """Train; returns exit code 0, or 2 for an error that the user can fix, printed without a traceback."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(command_line().format_help() + "\n" + usage_of_configs())
        return 0
    quiet_libraries()
    process = int(os.environ.get("RANK", 0))
    if guard.MARK in os.environ:  # `pacos train` launched it
        guard.die_with_parent()
    console = logging.StreamHandler()
    console.setFormatter(EscapingFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[console], level=logging.WARNING)
    logging.getLogger("pacos").setLevel(logging.INFO if process == 0 else logging.WARNING)
    try:
        config, is_dry_run = parse_arguments(arguments)
        if not is_dry_run:
            train_process(config, process)
        elif process == 0:
            from pacos.train import launch

            say("\n".join(launch.plan(config)))
    except PacosError as error:
        report_error(error, process)
        return 2
    return 0


def train_process(config: Config, process: int) -> None:
    """Train; the main process opens the run directory, the others only compute."""
    from pacos.train import pipeline

    if process > 0:
        pipeline.main(config, None)
        return
    with Run.open(config) as run:
        pipeline.main(config, run)


def report_error(error: PacosError, process: int) -> None:
    """Print the error, or pass it to `pacos train`, which prints it last, after the output of accelerate and torch."""
    if process > 0:
        complain(f"process {process}: {error.what}")
    elif file := os.environ.get(ERROR_FILE):
        Path(file).write_bytes(pickle.dumps(error))
    else:
        complain(error)


def usage_of_configs() -> str:
    """The names of the shipped configs, for the usage message."""
    names = "\n".join(f"  {config.name}" for config in shipped_configs())
    return f"Configs that pacos comes with; `pacos init NAME --from CONFIG` writes one of them to NAME.yaml:\n{names}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
