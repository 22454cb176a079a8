"""Starting runs on a real server: refused whole, later, once per key, from old runs, many at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from dagnats import Abort, ConflictError, InputError, NotFoundError, RunFailed, Workflow
from dagnats.client.bulk import ids_of
from dagnats.client.start import key_of
from dagnats.errors import DagnatsError
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


class Order(BaseModel):
    id: str
    cents: int


def orders(**settings: Any) -> Workflow[Any, Any]:
    """A workflow with an input of its own, that nobody serves."""
    workflow = Workflow("orders", input=Order, **settings)
    workflow.task("work", "nobody.works")
    return workflow


async def test_input_that_breaks_the_schema_is_refused_with_every_problem_and_nothing_is_stored(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(orders())
        with pytest.raises(InputError, match="does not fit workflow 'orders'") as refused:
            await system.client.start("orders", {"id": 1, "cents": "many"}, run_id="refused")
        assert [(each.path, each.rule) for each in refused.value.problems] == [
            ("$.cents", "input-schema"),
            ("$.id", "input-schema"),
        ]
        assert not await system.jetstream.ports.log.first("refused")


async def test_concurrent_starts_with_one_key_give_one_run_whatever_their_input(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system, running(nats_server, engine=False) as other:
        await system.client.register(orders(idempotency_key="id"))
        clients = (system.client, other.client)
        starts = [clients[at % 2].start("orders", Order(id="A-1", cents=at)) for at in range(10)]
        runs = await asyncio.gather(*starts)
        assert len({run.run_id for run in runs}) == 1
        assert [run.is_new for run in runs].count(True) == 1
        assert (await system.client.start("orders", Order(id="A-2", cents=0))).run_id != runs[0].run_id
        given = await system.client.start("orders", Order(id="A-1", cents=0), idempotency_key="mine")
        assert given.is_new


async def test_a_key_whose_start_was_lost_is_started_by_the_next(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        workflow = orders(idempotency_key="id")
        await system.client.register(workflow)
        data = b'{"id":"A-1","cents":1}'
        # As by a client that ended between the two.
        await system.jetstream.ports.claims.claim(key_of(workflow.build(), data, ""), "claimed-1")
        run = await system.client.start("orders", Order(id="A-1", cents=1))
        assert (run.run_id, run.is_new) == ("claimed-1", True)


async def test_a_start_that_claimed_its_key_takes_the_run_that_another_began_meanwhile(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        workflow = orders(idempotency_key="id")
        await system.client.register(workflow)
        key = key_of(workflow.build(), b'{"id":"A-1","cents":1}', "")
        await system.jetstream.ports.claims.claim(key, "claimed-1")
        first = await system.client.start("orders", Order(id="A-1", cents=1))
        mine = await system.client.start("orders", Order(id="A-1", cents=2), run_id="claimed-1")
        (line,) = await system.client.start_all("orders", [Order(id="A-1", cents=3)], run_ids=["claimed-1"])
        assert [(run.run_id, run.is_new) for run in (first, mine)] == [("claimed-1", True), ("claimed-1", False)]
        assert (line.run_id, line.is_new, line.problem) == ("claimed-1", False, "")


async def test_a_key_is_no_reason_to_take_a_run_that_was_started_without_it(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(orders())
        await system.client.start("orders", Order(id="A-1", cents=1), run_id="mine")
        with pytest.raises(ConflictError, match="started differently"):
            await system.client.start("orders", Order(id="A-1", cents=2), run_id="mine", idempotency_key="k")


async def test_an_input_without_the_key_it_should_have_is_refused(nats_server: EmbeddedServer) -> None:
    workflow = Workflow("keyed", idempotency_key="order.id")
    workflow.task("work", "nobody.works")
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        for input in ({}, {"order": {"id": None}}, {"order": {"id": ""}}):
            with pytest.raises(InputError, match="has no idempotency key") as refused:
                await system.client.start("keyed", input)
            assert refused.value.problems[0].path == "$.order.id"
        assert (await system.client.start("keyed", {}, idempotency_key="k")).is_new


async def test_a_run_begins_at_its_time_and_not_before(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:

        async def tell() -> str:
            return "done"

        workflow = Workflow("later")
        workflow.step(tell)
        await system.client.register(workflow)
        system.start_worker([workflow])
        at = datetime.now(UTC) + timedelta(milliseconds=400)
        run = await system.client.start("later", at=at, labels={"team": "x"}, by="ann")
        view = await run.view()
        assert (view.status, view.labels) == ("scheduled", {"team": "x"})
        assert await run.result(timeout="20s") == "done"
        (first, *_) = [event for event in await run.history() if event.type.startswith("step.")]
        assert first.time_ns >= int(at.timestamp() * 1_000_000) * 1_000


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2020-01-01", "2020-01-01T00:00:00Z has passed"),
        ("+366d", "is more than 365 days ahead"),
        ("soon", "'soon' is no instant"),
        ("2027-01-01T09:00:00", "has no offset"),
        (datetime(2027, 1, 1), "it has no time zone"),  # noqa: DTZ001  # the mistake that is tested
    ],
)
async def test_a_time_that_is_none_is_refused(at: Any, message: str, nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(orders())
        with pytest.raises(DagnatsError, match=message):
            await system.client.start("orders", Order(id="a", cents=1), at=at)


async def test_a_rerun_and_a_fork_are_new_runs_that_name_the_old_one(nats_server: EmbeddedServer) -> None:
    calls: list[str] = []

    async def load(order: Order) -> Order:
        calls.append("load")
        return order

    async def pay(order: Order) -> str:
        calls.append("pay")
        if order.cents < 0:
            raise Abort("too little")
        return "paid"

    workflow = Workflow("shop", input=Order)
    loaded = workflow.step(load)
    workflow.step(after=loaded)(pay)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start("shop", Order(id="a", cents=-1), labels={"team": "x"})
        with pytest.raises(RunFailed):
            await run.result(timeout="20s")
        again = await run.retry(input=Order(id="a", cents=1))
        assert await again.result(timeout="20s") == "paid"
        view = await again.view()
        assert (view.retry_of, view.labels) == (run.run_id, {"team": "x"})
        with pytest.raises(InputError):
            await run.retry(input={"id": "a"})
        calls.clear()
        forked = await again.fork("pay")
        assert await forked.result(timeout="20s") == "paid"
        assert calls == ["pay"]  # what came before was taken over
        assert (await forked.view()).forked_from == again.run_id
        with pytest.raises(NotFoundError, match="no step 'pya'"):
            await again.fork("pya")


async def test_many_starts_are_checked_together_and_repeated_harmlessly(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        definition = (await client.register(orders())).definition
        with pytest.raises(InputError) as refused:
            await client.start_all("orders", [{"id": "a", "cents": 1}, {"id": "b"}, {"cents": 1}])
        assert [problem.path for problem in refused.value.problems] == ["[1]", "[2]"]
        lines = [b'{"id":"%d","cents":1}' % at for at in range(5)]
        ids = ids_of("orders", lines)
        assert len(set(ids)) == 5
        first = await client.start_all_json(definition, lines[:3], ids[:3])
        second = await client.start_all_json(definition, lines, ids)
        assert [each.is_new for each in first + second] == [True] * 3 + [False] * 3 + [True] * 2
        assert ids_of("orders", lines, "again")[0] != ids[0]
        assert len(await client.runs(workflow="orders")) == 5


async def test_all_runs_of_a_workflow_are_cancelled_or_tried_again_and_no_others(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        await client.register(orders())
        other = Workflow("other")
        other.task("work", "nobody.works")
        await client.register(other)
        kept = await client.start("other")
        runs = [await client.start("orders", Order(id=str(at), cents=1)) for at in range(3)]
        later = await client.start("orders", Order(id="later", cents=1), at="+1h")
        assert {each.run_id for each in await client.cancel_all("orders", dry_run=True)} == {
            run.run_id for run in (*runs, later)
        }
        assert [each.run_id for each in await client.cancel_all("orders", status="scheduled")] == [later.run_id]
        await runs[0].fail_step("work")
        await runs[0].wait(timeout="20s")
        assert len(await client.cancel_all("orders", after="2020-01-01")) == 2
        assert await client.cancel_all("orders") == []
        assert await client.cancel_all("orders", before="2020-01-01") == []
        assert (await kept.view()).status == "running"
        (done,) = await client.retry_all("orders", mode="rerun")
        assert (done.run_id, done.is_new) == (runs[0].run_id, True)
        (again,) = await client.retry_all("orders", mode="rerun")
        assert (again.new_run_id, again.is_new) == (done.new_run_id, False)
        (replayed,) = await client.retry_all(mode="replay", after="2020-01-01")
        assert replayed.run_id == runs[0].run_id
        assert (await runs[0].view()).status == "running"
        with pytest.raises(DagnatsError, match="which runs"):
            await client.retry_all(mode="rerun")


async def test_the_same_run_id_for_another_start_is_a_conflict(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(orders())
        first = await system.client.start("orders", Order(id="a", cents=1), run_id="mine")
        same = await system.client.start("orders", Order(id="a", cents=1), run_id="mine")
        assert (first.is_new, same.is_new) == (True, False)
        with pytest.raises(ConflictError, match="was started differently"):
            await system.client.start("orders", Order(id="b", cents=1), run_id="mine")


async def test_large_payloads_go_with_a_rerun_and_a_fork(nats_server: EmbeddedServer) -> None:
    large = "x" * 400_000

    async def grow(text: str) -> str:
        return text + "y"

    async def measure(text: str) -> int:
        return len(text)

    workflow = Workflow("large")
    grown = workflow.step(grow)
    workflow.step(after=grown)(measure)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, large)
        assert await run.result(timeout="20s") == 400_001
        again, forked = await run.retry(), await run.fork("measure")
        await system.jetstream.ports.blobs.remove(run.run_id)  # as retention does
        for new in (again, forked):
            assert await new.result(timeout="20s") == 400_001
            assert (await new.view()).input == large
        assert (await system.client.verify()).runs == 3
