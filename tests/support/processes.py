"""Real processes for tests: the `dagnats` command, started, watched and killed."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from tests.support import nursery
from tests.support.nursery import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType


class Program:
    """`python -m dagnats …` in a process of its own, its output in a file."""

    def __init__(self, *arguments: str, log: Path, env: dict[str, str] | None = None) -> None:
        self._arguments = arguments
        self._log = log
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "DAGNATS_HTTP_ADDR": "127.0.0.1:0", **(env or {})}
        self._process: nursery.Child | None = None

    def start(self) -> None:
        self._log.unlink(missing_ok=True)
        with self._log.open("ab") as out:
            self._process = nursery.start(*self._arguments, cwd=ROOT, env=self._env, stdout=out, stderr=out)

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the program was started"
        return self._process.pid

    def kill(self) -> None:
        """kill -9, and reap it."""
        self._send(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        return self._send(signal.SIGTERM)

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, *, within_s: float = 30) -> int:
        """Wait for its end; gives its exit code."""
        assert self._process is not None, "the program was started"
        return self._process.wait(timeout=within_s)

    def freeze(self) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _send(self, number: signal.Signals) -> int:
        assert self._process is not None, "the program was started"
        self._process.send_signal(number)
        return self._process.wait(timeout=30)

    async def says(self, text: str, *, within_s: float = 20.0) -> None:
        """Wait until its output holds `text`."""

        async def said() -> bool:
            assert self._process is not None, "the program was started"
            assert self._process.poll() is None, f"the program ended:\n{self.output}"
            return text in self.output

        await until(said, within_s=within_s, what=lambda: f"{text!r} in:\n{self.output}")

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it, if it is alive."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


async def until(
    condition: Callable[[], Awaitable[bool]], *, within_s: float = 20.0, what: Callable[[], str] | str = "it"
) -> None:
    """Wait for a condition, looking less often the longer it takes; fail with `what` when it does not come."""
    pause_s = 0.01
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # other processes set no event here
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.1, 0.05)  # looking takes time that what we wait for could use
    except TimeoutError:
        text = what if isinstance(what, str) else what()
        raise AssertionError(f"waited {within_s:g} s in vain for {text}") from None
