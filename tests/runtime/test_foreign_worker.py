"""Configured workers in a whole system: what a cancellation, and the end of a worker, do to a command."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagnats import RunCancelled, Workflow
from dagnats.config.worker import WorkerSettings
from dagnats.runtime.foreign.handler import foreign_handlers
from tests.support.processes import Program, until
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

wf = Workflow("napping")
wf.task("nap", "nap")


def _command(folder: Path) -> tuple[str, ...]:
    return ("sh", "-c", f"echo $$ $DAGNATS_RUN_ID > {folder}/new && mv {folder}/new {folder}/pid; exec sleep 600")


async def _pid(folder: Path) -> int:
    async def there() -> bool:
        return (folder / "pid").exists()

    await until(there, what="the command's pid")
    pid, run_id = (folder / "pid").read_text().split()
    assert run_id == "nap-1"
    return int(pid)


async def _ends(pid: int) -> None:
    async def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    await until(ended, what="the end of the command")


async def test_the_command_of_a_cancelled_run_is_ended(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker(foreign_handlers({"nap": WorkerSettings(exec=_command(tmp_path))}))
        run = await system.client.start(wf, run_id="nap-1")
        pid = await _pid(tmp_path)
        await run.cancel()
        await _ends(pid)
        with pytest.raises(RunCancelled):
            await run.result(timeout="10s")


async def test_no_command_outlives_a_worker_that_is_killed(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "dagnats.yaml").write_text(f"worker: {{nap: {{exec: {list(_command(tmp_path))!r}}}}}\n")
    env = {"DAGNATS_URL": nats_server.url, "DAGNATS_TOKEN": nats_server.token}
    arguments = ("worker", "workflows/hello.py", "--config", str(tmp_path / "dagnats.yaml"))
    async with running(nats_server) as system:
        await system.client.register(wf)
        with Program(*arguments, log=tmp_path / "log", env=env) as worker:
            await system.client.start(wf, run_id="nap-1")
            pid = await _pid(tmp_path)
            os.kill(worker.pid, signal.SIGKILL)
            await _ends(pid)
