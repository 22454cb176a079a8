"""The server is killed in the middle of a command about many runs: the same command completes it."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.client.bulk import ids_of
from dagnats.errors import UnavailableError
from tests.support.mortal import Fate, mortal
from tests.support.nats import prepared
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.adapter import JetStream

RUNS = 20
STORED = "log.append_after:stored"
"""Where a start's acknowledgement has come."""


class Bang(Fate):
    """The server is killed at a boundary, under the hands of the client, which lives on."""

    def __init__(self, server: EmbeddedServer, at: int) -> None:
        super().__init__()
        self._server = server
        self._at = at

    def cross(self, name: str) -> None:
        self.passed[name] += 1
        if name == STORED and self.passed[name] == self._at:
            os.kill(self._server.pid, signal.SIGKILL)


def failing() -> Workflow[Any, Any]:
    workflow = Workflow("failing")
    workflow.task("work", "nobody.works")
    return workflow


def client_of(jetstream: JetStream, fate: Fate) -> AsyncClient:
    return AsyncClient(cast("Any", SimpleNamespace(ports=mortal(jetstream.ports, fate), feeds=jetstream.feeds)))


async def restart(server: EmbeddedServer) -> None:
    await server.stop()
    await server.start()


async def test_a_bulk_start_is_completed_by_the_same_again(nats_server: EmbeddedServer) -> None:
    inputs = [b'{"n":%d}' % n for n in range(3 * RUNS)]
    run_ids = ids_of("failing", inputs)
    definition = failing().build()
    async with prepared(nats_server) as jetstream:
        await AsyncClient(jetstream).register(definition)
        with pytest.raises(UnavailableError):
            await client_of(jetstream, Bang(nats_server, RUNS)).start_all_json(definition, inputs, run_ids)
    await restart(nats_server)
    async with prepared(nats_server) as jetstream:
        done = await AsyncClient(jetstream).start_all_json(definition, inputs, run_ids)
        assert [each.run_id for each in done] == run_ids
        assert sum(not each.is_new for each in done) >= RUNS
        assert not any(each.problem for each in done)
        assert sorted(await jetstream.ports.log.run_ids()) == sorted(run_ids)
        assert await jetstream.ports.log.last() == len(run_ids)


async def test_trying_everything_again_is_completed_by_the_same_again(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        await client.register(failing())
        failed = [await client.start("failing", {"n": n}, run_id=f"failed-{n}") for n in range(RUNS)]
        await asyncio.gather(*(handle.fail_step("work", "no use") for handle in failed))
        await asyncio.gather(*(handle.wait(timeout="60s") for handle in failed))
        await system.stop_engine()
        with pytest.raises(UnavailableError):
            await client_of(system.jetstream, Bang(nats_server, 7)).retry_all("failing", mode="rerun")
    await restart(nats_server)
    async with prepared(nats_server) as jetstream:
        done = await AsyncClient(jetstream).retry_all("failing", mode="rerun")
        assert {each.run_id for each in done} == {handle.run_id for handle in failed}
        assert sum(not each.is_new for each in done) >= 7
        reruns = [each.new_run_id for each in done]
        assert sorted(await jetstream.ports.log.run_ids()) == sorted([*(each.run_id for each in failed), *reruns])
