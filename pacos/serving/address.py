"""A server's address: `http://host:port/v1`, or `http+unix://%2Fpath%2Fof%2Fsocket/v1` for one on a Unix socket.

The server that pacos starts listens on a socket in a folder that only this user can enter. A port can be taken by
another user before the server binds it, is open to every user and to any web page in their browsers, and requests to
it may go through a proxy.
"""

import contextlib
import ipaddress
import os
import socket
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pacos.errors import EngineError

UNIX = "http+unix"
SOCKET = "vllm.sock"
# Bytes of a socket's path, its closing zero included: 108 on Linux, 104 on macOS.
LONGEST_PATH = 103
# The longest of vLLM's own sockets beside ours has 36 letters.
ROOM_FOR_NAME = 40


def private_folder() -> Path:
    """Make a folder that only this user can enter, with a path short enough for sockets in it.

    Raises EngineError where there is no place for one.
    """
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if not place or len(os.fsencode(place)) + len("/pacos-xxxxxxxx/") + ROOM_FOR_NAME > LONGEST_PATH:
            continue
        with contextlib.suppress(OSError):
            if not _keeps_names(place):
                continue
            folder = Path(tempfile.mkdtemp(prefix="pacos-", dir=place))
            if stat.S_IMODE(folder.stat().st_mode) == 0o700 and _takes_sockets(folder):
                return folder
            folder.rmdir()
    raise EngineError(
        "there is no folder for the server's socket",
        where="TMPDIR",
        todo="set it to a folder on a local disk that you can write to, with a path of less than 48 letters",
    )


def _keeps_names(place: str) -> bool:
    """Whether no other user can put a folder of theirs in the place of one in it."""
    mode = os.stat(place).st_mode
    return not mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(mode & stat.S_ISVTX)


def _takes_sockets(folder: Path) -> bool:
    """Some network and shared folders take files but no sockets."""
    path = folder / "try"
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path))
        return True
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)


def socket_url(path: Path) -> str:
    """The URL of a server on a Unix socket, as `engine.url` takes it."""
    return f"{UNIX}://{quote(str(path), safe='')}/v1"


def socket_path(url: str) -> str | None:
    """The socket that a URL names; None for one of a host."""
    parts = urlsplit(url)
    return unquote(parts.netloc) if parts.scheme == UNIX else None


def http_url(url: str) -> str:
    """The URL that goes into the request itself: for a socket, that of some host."""
    parts = urlsplit(url)
    return parts._replace(scheme="http", netloc="localhost").geturl() if parts.scheme == UNIX else url


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for this URL; None for this machine, whatever it names."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == UNIX or is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address, in any of its forms, is this machine's own."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(OSError):
        name = socket.inet_ntoa(socket.inet_aton(name))  # 127.1, 0x7f000001
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified
    return False
