"""The programs in `examples/` do what their pages say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.processes import ROOT
from tests.support.system import running

if TYPE_CHECKING:
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
