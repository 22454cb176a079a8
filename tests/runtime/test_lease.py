"""Leadership on a real server: one at a time, handed over, taken over, and noticed when lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from dagnats.runtime.lease import EXPIRES_S, Leadership, LeaseLost
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


async def test_a_standby_leads_as_soon_as_the_leader_gives_the_lease_back(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        lease = system.jetstream.ports.lease
        first, second = Leadership(lease, "first"), Leadership(lease, "second")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        keeping = asyncio.create_task(first.keep())
        done, _ = await asyncio.wait([waiting], timeout=EXPIRES_S + 1)
        assert not done, "two engines led at once"
        keeping.cancel()
        released = time.monotonic()
        await first.release()
        await waiting
        assert time.monotonic() - released < 1.0
        second.check()


async def test_a_standby_takes_over_from_a_leader_that_is_silent(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        lease = system.jetstream.ports.lease
        silent, standby = Leadership(lease, "silent"), Leadership(lease, "standby")
        await silent.acquire()
        begun = time.monotonic()
        await standby.acquire()
        assert EXPIRES_S <= time.monotonic() - begun < EXPIRES_S + 1
        with pytest.raises(LeaseLost, match="not renewed for"):
            silent.check()
        with pytest.raises(LeaseLost, match="somebody else has it now"):
            await silent.keep()
        await silent.release()  # gives nothing back that it does not hold
        standby.check()
        stored = await lease.read()
        assert stored is not None
        assert stored.data == b"standby"


async def test_an_engine_that_is_alone_waits_for_nobodys_lease_to_run_out(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        lease = system.jetstream.ports.lease
        await Leadership(lease, "dead").acquire()
        begun = time.monotonic()
        await Leadership(lease, "alone").acquire(at_once=True)
        assert time.monotonic() - begun < 1.0
