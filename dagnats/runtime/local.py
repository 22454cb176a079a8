"""Where the local server keeps its data, and how others on this machine find it: `server.json`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

SERVER_FILE = "server.json"


class LocalServer(msgspec.Struct, frozen=True, kw_only=True):
    """A running local server.

    Attributes:
        url: `nats://127.0.0.1:4222`.
        token: What lets a client in.
        pid: The process that serves.
        namespace: Where on it that serves; "" for no namespace.
    """

    url: str
    token: str
    pid: int
    namespace: str = ""


def data_dir() -> Path:
    """`DAGNATS_DATA_DIR`, else `$XDG_DATA_HOME/dagnats`, else `~/.local/share/dagnats`."""
    configured = os.environ.get("DAGNATS_DATA_DIR", "")
    if configured:
        return Path(configured).expanduser().absolute()
    share = os.environ.get("XDG_DATA_HOME", "") or "~/.local/share"
    return Path(share).expanduser().absolute() / "dagnats"


def find_local_server(folder: Path | None = None) -> LocalServer | None:
    """The local server, if its file is there and its process lives."""
    file = (folder or data_dir()) / SERVER_FILE
    try:
        server = msgspec.json.decode(file.read_bytes(), type=LocalServer)
        os.kill(server.pid, 0)
    except (OSError, msgspec.DecodeError):
        return None
    return server


def write_server_file(folder: Path, server: LocalServer) -> None:
    """Announce a server; the file holds its token, so only its owner may read it."""
    write_secret(folder / SERVER_FILE, msgspec.json.encode(server))


def remove_server_file(folder: Path) -> None:
    """Take the announcement back, unless another process has made its own."""
    server = find_local_server(folder)
    if server is None or server.pid == os.getpid():
        (folder / SERVER_FILE).unlink(missing_ok=True)


def write_secret(file: Path, data: bytes) -> None:
    """Write a file that only its owner can read, in one step: readers see the old or the new one."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    fresh.replace(file)
