"""What `/health/cluster` says of three NATS servers while one, and then another one, is killed: `python -m
tests.e2e.cluster`.

It takes a minute: a cluster needs seconds to find itself, and to notice that a server is gone.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagnats.errors import UnavailableError
from dagnats.runtime.api.app import Api
from dagnats.runtime.embedded import find_binary
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.resources import HISTORY
from tests.api.site import Caller
from tests.support.processes import until

if TYPE_CHECKING:
    from tests.api.site import Answer

NAMES = ("n0", "n1", "n2")
_CONFIG = """
listen: "127.0.0.1:{port}"
server_name: {name}
max_payload: 8MB
jetstream {{ store_dir: "{folder}/{name}" }}
cluster {{ name: three, listen: "127.0.0.1:{route}", routes: [{routes}] }}
"""
_FOUND_S = 60.0
_NOTICED_S = 60.0


class Cluster:
    """Three servers on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = _free_ports()
        self._routes = _free_ports()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes.values())
        for name in NAMES:
            config = self._folder / f"{name}.conf"
            config.write_text(
                _CONFIG.format(
                    name=name, port=self._ports[name], route=self._routes[name], routes=routes, folder=self._folder
                )
            )
            command = [str(find_binary()), "-c", str(config), "-l", str(self._folder / f"{name}.log")]
            self._processes[name] = subprocess.Popen(command)

    def kill(self, name: str) -> None:
        """End a server as a power cut would."""
        self._processes[name].kill()
        self._processes[name].wait()

    def stop(self) -> None:
        for name in self._processes:
            self.kill(name)

    async def joined(self, name: str) -> JetStream:
        """A connection to one of them, once they have found each other and everything is set up."""
        there: list[JetStream] = []

        async def is_up() -> bool:
            with suppress(UnavailableError):
                if not there:
                    there.append(await JetStream.connect(f"nats://127.0.0.1:{self._ports[name]}"))
                await there[0].ports.server.prepare()
                return True
            return False

        await until(is_up, within_s=_FOUND_S, what="a cluster that stores")
        return there[0]


def _free_ports() -> dict[str, int]:
    """A port for each of them, by name."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(closing(socket.socket())) for name in NAMES}
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}


async def play(folder: Path) -> None:
    """Lose one server, then another one."""
    async with AsyncExitStack() as stack:
        cluster = Cluster(folder)
        stack.callback(cluster.stop)
        cluster.start()
        jetstream = await stack.enter_async_context(await cluster.joined(NAMES[0]))
        web = Caller(Api(jetstream).app())
        alone = (await web.get("/health/cluster")).json
        assert (alone["clustered"], len(alone["peers"])) == (True, 1), alone
        config = (await jetstream.link.api(f"STREAM.INFO.{HISTORY}"))["config"]
        await jetstream.link.api(f"STREAM.UPDATE.{HISTORY}", {**config, "num_replicas": len(NAMES)})
        await _says(web, 200, "ok", online=3)

        lost = _others(await web.get("/health/cluster"))
        cluster.kill(lost[0])
        told = await _says(web, 200, "degraded", online=2)
        assert [each["name"] for each in told["peers"] if not each["online"]] == lost[:1], told

        async def is_well() -> bool:
            return (await web.get("/health")).status == 200

        await until(is_well, within_s=_NOTICED_S, what="a health of 200")  # the lost one may have led the whole cluster

        cluster.kill(next(name for name in NAMES[1:] if name != lost[0]))
        await _says(web, 503, "lost", online=1)


def _others(answer: Answer) -> list[str]:
    """Those that neither lead nor are asked."""
    return [each["name"] for each in answer.json["peers"] if not each["leads"] and each["name"] != NAMES[0]]


async def _says(web: Caller, status: int, standing: str, *, online: int) -> dict[str, Any]:
    """Wait until it says so."""
    begun, answers = time.monotonic(), [await web.get("/health/cluster")]

    async def is_said() -> bool:
        answers[0] = await web.get("/health/cluster")
        told = answers[0].json
        there = sum(each["online"] for each in told.get("peers", ()))  # a 503 may be that nobody answered
        return (answers[0].status, told["status"], there) == (status, standing, online)

    await until(is_said, within_s=_NOTICED_S, what=lambda: f"{standing}; the last answer was {answers[0]}")
    sys.stdout.write(f"{standing}, {online} of {len(NAMES)} there: said after {time.monotonic() - begun:.1f} s\n")
    sys.stdout.flush()
    return answers[0].json


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


if __name__ == "__main__":
    main()
