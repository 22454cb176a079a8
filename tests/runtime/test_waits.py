"""What runs wait for by the engine alone: events from outside, times, people. On a real NATS server."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import RunFailed, Workflow
from dagnats.model.event import (
    ApprovalGranted,
    ApprovalRejected,
    SignalReceived,
    encode_event,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import compact, encode
from dagnats.model.waiter import Waiter, encode_waiter
from dagnats.runtime import watch
from dagnats.runtime.approval import approval_token, is_approval_token
from dagnats.runtime.waitpoint import KEY
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client import RunHandle
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.channel import Message


def paid(event: str = "payment.done", timeout: str = "20s", **settings: Any) -> Workflow:
    """Waits for the payment of its order."""
    wf = Workflow("paid")
    wf.wait_for_event("wait", event, match=wf.event["order"] == wf.input["order"], timeout=timeout, **settings)
    return wf


async def emit(system: System, event: str, body: Any, *, id: str = "") -> int:
    data = body if isinstance(body, bytes) else compact(body)
    receipt = await system.jetstream.ports.events.publish(event, data, id=id or f"{event}.{data!r}")
    return receipt.seq


async def waiters(system: System) -> list[dict[str, Any]]:
    return [json.loads(data) for data in await system.jetstream.ports.waiters.all()]


async def waits(system: System, count: int = 1) -> None:
    """Wait until so many waiters are stored."""

    async def stored() -> bool:
        return len(await waiters(system)) == count

    await until(stored, what=f"{count} waiters")


async def kinds(run: RunHandle) -> list[str]:
    return [event.type for event in await run.history()]


@asynccontextmanager
async def heard(system: System, subject: str) -> AsyncGenerator[asyncio.Queue[Message]]:
    """What is said on a subject meanwhile."""
    said: asyncio.Queue[Message] = asyncio.Queue()
    link = system.jetstream.link
    sid = link.subscribe(subject, said.put_nowait)
    await link.request("$JS.API.INFO")  # the server knows of the subscription once it has answered this
    yield said
    link.unsubscribe(sid)


# -- events ------------------------------------------------------------------------------------------------


async def test_a_wait_takes_the_first_event_that_matches_and_its_body_is_the_output(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        run = await system.client.start("paid", {"order": "o1"})
        await waits(system)
        await emit(system, "payment.done", {"order": "o2"})
        await emit(system, "payment", {"order": "o1"})
        first = await emit(system, "payment.done", {"order": "o1", "cents": 5})
        await emit(system, "payment.done", {"order": "o1", "cents": 6})
        assert await run.result(timeout="10s") == {"order": "o1", "cents": 5}
        assert await kinds(run) == ["workflow.started", "step.wait.started", "step.wait.matched", "workflow.completed"]
        (matched,) = (
            record for record in await system.jetstream.ports.log.read(run.run_id) if b"matched" in record.data
        )
        assert json.loads(matched.data)["event_seq"] == first
        await waits(system, 0)


async def test_an_event_type_may_hold_whatever_a_subject_can(nats_server: EmbeddedServer) -> None:
    odd = "payment.v2/done$EUR=1.{x}"
    async with running(nats_server) as system:
        await system.client.register(paid(odd))
        run = await system.client.start("paid", {"order": 1})
        await waits(system)
        await emit(system, odd, {"order": 1})
        assert await run.result(timeout="10s") == {"order": 1}
        await waits(system, 0)


async def test_an_event_that_comes_just_before_its_waiter_is_matched(nats_server: EmbeddedServer) -> None:
    """The step is ready, and its engine has not got to it yet."""
    async with running(nats_server) as system:
        await system.client.register(paid())
        await system.stop_engine()
        run = await system.client.start("paid", {"order": "o1"})
        await emit(system, "payment.done", {"order": "o1", "cents": 1})
        await emit(system, "payment.done", {"order": "o1", "cents": 2})
        system.start_engine()
        assert await run.result(timeout="10s") == {"order": "o1", "cents": 1}


async def test_an_event_from_before_the_wait_counts_only_as_far_as_it_looks_back(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid(timeout="600ms"))
        await emit(system, "payment.done", {"order": "o1"})
        late = await system.client.start("paid", {"order": "o1"})
        assert await late.result(timeout="10s") == {"timeout": True}
        await system.client.register(paid(lookback="1m"))
        early = await system.client.start("paid", {"order": "o1"})
        assert await early.result(timeout="10s") == {"order": "o1"}


async def test_a_wait_that_looks_back_reads_page_after_page(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid(lookback="1m"))
        events = system.jetstream.ports.events
        await asyncio.gather(
            *(events.publish("payment.done", compact({"order": at}), id=f"e{at}") for at in range(2_500))
        )
        await emit(system, "payment.done", {"order": 2_400, "second": True})
        run = await system.client.start("paid", {"order": 2_400})
        assert await run.result(timeout="10s") == {"order": 2_400}


async def test_a_wait_in_vain_ends_in_time_and_leaves_nothing(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid(timeout="300ms"))
        run = await system.client.start("paid", {"order": "o1"})
        assert await run.result(timeout="10s") == {"timeout": True}
        assert "step.wait.timeout" in await kinds(run)
        await waits(system, 0)


async def test_each_waiter_has_its_own_match(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        runs = [await system.client.start("paid", {"order": at}) for at in range(50)]
        await waits(system, 50)
        for at in reversed(range(50)):
            await emit(system, "payment.done", {"order": at, "n": 1})
        for at, run in enumerate(runs):
            assert await run.result(timeout="10s") == {"order": at, "n": 1}


async def test_a_waiter_survives_its_engine(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        run = await system.client.start("paid", {"order": "o1"})
        await waits(system)
        await system.stop_engine()
        await emit(system, "payment.done", {"order": "o1"})
        system.start_engine()
        assert await run.result(timeout="10s") == {"order": "o1"}
        await waits(system, 0)


async def test_an_event_that_is_no_json_goes_to_the_dead_letters_and_stops_nothing(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        run = await system.client.start("paid", {"order": "o1"})
        await waits(system)
        seq = await emit(system, "payment.done", b"{'order'", id="bad")
        await emit(system, "payment.done", b'{"order":"\xff"}', id="worse")
        await emit(system, "payment.done", {"order": "o1"})
        assert await run.result(timeout="10s") == {"order": "o1"}
        letters = await system.jetstream.ports.dead_letters.find("event-correlator.>")
        assert [(letter.data, letter.headers["Dagnats-Dlq-Event-Type"]) for letter in letters] == [
            (b"{'order'", "payment.done"),
            (b'{"order":"\xff"}', "payment.done"),
        ]
        assert letters[0].headers["Dagnats-Dlq-Sequence"] == str(seq)


async def test_more_waiters_for_a_type_than_can_be_compared_fail_visibly(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.Watches, "MOST", 3)
    async with running(nats_server) as system:
        await system.client.register(paid())
        for at in range(3):
            await system.client.start("paid", {"order": at})
        await waits(system, 3)
        with pytest.raises(RunFailed, match=r"3 steps and runs wait for events of type 'payment\.done' already"):
            await (await system.client.start("paid", {"order": 3})).result(timeout="10s")


async def test_an_event_cancels_the_runs_that_it_is_meant_for(nats_server: EmbeddedServer) -> None:
    wf = Workflow("order")
    wf.sleep("nap", "1h")
    wf.cancel_on("order.withdrawn", match=wf.event["order"] == wf.input["order"])
    async with running(nats_server) as system:
        await system.client.register(wf)
        mine = await system.client.start("order", {"order": "o1"})
        other = await system.client.start("order", {"order": "o2"})
        await waits(system, 2)
        seq = await emit(system, "order.withdrawn", {"order": "o1"})
        view = await mine.wait(timeout="10s")
        assert view.status == "cancelled"
        assert view.error == f"cancelled by event 'order.withdrawn' ({seq}): " + '{"order":"o1"}'
        await waits(system, 1)
        assert (await other.view()).status == "running"
        await other.cancel()
        await waits(system, 0)


async def test_an_event_that_comes_too_late_cancels_nothing(nats_server: EmbeddedServer) -> None:
    wf = Workflow("order")
    wf.sleep("nap", "1h")
    wf.cancel_on("order.withdrawn", match=wf.event["order"] == wf.input["order"], timeout="200ms")
    wf.cancel_on("shop.closed")
    async with running(nats_server) as system:
        await system.client.register(wf)
        run = await system.client.start("order", {"order": "o1"})
        await waits(system, 2)
        over_ns = (await run.view()).created_ns + 300_000_000

        async def is_over() -> bool:
            return time.time_ns() > over_ns

        await until(is_over)
        await emit(system, "order.withdrawn", {"order": "o1"})
        seq = await emit(system, "shop.closed", b"")
        view = await run.wait(timeout="10s")
        assert view.error == f"cancelled by event 'shop.closed' ({seq}): "
        await waits(system, 0)


async def test_events_that_were_lost_and_came_anew_are_compared(nats_server: EmbeddedServer) -> None:
    """A power cut: the stream of events is shorter than an engine knew it, and grows again."""
    async with running(nats_server) as system:
        await system.client.register(paid())
        run = await system.client.start("paid", {"order": "o1"})
        await waits(system)
        for at in range(3):
            await emit(system, "payment.done", {"order": at})

        async def compared() -> bool:
            cell = await system.jetstream.ports.correlated.read()
            return cell is not None and json.loads(cell.data).get("seq") == 3

        await until(compared)
        await system.stop_engine()
        await system.jetstream.link.api("STREAM.DELETE.EVENTS")
        await system.jetstream.ports.server.prepare()
        await emit(system, "payment.done", {"order": "o1"})
        for at in range(5):
            await emit(system, "payment.done", {"order": at})
        system.start_engine()
        assert await run.result(timeout="10s") == {"order": "o1"}


# -- people ------------------------------------------------------------------------------------------------


def asking(timeout: str = "20s") -> Workflow:
    wf = Workflow("asking")
    wf.approval("ok", subject="ask.people", timeout=timeout, description="Ship it?", metadata={"to": "ann"})
    return wf


async def answer(system: System, run: RunHandle, event: ApprovalGranted | ApprovalRejected) -> None:
    await system.jetstream.ports.log.append(run.run_id, encode_event(event), id=f"{run.run_id}.{event}")


async def test_who_is_asked_gets_a_token_that_nothing_else_shows(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system, heard(system, "ask.people") as said:
        await system.client.register(asking())
        run = await system.client.start("asking")
        notice = json.loads((await asyncio.wait_for(said.get(), 10)).data)
        token, for_anybody = notice.pop("token"), notice.pop("waitpoint_token")
        assert notice.pop("expires_at") == rfc3339((await run.view()).created_ns + 20_000_000_000)
        assert notice == {
            "run_id": run.run_id,
            "step_id": "ok",
            "subject": "ask.people",
            "description": "Ship it?",
            "metadata": {"to": "ann"},
        }
        key = await system.jetstream.ports.secrets.key(KEY)
        assert is_approval_token(key, run.run_id, "ok", 1, token)
        assert for_anybody == await run.waitpoint_token("ok")
        assert not any(token.encode() in entry.data for entry in await system.jetstream.ports.log.read(run.run_id))
        granted = ApprovalGranted(run_id=run.run_id, step_id="ok", attempt_number=1, payload=encode({"note": "yes"}))
        await answer(system, run, granted)
        await answer(system, run, ApprovalRejected(run_id=run.run_id, step_id="ok", attempt_number=1))
        assert await run.result(timeout="10s") == {"approved": True, "note": "yes"}


def test_a_token_answers_one_attempt_of_one_step_of_one_run() -> None:
    key = b"k" * 32
    token = approval_token(key, "run", "step", 1)
    assert len(token) == 64
    assert is_approval_token(key, "run", "step", 1, token)
    for wrong in (("run2", "step", 1), ("run", "step2", 1), ("run", "step", 2)):
        assert not is_approval_token(key, *wrong, token)
    assert not is_approval_token(b"x" * 32, "run", "step", 1, token)
    assert not is_approval_token(key, "run", "step", 1, "")
    assert not is_approval_token(key, "run", "step", 1, "ü\udcff")


async def test_all_get_the_same_key_whoever_makes_it(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        secrets = system.jetstream.ports.secrets
        keys = await asyncio.gather(*(secrets.key(KEY) for _ in range(20)))
        assert len(set(keys)) == 1
        assert len(keys[0]) == 32
        assert await secrets.key("other") != keys[0]


async def test_a_rejection_fails_the_step_and_says_who(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system, heard(system, "ask.people") as said:
        await system.client.register(asking())
        run = await system.client.start("asking")
        await asyncio.wait_for(said.get(), 10)
        await answer(system, run, ApprovalRejected(run_id=run.run_id, step_id="ok", attempt_number=1, by="ann"))
        with pytest.raises(RunFailed, match="approval rejected by ann"):
            await run.result(timeout="10s")


async def test_a_question_that_nobody_answers_expires(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(asking("300ms"))
        run = await system.client.start("asking")
        with pytest.raises(RunFailed, match="approval timed out"):
            await run.result(timeout="10s")
        await answer(system, run, ApprovalGranted(run_id=run.run_id, step_id="ok", attempt_number=1))
        assert (await run.view()).status == "failed"


# -- times, signals, responses -----------------------------------------------------------------------------


async def test_a_sleep_lasts_as_long_as_it_says(nats_server: EmbeddedServer) -> None:
    wf = Workflow("naps")
    wf.sleep("nap", "400ms")
    async with running(nats_server) as system:
        await system.client.register(wf)
        run = await system.client.start("naps")
        await run.result(timeout="10s")
        (nap,) = (await run.view()).steps
        assert nap.ended_ns - nap.started_ns == timedelta(milliseconds=400) // timedelta(microseconds=1) * 1_000
        assert await kinds(run) == [
            "workflow.started",
            "step.sleep.started",
            "timer.fired",
            "step.sleep.completed",
            "workflow.completed",
        ]


async def test_the_newest_signal_of_each_name_is_shown_to_workers_that_read_no_history(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        run = await system.client.start("paid", {"order": "o1"})
        log = system.jetstream.ports.log
        for at, name in enumerate(["go", "go", "no name for a key", "stop"]):
            event = SignalReceived(run_id=run.run_id, name=name, payload=encode(at))
            await log.append(run.run_id, encode_event(event), id=f"signal-{at}")
        link = system.jetstream.link

        async def shown() -> bool:
            found = await link.request(f"$JS.API.DIRECT.GET.KV_signals.$KV.signals.{run.run_id}.stop")
            return found.data == b"3"

        await until(shown)
        found = await link.request(f"$JS.API.DIRECT.GET.KV_signals.$KV.signals.{run.run_id}.go")
        assert found.data == b"1"


@pytest.mark.parametrize(("content_type", "body"), [("application/json", b'"<p>hi</p>"'), ("text/html", b"<p>hi</p>")])
async def test_a_response_is_told_to_whoever_waits_for_it_and_the_run_goes_on(
    nats_server: EmbeddedServer, content_type: str, body: bytes
) -> None:
    wf = Workflow("answers")
    wf.respond("answer", status=201, headers={"X-A": "b"}, body_from="page", content_type=content_type)
    wf.sleep("nap", "1ms").after("answer")
    async with running(nats_server) as system, heard(system, "dagnats.http.response.*") as said:
        await system.client.register(wf)
        run = await system.client.start("answers", {"page": "<p>hi</p>"})
        message = await asyncio.wait_for(said.get(), 10)
        assert message.subject == f"dagnats.http.response.{run.run_id}"
        told = json.loads(message.data)
        assert b64decode(told.pop("body")) == body
        assert told == {"status": 201, "headers": {"X-A": "b"}, "content_type": content_type}
        await run.result(timeout="10s")
        assert "workflow.responded" in await kinds(run)


async def test_waiters_of_runs_that_are_over_or_gone_are_forgotten_at_the_next_takeover(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await system.client.register(paid())
        live = await system.client.start("paid", {"order": "o1"}, run_id="live")
        over = await system.client.start("paid", {"order": "o2"}, run_id="over")
        await waits(system, 2)
        await over.cancel()
        await waits(system, 1)
        for run_id in ("over", "gone"):
            left = Waiter(id=f"{run_id}.1.0", run_id=run_id, step_id="wait", attempt=1, event="payment.done")
            await system.jetstream.ports.waiters.put(run_id, "wait", 1, encode_waiter(left))

        async def saved() -> bool:
            stored = await system.jetstream.ports.snapshots.load("over")
            return stored is not None and b'"cancelled"' in stored.data

        await until(saved)
        await system.stop_engine()
        system.start_engine()
        await waits(system, 1)
        await emit(system, "payment.done", {"order": "o1"})
        assert await live.result(timeout="10s") == {"order": "o1"}
