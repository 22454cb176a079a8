"""Leadership: one engine decides at a time, and another one takes over when it is gone.

One message in NATS, rewritten by compare-and-set. Who holds the newest revision leads. A standby takes it when it has
seen the same revision for `EXPIRES_S` by its own monotonic clock: no two machines have to agree about the time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError, DagnatsError, UnavailableError
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.runtime.ports import Cell

log = logging.getLogger("dagnats.engine")

RENEW_S = 1.5
EXPIRES_S = 5.0
PROVEN_S = 4.0  # a leader that could not renew for this long stops acting: a standby may be about to take over
LOOK_S = 0.25
_FREE = b""


class LeaseLost(Exception):
    """This engine no longer leads."""


class Leadership:
    """The lease, as one engine sees it.

    Args:
        pace: How many times as long as usual it is renewed, and runs out, after; the same for all engines.
        leads: What another holder, `%s`, does.
    """

    def __init__(self, lease: Cell, holder: str, *, pace: float = 1.0, leads: str = "engine %s leads") -> None:
        self._pace = pace
        self._leads = leads
        self._lease = lease
        self._holder = holder.encode()
        self._revision = 0
        self._proven = 0.0
        self._server_ns = 0
        self._read_at = 0.0

    async def acquire(self, *, at_once: bool = False) -> None:
        """Wait until this engine leads.

        Args:
            at_once: Nobody else can be leading (the server has just been started for us): do not wait for a dead
                leader's lease to run out.
        """
        seen, since, told = (-1, 0), _now(), False
        while True:
            stored = await persist(self._lease.read)
            revision, holder = (stored.revision, stored.data) if stored is not None else (0, _FREE)
            # With its time: a server that has lost the end of its stream gives a revision again.
            found = (revision, stored.time_ns if stored is not None else 0)
            if found != seen:
                seen, since = found, _now()
            if at_once or holder == _FREE or _now() - since >= EXPIRES_S * self._pace:
                with suppress(ConflictError, UnavailableError):  # somebody else was quicker
                    await self._write(self._holder, revision)
                    await self._read_clock()
                    return
            if not told:
                log.warning(f"standing by: {self._leads}, or did until just now", holder.decode(errors="replace"))
                told = True
            await self._lease.changed(LOOK_S * self._pace)

    async def _read_clock(self) -> None:
        """The server's time of what we have just written is its time now."""
        stored = await persist(self._lease.read)
        self._server_ns, self._read_at = stored.time_ns if stored is not None else 0, _now()

    def server_now_ns(self) -> int:
        """The server's time, as it was when the lease was taken and has gone on since."""
        return self._server_ns + int((_now() - self._read_at) * 1e9)

    async def set_back_s(self) -> float:
        """How far the server's clock was set back since the lease was taken; a few seconds mean nothing."""
        stored = await persist(self._lease.read)
        return (self.server_now_ns() - stored.time_ns) / 1e9 if stored is not None else 0.0

    async def keep(self) -> None:
        """Renew until it is lost. Raises LeaseLost."""
        while True:
            await asyncio.sleep(RENEW_S * self._pace)
            try:
                await self._look()
                await self._write(self._holder, self._revision)
            except ConflictError:
                await self._settle()
            except UnavailableError as error:
                log.warning("the lease could not be renewed: %s", error)
            self.check()

    async def _look(self) -> None:
        """Raise LeaseLost when another's lease is where ours was: a server that has lost the end of its stream gives
        the same revision to whoever writes next, and we would replace that. Who gets no answer soon renews all the
        same: to be late with that is worse."""
        try:
            async with asyncio.timeout(RENEW_S * self._pace / 3):
                stored = await self._lease.read()
        except TimeoutError:
            return
        if stored is None:
            self._revision = 0
        elif stored.revision >= self._revision and stored.data != self._holder:
            raise LeaseLost("somebody else has it now")

    async def _settle(self) -> None:
        """A conflict: another engine has it, or a renewal of ours whose answer was lost was stored after all."""
        with suppress(UnavailableError):
            stored = await self._lease.read()
            if stored is None or stored.data != self._holder:
                raise LeaseLost("somebody else has it now")
            self._revision = stored.revision

    def check(self) -> None:
        """Raise LeaseLost when this engine cannot prove that it still leads."""
        silent_s = _now() - self._proven
        if silent_s > PROVEN_S * self._pace:
            raise LeaseLost(f"the lease was not renewed for {silent_s:.1f} s")

    async def release(self) -> None:
        """Let a standby take over at once, if we still lead."""
        with suppress(DagnatsError, LeaseLost, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._look()
                await self._write(_FREE, self._revision)
        self._proven = 0.0

    async def _write(self, data: bytes, revision: int) -> None:
        before = _now()  # the lease counts from when we asked, not from when the answer came
        self._revision = await self._lease.write(data, revision=revision)
        self._proven = before


def _now() -> float:
    return asyncio.get_running_loop().time()
