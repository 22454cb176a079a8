"""`dagnats` in processes of their own, without a second of imports for each: a nursery has imported it, and forks.

A child is as good as `python -m dagnats …`: it has its own folder, environment, arguments and streams, and its
`__main__` runs anew. What starts the interpreter itself (how long it takes) is tested without a nursery.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast

from dagnats.cli import app
from dagnats.model.schema import json_schema

ROOT = Path(__file__).resolve().parent.parent.parent
_IMPORTED = (
    "croniter",
    "dagnats",
    "dagnats.cli.build",
    "dagnats.cli.register",
    "dagnats.cli.serve",
    "dagnats.cli.worker",
    "dagnats.dsl.discover",
    "dagnats.runtime.serve",
    "dagnats.runtime.worker",
    "jsonschema",
    "rich.markdown",
    "typer._adapters",
)
_LARGEST = 1 << 20  # bytes of a wish: arguments, and an environment


class Child:
    """A process of the nursery, with the part of `subprocess.Popen` that tests use.

    Attributes:
        pid: Its process id.
        returncode: How it ended, as `Popen` says it; None while it runs.
        stdout: What it prints, when that is a pipe.
        stderr: The same for what it complains of.
    """

    def __init__(self, line: socket.socket, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self._line = line
        self.pid = int(self._hears())
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._hears()))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("dagnats", timeout or 0) from None
            self._line.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed since the last look."""
        said: dict[str, str] = {}

        def read(name: str, pipe: IO[str] | None) -> None:
            if pipe is not None and not pipe.closed:
                with pipe:
                    said[name] = pipe.read()

        readers = [threading.Thread(target=read, args=it) for it in (("out", self.stdout), ("err", self.stderr))]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return said.get("out", ""), said.get("err", "")

    def _hears(self) -> str:
        heard = self._line.recv(64).decode()
        assert heard, "the nursery is gone"
        return heard


def start(
    *words: str,
    cwd: Path,
    env: dict[str, str],
    stdout: int | IO[str] | IO[bytes],
    stderr: int | IO[str] | IO[bytes],
    module: str = "dagnats",
) -> Child:
    """Start `dagnats`, or another module that can be run, with some words on its line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out, read_out = _stream(stdout)
    err, read_err = _stream(stderr)
    wish = json.dumps(_Wish(module, [*words], str(cwd), env)).encode()
    try:
        socket.send_fds(_nursery(), [wish], [theirs.fileno(), out, err])
    finally:
        theirs.close()
        for descriptor, pipe in ((out, read_out), (err, read_err)):
            if pipe is not None:
                os.close(descriptor)
    return Child(ours, read_out, read_err)


def _stream(wanted: int | IO[str] | IO[bytes]) -> tuple[int, IO[str] | None]:
    """The child's end of a stream, and ours when it is a pipe."""
    if not isinstance(wanted, int):
        return wanted.fileno(), None
    assert wanted == subprocess.PIPE, "a pipe or a file"
    read, write = os.pipe()
    return write, os.fdopen(read, encoding="utf-8")


@cache
def _nursery() -> socket.socket:
    """The nursery of this process that runs tests. However we end, it ends: nobody holds our end of its line then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        nursery.wait()

    atexit.register(end)
    return ours


# -- in the nursery --------------------------------------------------------------------------------------------


class _Wish(NamedTuple):
    """What is to run, and where."""

    module: str
    words: list[str]
    cwd: str
    env: dict[str, str]


class _Born(Exception):
    """We are the child now: leave everything of the nursery."""

    def __init__(self, wish: _Wish) -> None:
        super().__init__()
        self.wish = wish


class _Nursery:
    """Forks a child for each wish that comes on a line, and tells how each of them ends."""

    def __init__(self, wishes: socket.socket) -> None:
        self._wishes = wishes
        self._lines: dict[int, socket.socket] = {}
        self._woken, waker = socket.socketpair()
        for end in (self._woken, waker):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(waker.fileno())
        self._waker = waker

    def serve(self) -> None:
        """Until nobody has a wish any more; who still runs then is nobody's, and ends. Raises _Born in every child."""
        with selectors.DefaultSelector() as looking:
            looking.register(self._wishes, selectors.EVENT_READ)
            looking.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in looking.select():
                    if key.fileobj is self._woken:
                        self._reap()
                    elif not self._wish():
                        for pid in self._lines:
                            os.kill(pid, signal.SIGKILL)
                        return

    def _wish(self) -> bool:
        wish, descriptors, _, _ = socket.recv_fds(self._wishes, _LARGEST, 3)
        if not wish:
            return False
        line, out, err = descriptors
        pid = os.fork()
        if pid == 0:
            for at, descriptor in ((1, out), (2, err)):
                os.dup2(descriptor, at)
            for descriptor in descriptors:
                os.close(descriptor)
            self._leave()
            raise _Born(_Wish(*json.loads(wish)))
        os.close(out)
        os.close(err)
        told = socket.socket(fileno=line)
        self._lines[pid] = told
        told.send(b"%d" % pid)
        return True

    def _leave(self) -> None:
        """What the child must not hold on to: with a line of ours the nursery would never end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A shell in the background has its commands ignore it, the tests too, and what they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for held in (self._wishes, self._woken, self._waker, *self._lines.values()):
            held.close()

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = ended
                with self._lines.pop(pid) as line, suppress(BrokenPipeError):
                    line.send(b"%d" % status)


def _nothing(*_: object) -> None:
    """A signal that has a handler is written to the waker; one that is ignored is not."""


def _become(wish: _Wish) -> NoReturn:
    """Run a module as a fresh interpreter would."""
    os.chdir(wish.cwd)
    os.environ.clear()
    os.environ.update(wish.env)
    # What was opened on the nursery's own streams takes them for what those were: files, perhaps.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.path[0] = wish.cwd
    sys.argv[1:] = wish.words
    try:
        runpy.run_module(wish.module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        _end(ended)
    sys.exit(0)


def _end(ended: SystemExit) -> NoReturn:
    """End as an interpreter does, with everything that is to be seen of it; what we leave out takes ten times as long.

    That is to free all that the nursery has imported, object by object, each on a page that has to be copied for it.
    """
    assert isinstance(ended.code, int), "a command ends with its exit code"
    cast("Any", threading)._shutdown()
    cast("Any", atexit)._run_exitfuncs()
    gc.collect()  # tasks, coroutines and files that nobody has ended complain of it
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # nobody reads it any more: the interpreter has its own words for that
        raise ended from None
    os._exit(ended.code)


def _main() -> NoReturn:
    for name in _IMPORTED:
        importlib.import_module(name)
    app.tree()
    json_schema()
    gc.collect()
    gc.freeze()  # a child that looked for garbage among all of that would copy it, page by page
    try:
        _Nursery(socket.socket(fileno=int(sys.argv[1]))).serve()
    except _Born as born:
        wish = born.wish
    else:
        sys.exit(0)
    _become(wish)


if __name__ == "__main__":
    _main()
