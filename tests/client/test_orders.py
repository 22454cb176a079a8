"""Orders to a run on a real server: each race has one winner, and every refusal says what the run does instead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import ConflictError, InputError, NotFoundError, ResultTimeout, RunFailed, Workflow
from dagnats.errors import DagnatsError, RefusedError
from dagnats.model.event import StepCompleted, encode_event
from dagnats.runtime.approval import approval_token
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.client import RunHandle, StepView
    from dagnats.runtime.embedded import EmbeddedServer

_FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


def waiting() -> Workflow[Any, Any]:
    """Two steps in line that nobody serves."""
    workflow = Workflow("waiting")
    first = workflow.task("first", "nobody.first")
    workflow.task("second", "nobody.second").after(first)
    return workflow


def asking(timeout: str = "1h", **settings: Any) -> Workflow[Any, Any]:
    """An approval, and a step behind it."""
    workflow = Workflow("asking")
    ask = workflow.approval("ask", subject="approvals.test", timeout=timeout, **settings)
    workflow.task("then", "nobody.then").after(ask)
    return workflow


async def started(system: System, workflow: Workflow[Any, Any], step_id: str) -> RunHandle:
    """A run whose step is in flight."""
    await system.client.register(workflow)
    run = await system.client.start(workflow)

    async def is_there() -> bool:
        return (await step(run, step_id)).in_flight

    await until(is_there)
    return run


async def passed(condition: bool) -> bool:
    return condition


async def step(run: RunHandle, step_id: str) -> StepView:
    return next(each for each in (await run.view()).steps if each.id == step_id)


async def outcomes(*orders: Any) -> list[str]:
    """What became of orders given at once: `done`, or the conflict."""
    told = await asyncio.gather(*orders, return_exceptions=True)
    assert all(not isinstance(each, BaseException) or isinstance(each, ConflictError) for each in told), told
    return sorted("conflict" if isinstance(each, ConflictError) else "done" for each in told)


async def types(run: RunHandle) -> list[str]:
    return [event.type for event in await run.history()]


# -- what no run could read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", ["*", ">", "", "a b", "_ops", "x.y"])
async def test_what_cannot_name_a_run_names_none(nats_server: EmbeddedServer, run_id: str) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        with pytest.raises(NotFoundError, match="no run"):
            system.client.handle(run_id)
        assert (await run.view()).status == "running"


@pytest.mark.parametrize(
    ("payload", "refused"),
    [
        (b"{bad", InputError),
        (b'"\xff"', InputError),
        (b"[" * 501 + b"]" * 501, RefusedError),
        (b'{"$dagnats.blob":{}}', RefusedError),
    ],
)
async def test_a_payload_that_no_run_could_read_is_refused_and_ends_none(
    nats_server: EmbeddedServer, payload: bytes, refused: type[DagnatsError]
) -> None:
    async with running(nats_server) as system:
        client = system.client
        run = await started(system, waiting(), "first")
        definition = await client.workflow("waiting")
        for order in (
            run.signal_json("go", payload),
            client.publish_event_json("some.event", payload),
            client.start_json(definition, payload),
            run.rerun_json(payload),
            run.fork_json("first", payload),
        ):
            with pytest.raises(refused):
                await order
        deepest = b"[" * 500 + b"]" * 500
        await run.signal_json("go", deepest)
        again = await client.start_json(definition, deepest)
        assert (await again.view()).status == "running"
        assert (await run.view()).status == "running"
        assert await client.dead_letters() == []


# -- races -------------------------------------------------------------------------------------------------------


async def test_of_two_who_cancel_a_run_at_once_one_learns_that_it_has_ended(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        assert await outcomes(run.cancel("a", by="ann"), run.cancel("b", by="bob")) == ["conflict", "done"]
        view = await run.view()
        assert view.status == "cancelled"
        assert view.error in ("cancelled by ann: a", "cancelled by bob: b")
        assert (await types(run)).count("workflow.cancelled") == 1


async def test_of_yes_and_no_at_once_one_counts(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, asking(), "ask")
        assert await outcomes(run.approve("ask"), run.reject("ask")) == ["conflict", "done"]
        answers = [each for each in await types(run) if each in ("approval.granted", "approval.rejected")]
        wanted = "completed" if answers == ["approval.granted"] else "failed"
        assert (await step(run, "ask")).status == wanted


async def test_an_approval_that_comes_when_its_time_is_over_learns_that_though_nobody_has_said_so(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        run = await started(system, asking("300ms"), "ask")
        await system.stop_engine()  # whoever looks at the log alone still sees the approval wait
        due_ns = (await step(run, "ask")).due_ns
        clock = system.jetstream.ports.clock
        await until(lambda: passed(clock.now_ns() > due_ns + 50_000_000))
        assert (await step(run, "ask")).status == "running"
        with pytest.raises(ConflictError, match=r"'ask' does not wait for an approval any more: run \w+ is failed"):
            await run.approve("ask")
        system.start_engine()
        with pytest.raises(RunFailed, match="approval timed out"):
            await run.result(timeout="20s")


async def test_a_skip_and_a_result_at_once_leave_the_step_with_one_of_them(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        result = StepCompleted(run_id=run.run_id, step_id="first", attempt_number=1, payload=msgspec.Raw(b'"late"'))
        log = system.jetstream.ports.log

        async def complete() -> None:
            await log.append(run.run_id, encode_event(result), id="result")

        told = await outcomes(run.skip("first"), complete())
        found = await step(run, "first")
        assert (found.status, told) in (("skipped", ["done", "done"]), ("completed", ["conflict", "done"]))
        await until(lambda: in_flight(run, "second"))


async def in_flight(run: RunHandle, step_id: str) -> bool:
    return (await step(run, step_id)).in_flight


# -- each order --------------------------------------------------------------------------------------------------


async def test_a_paused_run_hands_out_nothing_until_it_is_resumed(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        await run.pause("lunch", by="ann")
        assert (await run.view()).paused
        with pytest.raises(ConflictError, match="is paused already"):
            await run.pause()
        await run.skip("first")
        assert (await step(run, "second")).status == "pending"
        await run.resume(by="ann")
        await until(lambda: in_flight(run, "second"))
        with pytest.raises(ConflictError, match="is not paused: it is running"):
            await run.resume()


async def test_a_step_that_is_failed_by_hand_fails_its_run_and_a_replay_goes_on_there(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        with pytest.raises(ConflictError, match="'second' cannot be failed: it has not begun"):
            await run.fail_step("second")
        with pytest.raises(ConflictError, match="is not over: it is running"):
            await run.replay()
        await run.fail_step("first", "no use", by="ann")
        with pytest.raises(RunFailed, match="failed by ann: no use"):
            await run.result(timeout="20s")
        assert await run.retry("replay") is run
        await until(lambda: in_flight(run, "first"))
        assert (await run.view()).status == "running"
        with pytest.raises(ResultTimeout):  # the failure is not the last word any more
            await run.result(timeout="300ms")
        await run.skip("first")
        await run.skip("second")
        assert (await run.wait(timeout="20s")).status == "completed"
        assert await run.result(timeout="20s") is None  # not the failure that came before
        assert [event.type async for event in run.events()][-1] == "workflow.completed"
        with pytest.raises(ConflictError, match="cannot be replayed: it is completed, nothing of it failed"):
            await run.retry("replay")


async def test_an_answer_that_does_not_fit_the_form_of_an_approval_is_refused_whole(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        run = await started(system, asking(form=_FORM), "ask")
        with pytest.raises(InputError, match="does not fit the form of approval 'ask'") as refused:
            await run.approve(answer={"amount": "much"})
        assert [problem.path for problem in refused.value.problems] == ["$.amount"]
        assert await run.approve(answer={"amount": 3}, by="ann") == "ask"
        assert (await step(run, "ask")).output == {"approved": True, "amount": 3}
        with pytest.raises(ConflictError, match="waits for no approval"):
            await run.approve()


async def test_an_answer_with_a_token_is_taken_only_with_the_right_one(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, asking(), "ask")
        key = await system.jetstream.ports.secrets.key("approval")
        for wrong in ("", "x", approval_token(key, run.run_id, "ask", 2), approval_token(key, "other", "ask", 1)):
            with pytest.raises(RefusedError, match="does not answer approval 'ask'"):
                await run.reject("ask", token=wrong)
        assert await run.approve(token=approval_token(key, run.run_id, "ask", 1)) == "ask"


async def test_a_published_event_reaches_the_run_that_waits_for_it(nats_server: EmbeddedServer) -> None:
    workflow = Workflow("events")
    workflow.wait_for_event("paid", "payment.paid", match=workflow.event["id"] == 1, timeout="1h")
    async with running(nats_server) as system:
        run = await started(system, workflow, "paid")
        await system.client.publish_event("payment.paid", {"id": 2})
        await system.client.publish_event("payment.paid", {"id": 1})
        assert await run.result(timeout="20s") == {"id": 1}
        with pytest.raises(DagnatsError, match="cannot be an event's type"):
            await system.client.publish_event("no space", 1)


async def test_an_event_is_given_by_hand_to_the_step_that_waits_for_it(nats_server: EmbeddedServer) -> None:
    workflow = Workflow("events")
    workflow.wait_for_event("paid", "payment.paid", match=workflow.event["id"] == 1, timeout="1h")
    async with running(nats_server) as system:
        run = await started(system, workflow, "paid")
        assert (await step(run, "paid")).awaits == "payment.paid"
        with pytest.raises(ConflictError, match="does not wait for an approval: it is a wait_for_event step"):
            await run.approve("paid")
        await run.complete_wait("paid", {"by": "hand"})
        assert await run.result(timeout="20s") == {"by": "hand"}


async def test_what_is_not_there_is_told_with_what_is_near(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        run = await started(system, waiting(), "first")
        with pytest.raises(NotFoundError, match="no step 'frist'") as unknown:
            await run.skip("frist")
        assert unknown.value.hint == "did you mean 'first'?"
        with pytest.raises(NotFoundError, match=r"no step 'first\.x'"):
            await run.skip("first.x")
        with pytest.raises(NotFoundError, match="no run 'nobody'"):
            await system.client.handle("nobody").pause()
        await run.cancel()
        for order in (run.pause(), run.skip("first"), run.signal("go"), run.fail_step("first"), run.cancel()):
            with pytest.raises(ConflictError, match="has ended already: cancelled"):
                await order


async def test_a_scheduled_run_is_cancelled_and_none_of_its_steps_is_skipped(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(waiting())
        run = await system.client.start("waiting", at="+1h")
        assert (await run.view()).status == "scheduled"
        with pytest.raises(ConflictError, match="has not begun, it is scheduled"):
            await run.skip("first")
        await run.signal("early", 1)
        await run.cancel()
        assert (await run.view()).status == "cancelled"
