"""What a client does, whether it speaks to NATS or asks a server over HTTP: the same calls, answers and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from pydantic import BaseModel

from dagnats import (
    AnyClient,
    AnyRun,
    ConflictError,
    DagnatsError,
    InputError,
    NotFoundError,
    ResultTimeout,
    RunCancelled,
    RunCompensated,
    RunFailed,
    Workflow,
    connect_http,
)
from dagnats.client.document.listed import listed_document
from dagnats.client.document.queue import queue_document
from dagnats.client.document.run import run_document
from dagnats.client.portable import encode_document, read_document
from dagnats.errors import Problem, RefusedError
from dagnats.model.instant import rfc3339
from dagnats.runtime.api.app import Api
from dagnats.runtime.standing import standing
from dagnats.runtime.telemetry.exporter import telemetry
from dagnats.runtime.telemetry.note import note
from dagnats.runtime.token import owner_of
from tests.api.site import WORK, Caller, Site, in_virtual_time, one_step, site
from tests.support.processes import until

Transport = Callable[[Site], Awaitable[AnyClient]]


async def over_nats(here: Site) -> AnyClient:
    return here.client


async def over_http(here: Site) -> AnyClient:
    api = Api(here.server.connect())
    await api.open()
    return await connect_http("http://127.0.0.1:8080", transport=httpx.ASGITransport(app=api.app()))


class There(NamedTuple):
    """A client, and whoever serves the tasks."""

    client: AnyClient
    worker: Caller
    here: Site

    async def started(self, workflow: str = "solo", value: Any = None, **terms: Any) -> AnyRun:
        """A run whose first step is in flight."""
        run = await self.client.start(workflow, value, **terms)

        async def is_there() -> bool:
            return (await run.view()).steps[0].in_flight

        await until(is_there)
        return run

    async def serve(self, action: str = "complete", **said: Any) -> None:
        """Resolve the one task that is there."""
        (task,) = await self.worker.poll(WORK)
        assert (await self.worker.resolve(task, action, **said)).status == 200

    async def failed(self, error: str = "no such card") -> AnyRun:
        run = await self.started()
        await self.serve("fail", error=error, failure_type="non_retriable")
        await run.wait(timeout="1h")
        return run


def asking() -> Workflow[Any, Any]:
    workflow = Workflow("asking")
    form = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    workflow.approval("ask", subject="approvals.test", timeout="1h", form=form)
    return workflow


def undone() -> Workflow[Any, Any]:
    workflow = Workflow("undone")
    first = workflow.task("first", WORK).with_compensation("undo")
    workflow.task("second", WORK).after(first)
    workflow.task("undo", WORK)
    return workflow


class Order(BaseModel):
    id: int


def strict() -> Workflow[Any, Any]:
    workflow = Workflow("strict", input=Order)
    workflow.task("work", WORK)
    return workflow


@asynccontextmanager
async def there(transport: Transport) -> AsyncGenerator[There]:
    async with site(one_step("solo"), asking(), undone(), strict()) as here, await transport(here) as client:
        yield There(client, await here.api(), here)


either = pytest.mark.parametrize("transport", [over_nats, over_http])


def both(test: Callable[..., Any]) -> Any:
    return either(in_virtual_time(test))


@both
async def test_a_run_is_started_followed_and_gives_its_output(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started(value={"n": 1}, labels={"team": "a"}, by="ann")
        assert run.is_new
        waiting = asyncio.create_task(run.result())
        await it.serve(output={"big": 2**53, "text": "\u2028 \N{SNOWMAN}"})
        assert await waiting == {"big": 2**53, "text": "\u2028 \N{SNOWMAN}"}
        assert await run.result(dict[str, Any]) == await run.result()
        followed = [event async for event in run.events()]
        assert followed == await run.history()
        assert followed[-1].type == "workflow.completed"
        behind = [event async for event in run.events(after=followed[1].seq)]
        assert behind == followed[2:]
        assert [event async for event in run.events(after=followed[-1].seq)] == []


@both
async def test_a_view_is_whole_and_lists_have_what_it_says(transport: Transport) -> None:
    async with there(transport) as it:
        broken = await it.failed()
        run = await it.started(value=[1], labels={"team": "a"}, by="ann")
        view = await run.view(gates=True)
        assert view == await it.here.client.handle(run.run_id).view(gates=True)
        assert run_document(view).steps["work"].status == "queued"
        listed = await it.client.runs(workflow="solo")
        assert [each.run_id for each in listed] == [run.run_id, broken.run_id]
        own = await it.here.client.runs(workflow="solo")
        assert list(map(listed_document, listed)) == list(map(listed_document, own))
        assert [each.run_id for each in await it.client.runs(labels={"team": "a"}, status="running")] == [run.run_id]
        assert [each.run_id for each in await it.client.runs(prefix=broken.run_id[:9])] == [broken.run_id]
        assert (await it.client.find(run.run_id[:8])).run_id == run.run_id
        assert (await it.client.newest()).run_id == run.run_id
        assert await it.client.count(workflow="solo") == await it.here.client.count(workflow="solo") != []
        first = await it.client.page(limit=1)
        rest = await it.client.page(limit=1, below=first.runs[-1].seq)
        assert (first.more, rest.more, rest.runs[0].run_id) == (True, False, broken.run_id)


@both
async def test_how_a_run_ended_is_the_error_that_it_raises(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.failed()
        with pytest.raises(RunFailed) as failed:
            await run.result()
        assert (failed.value.step, failed.value.error) == ("work", "no such card")
        assert str(failed.value) == f"run {run.run_id} failed at step 'work': no such card"
        assert (await run.wait()).status == "failed"

        stopped = await it.started()
        with pytest.raises(ResultTimeout, match=f"run {stopped.run_id} did not end within 90 s") as late:
            await stopped.result(timeout="90s")
        assert late.value.hint
        await stopped.cancel("enough", by="ann")
        with pytest.raises(RunCancelled, match="cancelled by ann: enough"):
            await stopped.result()

        saga = await it.started("undone")
        await it.serve(output=1)
        await it.serve("fail", error="no", failure_type="non_retriable")
        await it.serve(output=None)
        with pytest.raises(RunCompensated) as undoing:
            await saga.result()
        assert undoing.value.step == "second"


@both
async def test_a_run_is_told_what_to_do(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started()
        await run.pause("lunch", by="ann")
        assert (await run.view()).paused
        with pytest.raises(ConflictError, match="is paused already") as twice:
            await run.pause()
        assert twice.value.hint == f"`dagnats run resume {run.run_id}` lets it go"
        await run.resume()
        await run.signal("go", {"a": 1})
        with pytest.raises(DagnatsError, match="cannot name a signal"):
            await run.signal("a b", 1)
        await run.fail_step("work", "stuck", by="ann")
        assert (await run.wait()).error == "failed by ann: stuck"
        await run.replay("again", by="bob")
        note = next(event for event in await run.history() if event.type == "workflow.reopened")
        assert note.payload == {"by": "bob", "reason": "again"}
        await it.serve(output=1)
        assert await run.result() == 1
        new = await run.retry(input=[2], by="ann")
        assert (await new.view()).retry_of == run.run_id
        fork = await run.fork("work", {"n": 3})
        assert ((await fork.view()).forked_from, (await fork.view()).input) == (run.run_id, {"n": 3})
        await fork.skip("work")
        assert (await fork.wait()).status == "completed"
        with pytest.raises(NotFoundError, match="no step 'wrok'") as wrong:
            await new.skip("wrok")
        assert wrong.value.hint == "did you mean 'work'?"


@both
async def test_an_approval_is_answered_by_its_form(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started("asking")
        with pytest.raises(InputError, match="does not fit the form of approval 'ask'") as unfit:
            await run.approve(answer={"amount": "much"})
        assert [problem.path for problem in unfit.value.problems] == ["$.amount"]
        with pytest.raises(DagnatsError, match="the token does not answer approval 'ask'"):
            await run.approve("ask", {"amount": 1}, token="guessed")
        assert await run.approve(answer={"amount": 1}, by="ann", reason="fine") == "ask"
        assert (await run.wait()).status == "completed"
        second = await it.started("asking")
        assert await second.reject() == "ask"
        with pytest.raises(ConflictError, match="does not wait for an approval"):
            await second.approve("ask")


def mistakes(client: AnyClient, run_id: str) -> list[Callable[[], Awaitable[Any]]]:
    """Calls that cannot be carried out."""
    run, gone = client.handle(run_id), client.handle("0" * 32)
    return [
        lambda: client.start("slo"),
        lambda: gone.view(),
        lambda: gone.result(),
        lambda: gone.cancel(),
        lambda: anext(aiter(gone.events())),
        lambda: anext(run.stream("wrok")),
        lambda: client.find("0123456789"),
        lambda: client.find(run_id[:4]),
        lambda: client.queue("bridge.wrok"),
        lambda: client.pause_queue("nobody"),
        lambda: client.resume_queue(WORK),
        lambda: client.dead_letter(7),
        lambda: client.replay_dead_letters("0" * 32),
        lambda: client.versions("slo"),
        lambda: client.version("solo", "00"),
        lambda: client.cancel_all("slo"),
        lambda: client.retry_all(mode="rerun"),
        lambda: client.limit_queue(WORK, rate=-1),
        lambda: client.limit_queue(WORK, rate=1, period="soon"),
        lambda: client.publish_event("a b"),
        lambda: client.runs(after="yesterday"),
        lambda: client.start("solo", run_id="a b"),
        lambda: client.start("solo", at="yesterday"),
        lambda: client.start("solo", {"other": 1}, run_id=run_id),
        lambda: client.start("strict", {"id": "x"}),
        lambda: client.start_all("strict", [{"id": 1}, {}]),
        lambda: client.start_all("strict", [{"id": 1}], run_ids=["a", "b"]),
        lambda: client.register(b'{"name": "loop", "steps": [{"id": "a", "task": "t", "depends_on": ["b"]}]}'),
        lambda: client.register(Workflow("parent")),
        lambda: run.approve("work"),
        lambda: client.waitpoint(run_id),
        lambda: client.waitpoint(run_id, "wrok"),
        lambda: client.delete_workflow("slo"),
        lambda: run.complete_wait("work"),
        lambda: run.retry("replay"),
        lambda: run.retry("replay", {"n": 1}),
        lambda: run.signal_json("go", b"{"),
        lambda: run.fork("wrok"),
        lambda: run.resume(),
        lambda: client.run_logs("0" * 32),
        lambda: client.run_logs(run_id, level="loud"),
        lambda: client.trace("0" * 32),
        lambda: client.rehearse("0" * 32),
        lambda: client.export_run("0" * 32),
        lambda: client.remove_imported("0" * 32),
        lambda: client.logs(level="loud"),
        lambda: client.logs(since="yesterday"),
        lambda: client.create_token("read", name="a/b"),
        lambda: client.create_token("read", workflows=["a b"]),
        lambda: client.create_token("read", expires="+0s"),
        lambda: client.revoke_token("nobody"),
        lambda: client.deeds(after="yesterday"),
        lambda: client.clean(older_than="soon"),
        lambda: client.clean(older_than="1h", before="2027-01-01"),
    ]


class Said(NamedTuple):
    """An error, whole."""

    kind: type[BaseException]
    text: str
    hint: str
    problems: tuple[Problem, ...]


async def said(call: Callable[[], Awaitable[Any]]) -> Said:
    try:
        answer = await call()
    except DagnatsError as error:
        return Said(type(error), str(error), error.hint, getattr(error, "problems", ()))
    raise AssertionError(f"it was carried out: {answer!r}")


@in_virtual_time
async def test_every_error_is_the_same_over_http_to_its_last_word() -> None:
    async with there(over_http) as it:
        run = await it.started()
        calls = zip(mistakes(it.here.client, run.run_id), mistakes(it.client, run.run_id), strict=True)
        for over_there, over_here in calls:
            assert await said(over_here) == await said(over_there)


@both
async def test_definitions_are_registered_together_compared_and_shown(transport: Transport) -> None:
    async with there(transport) as it:
        child = one_step("child").build()
        parent = Workflow("parent")
        parent.sub_workflow("run", "child")
        would = await it.client.register_all([parent.build(), child], dry_run=True)
        assert [(each.name, each.action, each.previous) for each in would] == [
            ("parent", "created", None),
            ("child", "created", None),
        ]
        await it.client.register_all([parent.build(), child])
        changed = one_step("child", timeout="1m")
        done = await it.client.register(changed)
        assert (done.action, done.previous, done.definition) == ("updated", child, changed.build())
        assert (await it.client.register(changed)).action == "unchanged"
        assert await it.client.workflow("child") == changed.build()
        assert [each.definition.identity for each in await it.client.versions("child")] == [
            changed.build().identity,
            child.identity,
        ]
        assert await it.client.version("child", child.identity[:9]) == child
        assert "parent" in [each.name for each in await it.client.workflows()]


@both
async def test_queues_and_workflows_are_held_and_limited(transport: Transport) -> None:
    async with there(transport) as it:
        await it.client.pause_queue(WORK, "lunch", by="ann")
        await it.client.limit_queue(WORK, concurrency=2, rate=10, period="1m")
        await it.client.start("solo")
        queue = await it.client.queue(WORK)
        assert queue_document(queue) == queue_document(await it.here.client.queue(WORK))
        assert (queue.limits.paused, queue.limits.concurrency, queue.limits.reason) == (True, 2, "lunch")
        assert (queue.limits.rate, queue.limits.period_ns) == (10, 60_000_000_000)
        assert [each.name for each in await it.client.queues()] == [WORK]
        await it.client.resume_queue(WORK)
        await it.client.pause_workflow("solo", "lunch", by="ann")
        held = await it.client.limit_workflow("solo", 3)
        assert (held.paused, held.max_runs, held.by) == (True, 3, "ann")
        held = await it.client.limit_workflow("solo", max_events=900, max_depth=2)
        assert (held.paused, held.max_runs, held.max_events, held.max_depth) == (True, 3, 900, 2)
        await it.client.resume_workflow("solo")
        assert not (await it.client.workflow_limits("solo")).paused


@both
async def test_a_start_says_its_place_in_the_line_and_how_far_its_run_may_go(transport: Transport) -> None:
    async with there(transport) as it:
        await it.client.pause_workflow("solo")
        first = await it.client.start("solo")
        ahead = await it.client.start("solo", priority=60, max_depth=2, max_events=5)
        again = await (await it.here.client.start("solo", priority=-1)).retry()
        await asyncio.sleep(1)
        await it.client.limit_workflow("solo", 1)
        await it.client.resume_workflow("solo")
        await asyncio.sleep(1)
        assert ((await ahead.view()).status, (await first.view()).status) == ("running", "pending")
        run = (await standing(it.here.ports, ahead.run_id))[1]
        assert (run.priority, run.max_depth, run.max_events) == (60, 2, 5)
        assert (await standing(it.here.ports, again.run_id))[1].priority == -1
        with pytest.raises(DagnatsError, match="priority is 601"):
            await it.client.start("solo", priority=601)


@both
async def test_dead_letters_are_looked_at_tried_again_and_dropped(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.failed()
        (letter,) = await it.client.dead_letters()
        assert letter == await it.here.client.dead_letter(letter.seq)
        assert await it.client.replay_dead_letter(letter.seq, by="ann") == letter
        await it.serve("fail", error="again", failure_type="non_retriable")
        await run.wait(timeout="1h")
        found = await it.client.dead_letters(run.run_id)
        assert await it.client.replay_dead_letters(run.run_id) == found
        assert (await it.client.discard_dead_letter(found[-1].seq)).run_id == run.run_id
        assert found[-1] not in await it.client.dead_letters()


@both
async def test_many_runs_are_started_cancelled_and_tried_again(transport: Transport) -> None:
    async with there(transport) as it:
        done = await it.client.start_all("solo", [{"n": at} for at in range(3)], batch="night")
        again = await it.client.start_all("solo", [{"n": at} for at in range(3)], batch="night")
        assert [each.run_id for each in again] == [each.run_id for each in done]
        assert ([each.is_new for each in done], [each.is_new for each in again]) == ([True] * 3, [False] * 3)
        counts: list[int] = []
        would = await it.client.cancel_all("solo", dry_run=True)
        assert {each.run_id for each in would} == {each.run_id for each in done}
        cancelled = await it.client.cancel_all("solo", reason="enough", told=counts.append)
        assert ([each.problem for each in cancelled], counts) == ([""] * 3, [3])
        run = await it.failed()
        (first,) = await it.client.retry_all("solo", mode="rerun")
        (second,) = await it.client.retry_all("solo", mode="rerun")
        assert (first.run_id, first.is_new, second) == (run.run_id, True, first._replace(is_new=False))


@both
async def test_the_whole_is_looked_at(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started()
        view, findings = await it.client.diagnose(run.run_id)
        assert (view.run_id, [each.kind for each in findings]) == (run.run_id, ["no-worker"])
        assert findings == (await it.here.client.diagnose(run.run_id))[1]
        status = await it.client.status()
        assert (status.runs, status.active_runs) == (1, 1)
        assert (await it.client.workers(), await it.client.trigger_types()) == ([], [])
        with pytest.raises(NotFoundError, match="no trigger type 'files'"):
            await it.client.trigger_type("files")
        checked = await it.client.verify()
        assert (checked.runs, checked.differences) == (1, ())
        assert await it.client.repair([]) == []
        assert await it.client.publish_event("order.paid", {"id": 1}, id="once") == await it.client.publish_event(
            "order.paid", {"id": 1}, id="once"
        )


@both
async def test_what_runs_wait_for_is_listed_and_shown(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started("asking")
        (listed,) = await it.client.waitpoints()
        assert listed == await it.client.waitpoint(run.run_id) == await it.client.waitpoint(run.run_id, "ask")
        assert listed == await it.here.client.waitpoint(run.run_id)
        assert await it.client.waitpoints(workflow="solo") == []
        token = await run.waitpoint_token("ask")
        assert token == await it.here.client.handle(run.run_id).waitpoint_token("ask")


@both
async def test_a_check_up_finds_what_is_wrong_and_puts_it_right(transport: Transport) -> None:
    async with there(transport) as it:
        await it.client.pause_queue(WORK)
        await it.client.start("solo")

        async def holds_something() -> bool:
            return [each.grade for each in (await it.client.checkup()).found] == ["wrong"]

        await until(holds_something)
        found = await it.client.checkup()
        assert [(each.kind, each.subject) for each in found.found] == [("queue-paused", WORK)]
        assert found.fixed == []
        health = await it.client.health()
        assert (health.engine.leads, health.letters.total, health.timers) == (True, 0, 0)
        done = await it.client.checkup(fix=True, by="ann")
        assert done.fixed == done.found != []
        assert not (await it.client.queue(WORK)).limits.paused


@both
async def test_a_workflow_is_deleted(transport: Transport) -> None:
    async with there(transport) as it:
        assert (await it.client.delete_workflow("solo")).name == "solo"
        assert "solo" not in [each.name for each in await it.client.workflows()]


# -- the installation --------------------------------------------------------------------------------------------


@both
async def test_tokens_are_made_listed_and_revoked_and_the_audit_has_it(transport: Transport) -> None:
    async with there(transport) as it:
        made = await it.client.create_token("run", name="ci", workflows=["so*"], expires="+1h", by="ann")
        assert (await owner_of(it.here.ports, made.text)) is not None
        assert await it.client.tokens() == [made.token]
        assert (made.token.scope, made.token.workflows, made.token.by) == ("run", ("so*",), "ann")
        assert await it.client.revoke_token(made.text, by="ann") == made.token
        assert await it.client.tokens() == []
        deeds = await it.client.deeds(action="token")
        assert len(deeds) == 2
        assert await it.client.deeds(action="token", limit=1) == deeds[:1]
        assert await it.client.deeds(action="token", before=rfc3339(deeds[1].time_ns)) == []
        assert {secret for secret in (made.text, made.text.rpartition("_")[2]) if secret in repr(deeds)} == set()


@both
async def test_what_is_over_is_looked_at_and_then_cleaned_as_of_that_look(transport: Transport) -> None:
    async with there(transport) as it:
        await it.failed()
        await asyncio.sleep(1)
        live = await it.started(value={"n": 2})
        look = await it.client.clean(include_running=True, dry_run=True, measured=True)
        assert (look.runs, look.live, look.letters, look.places[0].name) == (2, 1, 1, "WORKFLOW_HISTORY")
        await asyncio.sleep(1)
        younger = await it.client.start("solo", {"n": 3})
        heard: list[tuple[int, int]] = []
        done = await it.client.clean(
            include_running=True, before=look.before, told=lambda runs, of: heard.append((runs, of))
        )
        assert (done.runs, done.live, done.letters, done.left, heard[-1]) == (2, 1, 1, [], (2, 2))
        assert [run.run_id for run in await it.client.runs()] == [younger.run_id]
        with pytest.raises(NotFoundError):
            await live.view()


@both
async def test_what_was_logged_and_how_long_it_took_is_told(transport: Transport) -> None:
    async with there(transport) as it, telemetry(it.here.ports):
        run = await it.started()
        note("worker", "WARN", "slow", run_id=run.run_id)
        note("worker", "INFO", "up")
        await asyncio.sleep(1)
        await it.serve(output=1)
        await run.wait()

        async def is_stored() -> bool:
            return len(await it.client.logs(service="worker")) == 2

        await until(is_stored)
        assert [line.body for line in await it.client.logs(service="worker", text="SLOW")] == ["slow"]
        assert [line.body for line in await it.client.logs(service="worker", since="1h", limit=1)] == ["up"]
        assert [line.body for line in await it.client.run_logs(run.run_id, service="worker")] == ["slow"]
        whole, step = await it.client.trace(run.run_id)
        assert (whole.name, step.name, step.above) == ("run solo", "step work", whole.span_id)
        assert whole.end_ns - whole.start_ns >= 1_000_000_000


@both
async def test_a_history_is_folded_once_more_and_by_another_definition(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started()
        same = await it.client.rehearse(run.run_id)
        assert (same.is_same, same.events, same.status) == (True, len(await run.history()), "running")
        other = await it.client.rehearse(run.run_id, one_step("solo", "another.task").build())
        assert (other.is_same, other.turn is not None) == (False, True)
        assert other == await it.here.client.rehearse(run.run_id, one_step("solo", "another.task").build())


@both
async def test_a_run_of_another_installation_is_looked_at_and_forgotten(transport: Transport) -> None:
    async with there(transport) as it:
        run = await it.started()
        data = encode_document(await it.client.export_run(run.run_id, children=True))
        document = read_document(data.replace(run.run_id.encode(), b"guest-0001"), name="it")
        (taken,) = await it.client.import_runs(document)
        assert (taken.run_id, taken.action) == ("guest-0001", "imported")
        assert [each.action for each in await it.client.import_runs(document)] == ["unchanged"]
        assert [each.run_id for each in await it.client.imported_runs()] == ["guest-0001"]
        for prefix in ("guest-0001", "guest-00"):
            guest = await it.client.find(prefix)
            assert (guest.imported, (await guest.view()).status) == (True, "running")
        assert (await guest.history())[0].type == "workflow.started"
        assert [event.seq async for event in guest.events()] == [event.seq for event in await guest.history()]
        with pytest.raises(RefusedError, match="was imported"):
            await guest.cancel()
        assert (await it.client.rehearse("guest-0001")).is_same
        with pytest.raises(NotFoundError):
            await it.client.diagnose("guest-0001")
        await it.client.remove_imported("guest-0001")
        with pytest.raises(NotFoundError):
            await it.client.find("guest-0001")
