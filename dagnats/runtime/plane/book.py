"""What each tree of runs has been granted, as the audit's history says: quotas are counted here.

A grant counts once it is in the history, and is written behind the last one that was counted. Of two that are decided
at the same time the second is decided anew: no two requests get the same last place, whoever answers them.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError, DagnatsError, DecodeError, NotFoundError, UnavailableError
from dagnats.model.audit import AUDIT, Audited, decode_audited, encode_audited
from dagnats.runtime.patience import persist
from dagnats.runtime.standing import standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports import Entry, Ports

_MINUTE_NS = 60 * 1_000_000_000
_BEGINNING_NS = _MINUTE_NS  # a start that was granted, and has no run after so long, has been given up
_AT_ONCE = 16


@dataclass(slots=True)
class Account:
    """What the runs of one tree have been granted.

    Attributes:
        names: The workflows that they have registered: the newest definition of each.
        registered_ns: When, by the log server's clock: the last minute's.
        started_ns: The runs that they have started and that are not known to have ended, and when.
    """

    names: dict[str, str] = field(default_factory=dict[str, str])
    registered_ns: list[int] = field(default_factory=list[int])
    started_ns: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, audited: Audited, time_ns: int) -> None:
        """Count one grant."""
        if audited.action == "register":
            self.names[audited.name] = audited.identity
            self.registered_ns = [*self.lately(time_ns), time_ns]
        elif audited.action == "start":
            self.started_ns[audited.child_run_id] = time_ns

    def lately(self, now_ns: int) -> list[int]:
        """The registrations of the last minute."""
        return [at_ns for at_ns in self.registered_ns if at_ns > now_ns - _MINUTE_NS]


class Book:
    """The accounts, kept up with the history."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._accounts: dict[str, Account] = {}
        self._last = 0
        self._turn = asyncio.Lock()

    async def enter(self, root: str, decide: Callable[[Account], Awaitable[Audited | None]]) -> None:
        """Write down what `decide` grants by an account; it raises what it does not grant, and gives None for what
        was granted before."""
        async with self._turn:
            while True:
                audited = await decide(await self._account(root))
                if audited is None:
                    return
                try:
                    await self._append(audited)
                except ConflictError:
                    # Somebody else was first, or this was, in a try that got no answer; or the log has lost its tail.
                    self._accounts, self._last = {}, 0
                else:
                    return

    async def _append(self, audited: Audited) -> None:
        # An id of the asker's would let one that is used twice pass uncounted; its place says that it is there once.
        id = f"{AUDIT}.{secrets.token_hex(16)}"
        await self._ports.log.append_after(AUDIT, encode_audited(audited), id=id, last=self._last)

    async def account(self, root: str) -> Account:
        """What a tree has been granted by now."""
        async with self._turn:
            return await self._account(root)

    async def note(self, audited: Audited, id: str) -> None:
        """Write down what nothing is counted by; once, whoever else answers the same request."""
        await self._ports.log.append(AUDIT, encode_audited(audited), id=f"{AUDIT}.{id}")

    async def _account(self, root: str) -> Account:
        for entry in await self._ports.log.read(AUDIT, after=self._last):
            self._count(entry)
            self._last = entry.seq
        return self._accounts.setdefault(root, Account())

    def _count(self, entry: Entry) -> None:
        with suppress(DecodeError):  # of a later version
            audited = decode_audited(entry.data)
            if audited.granted:
                self._accounts.setdefault(audited.root, Account()).take(audited, entry.time_ns)

    async def active(self, account: Account) -> int:
        """How many of the runs that a tree has started go on; those that have ended are forgotten."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(run_id: str, since_ns: int) -> None:
            async with room:
                if await self._is_over(run_id, since_ns):
                    account.started_ns.pop(run_id, None)

        await asyncio.gather(*(look(run_id, since_ns) for run_id, since_ns in list(account.started_ns.items())))
        return len(account.started_ns)

    async def _is_over(self, run_id: str, since_ns: int) -> bool:
        try:
            _, run = await persist(lambda: standing(self._ports, run_id))
        except NotFoundError:  # it is removed; or whoever was granted it begins it just now
            return self._ports.clock.now_ns() - since_ns > _BEGINNING_NS
        except UnavailableError:
            raise
        except DagnatsError:  # it is parked
            return False
        return run.ended
