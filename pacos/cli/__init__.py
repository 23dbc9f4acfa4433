"""The `pacos` command. Stages are imported inside the commands, so that `pacos --help` answers at once."""

import logging
import sys

import typer

from pacos.cli import evaluation, generation, judging, project, self_rewarding, training
from pacos.errors import PacosError

app = typer.Typer(
    help="Raise an instruction-following model the Alpaca way, on hardware you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for stage in (project, generation, training, evaluation, judging, self_rewarding):
    app.add_typer(stage.app)


def main() -> None:
    """Run the command line: an error that a user can fix is one message and exit code 2, any other a traceback."""
    log = logging.getLogger("pacos")
    log.setLevel(logging.INFO)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("pacos: %(message)s"))
    log.addHandler(console)
    try:
        app()
    except PacosError as error:
        print(f"pacos: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pacos: stopped; rerun the same command to resume", file=sys.stderr)
        sys.exit(130)
    finally:
        log.removeHandler(console)
