"""The `pacos` command. Stages are imported inside the commands, so that `pacos --help` answers at once.

The commands themselves are imported once a signal can be answered: whoever presses Ctrl-C early sees one line, too.
"""

import logging
import os
import signal
import sys

from pacos.cli.stopping import Stopped, stopped_by_signals
from pacos.errors import PacosError


def main() -> None:
    """Run the command line: an error that a user can fix is one message and exit code 2, any other a traceback.

    SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is stopped, and the exit code is 128 + the signal.
    """
    log = logging.getLogger("pacos")
    log.setLevel(logging.INFO)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("pacos: %(message)s"))
    log.addHandler(console)
    try:
        with stopped_by_signals() as received:
            from pacos.cli.commands import app

            app()
    except PacosError as error:
        print(f"pacos: {error}", file=sys.stderr)
        sys.exit(2)
    except (Stopped, KeyboardInterrupt):
        from pacos.serving import guard

        if guard.MARK not in os.environ:  # a command of the loop, which says it itself
            print("pacos: stopped; rerun the same command to resume", file=sys.stderr)
        sys.exit(128 + (received or [signal.SIGINT])[0])
    finally:
        log.removeHandler(console)
