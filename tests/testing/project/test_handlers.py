import asyncio

import pytest

from dagnats import Abort, Workflow
from dagnats.testing import Given, Harness, MockSyncTaskContext, MockTaskContext, Paused
from handlers import (
    Approval,
    Batch,
    Database,
    PaymentService,
    approve,
    lifespan,
    load,
    render,
    request_payment,
    wait_for_export,
    write,
)

BATCH = Batch(rows=[7, 8, 9])


# --8<-- [start:checkpoint]
def test_loading_goes_on_behind_the_last_row_that_was_written() -> None:
    database = Database(written=[])
    ctx = MockTaskContext(attempt=2, given=Given(checkpoint=2, resources=database))

    assert asyncio.run(load(BATCH, ctx)) == 3

    assert database.written == [9]
    assert ctx.did.checkpoints == [3]
    assert ctx.did.progress == [(1.0, "row 3")]


# --8<-- [end:checkpoint]


# --8<-- [start:signal]
def test_an_approval_starts_the_audit_and_is_told_to_others() -> None:
    ctx = MockTaskContext(given=Given(signals=[("approval", Approval(by="ann", granted=True))]))

    assert asyncio.run(approve(BATCH, ctx)) == "started-1"

    assert ctx.did.started[0].workflow == "audit"
    assert ctx.did.started[0].input == {"rows": [7, 8, 9]}
    assert ctx.did.events == [("rows.approved", {"by": "ann"})]


def test_a_no_fails_for_good_and_silence_is_a_timeout() -> None:
    refused = MockTaskContext(given=Given(signals=[("approval", {"by": "bob", "granted": False})]))
    with pytest.raises(Abort, match="bob said no"):
        asyncio.run(approve(BATCH, refused))
    with pytest.raises(TimeoutError):
        asyncio.run(approve(BATCH, MockTaskContext()))


# --8<-- [end:signal]


def test_the_payment_service_is_told_where_to_answer() -> None:
    service = PaymentService(asked=[])
    assert asyncio.run(request_payment(BATCH, MockTaskContext(given=Given(resources=service)))) == 3
    assert service.asked == ["https://runs.example.com/v1/waitpoints/token-of-paid/complete"]


# --8<-- [start:pause]
def test_an_export_that_is_not_ready_is_asked_for_again_later() -> None:
    ctx = MockTaskContext(given=Given(checkpoint=1))
    with pytest.raises(Paused) as paused:
        asyncio.run(wait_for_export("e1", ctx))
    assert paused.value.delay.total_seconds() == 600
    assert ctx.did.checkpoints == [2]


async def exported() -> None:
    workflow = Workflow("export")
    workflow.task("wait", wait_for_export)
    async with Harness([workflow]) as h:
        run = await h.run("export", "e1")
        assert run.output == "export e1 is ready"
        assert h.clock.elapsed.total_seconds() >= 1800  # and took no time


def test_an_export_is_waited_for_in_virtual_time() -> None:
    asyncio.run(exported())


# --8<-- [end:pause]


# --8<-- [start:stream]
def test_words_are_streamed_one_by_one() -> None:
    ctx = MockTaskContext()
    asyncio.run(write(["to", "be"], ctx))
    assert ctx.did.chunks == [b"to ", b"be "]


# --8<-- [end:stream]


# --8<-- [start:sync]
def test_rendering_goes_on_where_the_last_attempt_was_and_stops_when_it_is_told_to() -> None:
    ctx = MockSyncTaskContext(given=Given(heartbeat_details=1))
    assert render([1, 2, 3], ctx) == 3
    assert ctx.did.heartbeats == [2, 3]

    stopped = MockSyncTaskContext()
    stopped.stop.asked = True
    with pytest.raises(asyncio.CancelledError):
        render([1, 2, 3], stopped)


# --8<-- [end:sync]


# --8<-- [start:harness]
async def loaded() -> None:
    workflow = Workflow("rows")
    workflow.task("load", load)
    async with Harness([workflow], lifespan=lifespan) as h:
        run = await h.run("rows", BATCH)
    assert run.output == 3


def test_the_worker_opens_the_database() -> None:
    asyncio.run(loaded())


# --8<-- [end:harness]
