"""The `pacos` command. Stages are imported inside the commands, so that `pacos --help` answers at once.

The commands themselves are imported once a signal can be answered: whoever presses Ctrl-C early sees one line, too.
"""

import errno
import io
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

from pacos.cli.stopping import Stopped, stopped_by_signals
from pacos.disk import disk_error
from pacos.errors import PacosError
from pacos.terminal import EscapingFormatter, complain, print_traceback, quiet_libraries

# Errors of a file that no code can prevent: an argument names it, or the disk is what it is.
OF_THE_MACHINE = (errno.ENAMETOOLONG, errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ELOOP)


def main() -> None:
    """Run the command line: an error that a user can fix is one message and exit code 2, any other a traceback.

    SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is stopped, and the exit code is 128 + the signal.
    """
    sys.excepthook = print_traceback
    quiet_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every locale has all characters
    log = logging.getLogger("pacos")
    log.setLevel(logging.INFO)
    console = logging.StreamHandler()
    console.setFormatter(EscapingFormatter("pacos: %(message)s"))
    log.addHandler(console)
    try:
        with stopped_by_signals() as received:
            from pacos.cli.commands import app

            app()
    except PacosError as error:
        complain(error)
        sys.exit(2)
    except OSError as failure:
        if failure.errno not in OF_THE_MACHINE or failure.filename is None:
            raise
        complain(disk_error(failure, Path(os.fsdecode(failure.filename)), doing="open"))
        sys.exit(2)
    except (Stopped, KeyboardInterrupt):
        from pacos.serving import guard

        # A coroutine that was made when the interrupt came.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        if guard.MARK not in os.environ:  # a command of the loop, which says it itself
            complain("stopped; rerun the same command to resume")
        # An interrupt that left some exec() of a library's has Python end by SIGINT, caught or not; this clears that.
        exec("")
        sys.exit(128 + (received or [signal.SIGINT])[0])
    finally:
        log.removeHandler(console)
