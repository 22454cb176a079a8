"""What a run takes over of events that anybody may publish."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.runtime.blob import Reference, carried
from dagnats.runtime.core.path import Missing
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import Happening
from dagnats.runtime.watch import body_of

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def test_an_event_that_is_made_to_look_like_a_reference_reaches_no_run() -> None:
    async def story() -> None:
        server = MemoryServer()
        memory, outside = server.connect(), server.connect()
        engine = asyncio.create_task(Engine(memory.ports, memory.feeds).run())
        client = AsyncClient(outside)
        workflow = Workflow("waiting")
        workflow.wait_for_event("paid", "paid", match=workflow.event["id"] == workflow.input["id"], timeout="1h")
        await client.register(workflow)
        started = await client.start("waiting", {"id": 1})
        await asyncio.sleep(1)  # it is watched for
        stolen = await carried(outside.ports, "other", b'"' + b"x" * 300_000 + b'"', what="another run's output")
        await outside.ports.events.publish("paid", b'{"id":1,"body":%b}' % stolen, id="forged")
        await asyncio.sleep(5)
        assert (await started.view()).status == "running"
        (letter,) = await outside.ports.dead_letters.find("event-correlator.>")
        assert "'$dagnats.blob', which DagNats keeps for itself" in letter.headers["Dagnats-Dlq-Error"]
        await outside.ports.events.publish("paid", b'{"id":1,"text":"\\"$dagnats.blob\\""}', id="honest")
        assert (await started.wait()).output == {"id": 1, "text": '"$dagnats.blob"'}
        engine.cancel()

    run(story())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (Reference("other", "0" * 64, 9).data, "DagNats keeps for itself"),
        (b"[" * 5_000 + b"]" * 5_000, "cannot be carried"),
        (b'"\xff"', "cannot be read"),
        (b"{", "truncated"),
    ],
)
def test_an_event_with_a_body_that_no_run_can_carry_says_why(body: bytes, why: str) -> None:
    with pytest.raises(Missing, match=why):
        body_of(Happening(1, 1, "paid", body))
