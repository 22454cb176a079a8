"""What people are told who ask for something that is not there, or that waits: in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Abort, ConflictError, NotFoundError, Workflow, handler
from dagnats.cli.report import detail, output_text
from dagnats.client import AsyncClient
from dagnats.model.event import ApprovalGranted, decode_event
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def told(story: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Tell a story with an engine, and nobody who works."""

    async def whole() -> None:
        server = MemoryServer()
        memory = server.connect()
        engine = asyncio.create_task(Engine(memory.ports, memory.feeds).run())
        await story(AsyncClient(server.connect()))
        engine.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


def limited() -> Workflow[Any, Any]:
    workflow = Workflow("limited")
    workflow.task("work", "told.work").with_task_concurrency(1)
    return workflow


def test_nobody_cancels_the_runs_of_a_workflow_that_never_was() -> None:
    async def story(client: AsyncClient) -> None:
        await client.register(limited())
        assert await client.cancel_all("limited") == []
        with pytest.raises(NotFoundError, match="no workflow 'limitd'") as caught:
            await client.cancel_all("limitd")
        assert "limited" in caught.value.hint
        with pytest.raises(NotFoundError, match="no workflow 'limitd'"):
            await client.retry_all("limitd", mode="rerun")

    told(story)


def test_a_fork_at_a_step_that_is_not_there_names_those_that_are() -> None:
    async def story(client: AsyncClient) -> None:
        await client.register(limited())
        run = await client.start("limited")
        hints: list[str] = []
        for wrong in ("wrok", "nope"):
            with pytest.raises(NotFoundError) as caught:
                await run.fork(wrong)
            hints.append(caught.value.hint)
        assert hints == ["did you mean 'work'?", "the workflow has work"]

    told(story)


def test_a_fork_takes_nothing_over_that_was_undone() -> None:
    wf = Workflow("undone")
    reserve = wf.task("reserve", "told.reserve").with_compensation("release")
    charge = wf.task("charge", "told.charge").after(reserve)
    wf.task("ship", "told.ship").after(charge)
    wf.task("release", "told.release")

    @handler("told.reserve")
    async def stock() -> str:
        return "shelf"

    @handler("told.charge")
    async def money() -> str:
        return "paid"

    @handler("told.ship")
    async def parcel() -> str:
        raise Abort("no carrier")

    @handler("told.release")
    async def back() -> None: ...

    async def story(client: AsyncClient) -> None:
        await client.register(wf)
        working = asyncio.create_task(Worker(client, [stock, money, parcel, back]).run())
        run = await client.start("undone")
        assert (await run.wait()).status == "compensated"
        with pytest.raises(ConflictError, match="cannot be forked at 'ship': what came before was undone: reserve"):
            await run.fork("ship")
        anew = await run.fork("reserve")
        assert (await anew.wait()).status == "compensated"
        assert "outputs" not in (await anew.history())[0].payload  # what undoes a step is none that is taken over
        working.cancel()

    told(story)


def test_a_step_that_waits_at_a_gate_says_at_which() -> None:
    async def story(client: AsyncClient) -> None:
        await client.register(limited())
        first, second = [await client.start("limited") for _ in range(2)]
        await asyncio.sleep(1)
        held = "waits: a slot of told.work (1 of 1 in flight), place 1 in line"
        assert [detail((await run.view(gates=True)).steps[0]) for run in (first, second)] == ["", held]
        await client.pause_queue("told.work")
        await asyncio.sleep(1)
        said = (await second.view(gates=True)).steps[0].gate
        assert said == "queue told.work is paused, place 1 in line"
        assert (await second.view()).steps[0].gate == ""

    told(story)


def test_why_an_approval_was_answered_is_kept_and_a_no_says_it() -> None:
    async def story(client: AsyncClient) -> None:
        workflow = Workflow("asking")
        workflow.approval("ask", subject="ops", timeout="1h")
        await client.register(workflow)
        yes, no, plain = [await client.start("asking") for _ in range(3)]
        await asyncio.sleep(1)
        await yes.approve(by="ada", reason="it is fine")
        await no.reject(answer={"code": 7}, by="ada", reason="too dear")
        await plain.reject(answer={"code": 7})
        assert (await yes.wait()).output == {"approved": True}
        entries = await client.connection.ports.log.read(yes.run_id)
        events = [decode_event(entry.data) for entry in entries]
        assert [event.reason for event in events if isinstance(event, ApprovalGranted)] == ["it is fine"]
        assert (await no.wait()).error == 'approval rejected by ada: too dear; {"code":7}'
        assert (await plain.wait()).error == 'approval rejected: {"code":7}'

    told(story)


def test_the_output_of_a_run_whose_last_step_was_left_out_is_null() -> None:
    async def story(client: AsyncClient) -> None:
        await client.register(limited())
        one = await client.start("limited")
        await asyncio.sleep(1)
        await one.skip("work")
        assert output_text(await one.wait()) == "null"
        two = Workflow("two")
        two.task("a", "told.a")
        two.task("b", "told.b")
        await client.register(two)
        both = await client.start("two")
        await asyncio.sleep(1)
        await both.skip("a")
        await both.skip("b")
        assert output_text(await both.wait()) == '{"a": null, "b": null}'

    told(story)
