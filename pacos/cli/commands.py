"""All commands, from the modules of this folder, as one command line."""

from typing import Any

import typer
from typer.core import TyperGroup

from pacos.cli import disk, evaluation, generation, judging, project, self_rewarding, starting, sweeping, training
from pacos.cli.stopping import Stopped


class StoppableGroup(TyperGroup):
    """Commands of which an interrupted one ends with Stopped: typer would take KeyboardInterrupt for itself."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as stop:
            raise Stopped from stop

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Stopped from stop


app = typer.Typer(
    cls=StoppableGroup,
    help="Raise an instruction-following model the Alpaca way, on hardware you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for stage in (project, starting, disk, generation, training, evaluation, sweeping, judging, self_rewarding):
    app.add_typer(stage.app)
