"""The programs in `examples/` do what their pages say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, cast

from dagnats.testing import Harness
from examples import inbox, limits
from tests.support.processes import ROOT
from tests.support.system import running

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats import Fire
    from dagnats.runtime.embedded import EmbeddedServer


async def test_the_application_signs_somebody_up_and_drains(nats_server: EmbeddedServer) -> None:
    async with running(nats_server):
        env = {
            **os.environ,
            "DAGNATS_URL": nats_server.url,
            "DAGNATS_TOKEN": nats_server.token,
            "PYTHONPATH": str(ROOT),
        }
        program = await _started(env)
        out, err = await program.communicate()
        assert program.returncode == 0, err.decode()
        assert out.decode().startswith("welcome, ada@example.org: your account is ")


async def _started(env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "examples/application.py",
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_the_limits_hold_what_their_page_says() -> None:
    async with Harness([limits.wf, limits.report]) as h:
        h.stub("report.write", returns="written")
        h.drive(limits.slow_down(h.client))
        first, second = [await h.start("export", {"customer": "acme"}) for _ in range(2)]
        await h.advance(seconds=1)
        assert (await first.view()).steps[0].status == "queued"  # the queue is paused
        assert (await second.view()).status == "pending"  # one run at a time, whatever the definition says
        h.drive(limits.as_before(h.client))
        assert await first.result() == await second.result() == "sent to acme"


async def test_a_singleton_that_is_active_stops_the_next_one() -> None:
    async with Harness([limits.report]) as h:
        h.stub("report.write", returns="written")
        h.drive(h.client.pause_queue("report.write"))
        first = await h.start("report", {"customer": "acme"})
        await h.advance(seconds=1)
        other, again = [await h.start("report", {"customer": name}) for name in ("globex", "acme")]
        await h.advance(seconds=1)
        assert [(await run.view()).status for run in (first, other, again)] == ["running", "running", "cancelled"]


async def test_the_inbox_fires_once_for_each_file(tmp_path: Path) -> None:
    fired: list[tuple[object, str | None]] = []
    later = asyncio.Event()

    async def fire(data: object = None, *, key: str | None = None) -> str:
        fired.append((data, key))
        if len(fired) == 1:
            (tmp_path / "b").touch()
        else:
            later.set()
        return "run"

    (tmp_path / "a").touch()
    watching = asyncio.ensure_future(inbox.inbox(inbox.Inbox(folder=str(tmp_path), every_s=0.01), cast("Fire", fire)))
    async with asyncio.timeout(20):
        await later.wait()
    watching.cancel()
    assert fired == [({"path": str(tmp_path / name)}, str(tmp_path / name)) for name in ("a", "b")]
