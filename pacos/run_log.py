"""`log.txt` of a run: what is logged while it is open, escaped, with a disk that fails said once."""

import logging
import os
from io import TextIOWrapper
from pathlib import Path

from pacos.disk import disk_error, open_to_append
from pacos.terminal import EscapingFormatter, complain


class RunLog(logging.FileHandler):
    """Appends to a file. Raises RunError where it cannot be opened, or is a link: that may point to anything."""

    def __init__(self, path: Path) -> None:
        self._path, self._is_whole = path, True
        super().__init__(path, encoding="utf-8")
        self.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(message)s"))

    def _open(self) -> TextIOWrapper:
        return os.fdopen(open_to_append(self._path), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that the log has gaps; the work itself goes on, and fails where its own files cannot be written."""
        if self._is_whole:
            self._is_whole = False
            complain(f"{self._path}: lines are missing from here on, it cannot be written")

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost."""
        try:
            super().close()
        except OSError as failure:
            complain(disk_error(failure, self._path))
