"""Two engines on one server: one leads, the other takes over, and no run is lost between them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow, handler
from dagnats.runtime.lease import EXPIRES_S
from tests.support.processes import Program, until
from tests.support.system import running

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.runtime.embedded import EmbeddedServer

TAKEOVER_S = EXPIRES_S + 1.0
HANDOVER_S = 0.5


@handler("standby.echo")
async def echo(value: int) -> int:
    return value


wf = Workflow("standby")
first = wf.task("first", echo)
wf.task("second", echo).after(first)


@pytest.mark.alone
@pytest.mark.timeout(120)
async def test_the_standby_acts_soon_after_the_leader_is_killed_or_stopped(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    env = {"DAGNATS_URL": nats_server.url, "DAGNATS_TOKEN": nats_server.token}
    leader = Program("serve", log=tmp_path / "leader.log", env=env)
    standby = Program("serve", log=tmp_path / "standby.log", env=env)
    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)
        system.start_worker([wf])
        with leader, standby:
            await system.client.run(wf, 1)

            async def one_stands_by() -> bool:
                return "standing by" in leader.output + standby.output

            await until(one_stands_by)
            if "standing by" in leader.output:
                leader, standby = standby, leader
            runs = [await system.client.start(wf, n) for n in range(100)]
            leader.kill()
            killed = time.monotonic()
            late = await system.client.start(wf, -1)
            assert await late.result(int, timeout="30s") == -1
            assert time.monotonic() - killed < TAKEOVER_S
            for n, run in enumerate(runs):
                assert await run.result(int, timeout="10s") == n

            took: list[float] = []
            for _ in range(3):  # the machine may be busy with something else once
                leader.start()
                await leader.says("standing by: engine")
                stopped = time.monotonic()
                standby.ask_to_stop()
                assert await system.client.run(wf, 7) == 7
                took.append(time.monotonic() - stopped)
                assert standby.ended() == 0
                leader, standby = standby, leader
            assert min(took) < HANDOVER_S, took
