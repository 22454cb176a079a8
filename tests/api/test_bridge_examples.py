"""The example workers, against a real server and a real engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dagnats import Workflow
from dagnats.runtime.api.access import Access
from dagnats.runtime.api.door import Door
from dagnats.runtime.api.listener import Address, bound
from tests.support.processes import ROOT, Program, until
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dagnats.runtime.embedded import EmbeddedServer

TOKEN = "a-token-of-the-bridge"


@asynccontextmanager
async def worker(url: str, *, token: str = "") -> AsyncGenerator[asyncio.subprocess.Process]:
    """The worker in Python's standard library, isolated from every installed package."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-u",
        "examples/bridge/worker.py",
        url,
        cwd=ROOT,
        env={**os.environ, "DAGNATS_BRIDGE_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None, "its output is a pipe"
        assert b"serves stdlib.greet, stdlib.count" in await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def served(server: EmbeddedServer, *steps: tuple[str, str]) -> AsyncGenerator[System]:
    """An engine, and a workflow `<name>` for each (name, task type)."""
    async with running(server) as system:
        for name, task in steps:
            workflow: Workflow[Any, Any] = Workflow(name)
            workflow.task("work", task)
            await system.client.register(workflow)
        yield system


async def test_a_worker_in_the_standard_library_goes_on_when_its_server_is_another_one(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    env = {"DAGNATS_URL": nats_server.url, "DAGNATS_TOKEN": nats_server.token, "DAGNATS_DATA_DIR": str(tmp_path)}
    with bound(Address(port=0)) as free:
        address = Address(port=free.getsockname()[1], named=True)
    log = tmp_path / "serve.log"
    async with served(nats_server, ("greeting", "stdlib.greet"), ("counting", "stdlib.count")) as system:
        with Program("serve", "--http", str(address), log=log, env=env) as serve:
            await serve.says("Ctrl-C stops", within_s=60)
            async with worker(f"http://{address}") as process:
                greeting = await system.client.start("greeting", {"name": "Ada"})
                assert await greeting.result(timeout="30s") == {"greeting": "Hello, Ada!"}
                counting = await system.client.start("counting", {"to": 12, "pace_s": 0.1})

                async def begun() -> bool:
                    found = await system.jetstream.ports.checkpoints.load(counting.run_id, "work")
                    return found is not None

                await until(begun)
                serve.kill()
                async with Door(address) as door:
                    await door.open(system.jetstream)
                    assert await counting.result(timeout="60s") == {"counted": 12, "from": 0}
                    wrong = await system.client.start("greeting", {})
                    assert (await wrong.wait(timeout="30s")).error == "KeyError: 'name'"
                    process.terminate()
                    assert await process.wait() == 0


async def test_a_worker_in_a_shell_script_answers_with_curl(nats_server: EmbeddedServer) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    assert shutil.which("curl") is not None, "the script needs curl: install it"
    async with (
        served(nats_server, ("shouting", "curl.shout")) as system,
        Door(Address(port=0), Access(token=TOKEN)) as door,
    ):
        await door.open(system.jetstream)
        run = await system.client.start("shouting", {"word": "well done"})
        script = await asyncio.create_subprocess_exec(
            shell,
            "examples/bridge/worker.sh",
            door.url,
            cwd=ROOT,
            env={**os.environ, "DAGNATS_BRIDGE_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await script.communicate()
        assert script.returncode == 0, err.decode()
        assert out.decode() == '{"seen": true}\ndone: WELL DONE!\n'
        assert await run.result(timeout="30s") == "WELL DONE!"
