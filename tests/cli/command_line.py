"""The `dagnats` command as a person calls it: in a folder, with an environment, on a server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from dagnats.cli.app import run
from tests.support import nursery

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60
SELDOM = ("--sync", "2s")
"""For a server that stays: one that flushes ten times a second takes three times as much while nobody asks it."""

# Somebody's own settings must not change what the tests see.
_CLEARED = (
    "DAGNATS_URL",
    "DAGNATS_TOKEN",
    "DAGNATS_NATS_PORT",
    "DAGNATS_RETENTION",
    "DAGNATS_BRIDGE_TOKEN",
    "DAGNATS_HTTP_ADDR",
    "DAGNATS_HTTP_TOKENS",
    "DAGNATS_SYNC",
    "XDG_CONFIG_HOME",
    "NO_COLOR",
    "FORCE_COLOR",
    "PY_COLORS",
    "TERMINAL_WIDTH",
)

_ANY_PORT = {"DAGNATS_HTTP_ADDR": "127.0.0.1:0"}


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Calls `dagnats` in `folder`, with its data in `data`.

    Attributes:
        http: Where its server answers HTTP, once it serves.
    """

    def __init__(self, folder: Path, data: Path, **env: str) -> None:
        self.folder = folder
        self.data = data
        self.http = ""
        kept = {name: value for name, value in os.environ.items() if name not in _CLEARED}
        self._env = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "DAGNATS_DATA_DIR": str(data),
            "XDG_CONFIG_HOME": str(data.with_name(f"{data.name}-config")),
            "COLUMNS": "80",
            **env,
        }

    def env_also(self, **env: str) -> None:
        """From now on, with these variables too."""
        self._env |= env

    def __call__(self, *words: str, **env: str) -> Result:
        """Run a command to its end, in this process: twenty times as fast, for commands that import no workflows."""
        out, err = io.StringIO(), io.StringIO()
        with self._surroundings(env), redirect_stdout(out), redirect_stderr(err):
            try:
                code = run(words)
            except SystemExit as ended:  # how typer answers a shell
                code = int(ended.code or 0)
        return Result(code, out.getvalue(), err.getvalue())

    def process(self, *words: str, module: str = "dagnats", **env: str) -> Result:
        """Run a command to its end, in a process of its own: `dagnats`, or another module that can be run."""
        return Running(self._child(*words, env={**self._env, **env}, module=module)).ends()

    @contextmanager
    def _surroundings(self, env: dict[str, str]) -> Generator[None, None, None]:
        """The folder and the environment, for as long as a command runs here."""
        folder, before = Path.cwd(), dict(os.environ)
        try:
            os.chdir(self.folder)
            os.environ.clear()
            os.environ.update({**self._env, **env})
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            os.chdir(folder)

    def start(self, *words: str, stdout: int | IO[str] = subprocess.PIPE) -> Running:
        """Start a command that goes on until it is told to stop."""
        return Running(self._child(*words, env=self.env, stdout=stdout))

    def _child(
        self, *words: str, env: dict[str, str], stdout: int | IO[str] = subprocess.PIPE, module: str = "dagnats"
    ) -> nursery.Child:
        return nursery.start(*words, cwd=self.folder, env=env, stdout=stdout, stderr=subprocess.PIPE, module=module)

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [sys.executable, "-m", "dagnats", *words]

    @property
    def env(self) -> dict[str, str]:
        return {**_ANY_PORT, **self._env}


class Running:
    """A command under way."""

    def __init__(self, process: nursery.Child) -> None:
        self.process = process

    def reads(self, text: str) -> list[str]:
        """Its lines up to the one that holds `text`; waits for that one."""
        assert self.process.stdout is not None, "its output is a pipe"
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        _, err = self.process.communicate(timeout=DEADLINE_S)
        raise AssertionError(f"it ended without saying {text!r}: {lines} {err}")

    def says_on_stderr(self, text: str) -> str:
        """Its line on stderr that holds `text`; waits for it."""
        assert self.process.stderr is not None, "stderr is a pipe"
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> Result:
        """Wait for its end; what it printed since the last look."""
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return Result(self.process.wait(), out, err)

    def stop(self) -> Result:
        """SIGTERM, and its end."""
        self.signal(signal.SIGTERM)
        return self.ends()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
