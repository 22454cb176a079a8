"""The embedded NATS server: the wheel's `nats-server` as a child process on a folder of its own.

The child dies with its parent, however that ends. A lock on the folder lives exactly as long as the child:
two servers on one store would destroy it, and nats-server itself does not check.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError, DagnatsError, UnavailableError
from dagnats.runtime.local import find_local_server, write_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

DEFAULT_PORT = 4222
HOST = "127.0.0.1"
MAX_PAYLOAD = "8MB"  # a definition may have 1 MiB, and NATS counts headers too
_READY_S = 60.0  # a store of millions of messages takes seconds to recover
DEFAULT_SYNC = "100ms"  # costs nothing measurable; a power cut can cost what was written since
_STOP_S = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What an operator may set of the server.

    Attributes:
        monitor_port: The port of its monitoring pages, on this machine alone; None for none.
        max_store_bytes: The most it stores; None for what the disk has: three quarters of that.
    """

    monitor_port: int | None = None
    max_store_bytes: int | None = None


DEFAULT_OPTIONS = ServerOptions()


class EmbeddedServer:
    """A nats-server with JetStream on `folder`.

    Args:
        folder: Holds its store, token, log and lock; made when missing.
        port: The client port. None takes 4222 when it is free, else the port it had last time, else any.
        sync_interval: How often writes are flushed to disk; `always` for every write.
        options: What else an operator has set.

    Attributes:
        most_bytes: How much it stores at most, once it has started.

    Raises (from `start`):
        ConflictError: Another server runs on the folder, or the port is busy.
        DagnatsError: There is no nats-server on this machine.
        UnavailableError: It did not get ready; the message has its last words.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        sync_interval: str = DEFAULT_SYNC,
        options: ServerOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.folder = folder.absolute()
        self.url = ""
        self.token = ""
        self.most_bytes = 0
        self._port = port
        self._sync_interval = sync_interval
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the server and return when it takes connections. Call it from the main thread (see `die_with_us`)."""
        binary = find_binary()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._lock()
        try:
            self.token = self._read_token()
            port = self._choose_port()
            self.most_bytes = self._options.max_store_bytes or _usable_bytes(self._store)
            self._write_config(port)
            self._spawn(binary, lock)
        finally:
            os.close(lock)  # the child has its own copy: the lock ends with the child
        try:
            self.url = await self._ready()
        except BaseException:
            await self.stop()
            raise
        (self.folder / "port").write_text(self.url.rpartition(":")[2])

    async def stop(self) -> None:
        """Stop the server and wait until it has written everything down. May be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await asyncio.to_thread(self._guard.wait)

    async def wait(self) -> None:
        """Return when the server has ended by itself, which it should not."""
        while self._process is not None and self._process.poll() is None:  # noqa: ASYNC110  # a child sets no event
            await asyncio.sleep(0.2)

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-5:])

    async def __aenter__(self) -> EmbeddedServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # -- before the start ------------------------------------------------------------------------------------

    @property
    def _store(self) -> Path:
        return self.folder / "jetstream"

    @property
    def _log(self) -> Path:
        return self.folder / "nats-server.log"

    def _lock(self) -> int:
        try:
            import fcntl
        except ImportError:
            raise DagnatsError(
                "the embedded NATS server needs file locks that this system does not have",
                hint="run a nats-server of your own and name it: --server nats://host:4222",
            ) from None
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            running = find_local_server(self.folder)
            who = f" (process {running.pid}, {running.url})" if running is not None else ""
            raise ConflictError(
                f"another server already runs on {self.folder}{who}",
                hint="use that one, stop it, or choose another folder with DAGNATS_DATA_DIR",
            ) from None
        return descriptor

    def _read_token(self) -> str:
        """The folder's token: kept, so that clients and workers reconnect after a restart."""
        file = self.folder / "token"
        with contextlib.suppress(OSError):
            token = file.read_text().strip()
            if token:
                return token
        token = secrets.token_hex(32)
        write_secret(file, token.encode())
        return token

    def _choose_port(self) -> int:
        if self._port is not None:
            if self._port and not _is_free(self._port):
                raise ConflictError(
                    f"port {self._port} is in use", hint="choose another one, or stop what listens there"
                )
            return self._port or -1
        if _is_free(DEFAULT_PORT):
            return DEFAULT_PORT
        with contextlib.suppress(OSError, ValueError):
            last = int((self.folder / "port").read_text())
            if _is_free(last):
                return last
        return -1

    def _write_config(self, port: int) -> None:
        ports = self.folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        text = f"""# written by dagnats serve at every start
listen: "{HOST}:{port}"
ports_file_dir: {msgspec.json.encode(str(ports)).decode()}
log_file: {msgspec.json.encode(str(self._log)).decode()}
logfile_size_limit: 10MB
max_payload: {MAX_PAYLOAD}
authorization {{ token: "{self.token}" }}
jetstream {{
  store_dir: {msgspec.json.encode(str(self._store)).decode()}
  sync_interval: {self._sync_interval}
  max_file_store: {self.most_bytes}
}}
{_monitoring(self._options)}"""
        write_secret(self.folder / "nats.conf", text.encode())

    # -- the child -------------------------------------------------------------------------------------------

    def _spawn(self, binary: Path, lock: int) -> None:
        linux = sys.platform == "linux"
        self._process = subprocess.Popen(
            [str(binary), "-c", str(self.folder / "nats.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            # A ctrl-C in the terminal is for us: the engine and the workers finish first, the server goes last.
            start_new_session=True,
            preexec_fn=die_with_us(os.getpid()) if linux else None,
        )
        if not linux:
            self._guard = _guard(self._process.pid)

    async def _ready(self) -> str:
        """The server's address, from the file it writes when JetStream has recovered."""
        assert self._process is not None, "the server was started"
        file = self.folder / "ports" / f"nats-server_{self._process.pid}.ports"
        deadline = asyncio.get_running_loop().time() + _READY_S
        while asyncio.get_running_loop().time() < deadline:
            if self._process.poll() is not None:
                raise UnavailableError(f"nats-server ended at once:\n{self.last_words()}")
            with contextlib.suppress(OSError, msgspec.DecodeError):
                ports = msgspec.json.decode(file.read_bytes(), type=dict[str, list[str]])
                return ports["nats"][0]
            await asyncio.sleep(0.005)
        raise UnavailableError(f"nats-server was not ready after {_READY_S:g} s:\n{self.last_words()}")


def _usable_bytes(store: Path) -> int:
    """Three quarters of what the disk has for a store, as nats-server reckons: but it would tell nobody."""
    there = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    return (shutil.disk_usage(store.parent).free + there) * 3 // 4


def _monitoring(options: ServerOptions) -> str:
    return "" if options.monitor_port is None else f'http: "{HOST}:{options.monitor_port}"\n'


def find_binary() -> Path:
    """The nats-server of the wheel, or one on the PATH.

    Raises:
        DagnatsError: There is none.
    """
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    for folder in (sysconfig.get_path("scripts"), Path(sys.executable).parent):
        candidate = Path(folder) / name
        if candidate.is_file():
            return candidate
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    raise DagnatsError(
        "there is no nats-server: its wheel does not exist for this platform, or is not installed",
        hint="install nats-server 2.14 or newer, or name a running one: --server nats://host:4222 (or DAGNATS_URL)",
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if sys.platform == "linux":
    # Loaded here, not between fork and exec, where taking a lock could hang the child.
    _prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_us(parent: int) -> Callable[[], None]:
    """Make the kernel stop the child when the thread that forked it ends, for the main thread: our process."""

    def in_child() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return in_child


def _guard(pid: int) -> subprocess.Popen[bytes]:
    """Where the kernel cannot: a shell that reads a pipe we hold. The pipe closes when we end, however."""
    script = f"cat >/dev/null; kill {pid} 2>/dev/null"
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
