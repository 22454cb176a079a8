"""Tokens of waitpoints: whoever has one answers that wait, once and in time, and learns why when it cannot be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import ConflictError, NotFoundError, Workflow
from dagnats.client.audit import audit
from dagnats.runtime.api.access import Access
from dagnats.runtime.token import hidden
from dagnats.runtime.waitpoint import PREFIX, Place, opened, waitpoint_token
from tests.api.site import WORK, Answer, Caller, Site, in_virtual_time, site
from tests.api.test_token import caller

if TYPE_CHECKING:
    from dagnats.client.run import RunHandle

GUARDED = Access(tokens=True)
FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


def paying() -> Workflow[Any, Any]:
    """A task, then a wait for the payment of what it has ordered."""
    wf = Workflow("paying")

    async def order(value: Any) -> Any:
        raise NotImplementedError

    first = wf.step(task=WORK)(order)
    wf.wait_for_event("paid", "payment.done", match=wf.event["id"] == 7, timeout="1h").after(first)
    return wf


def asking() -> Workflow[Any, Any]:
    wf = Workflow("asking")
    wf.approval("ask", subject="approvals.test", timeout="1h", form=FORM)
    return wf


def later() -> Workflow[Any, Any]:
    """An approval behind a task."""
    wf = Workflow("later")

    async def order(value: Any) -> Any:
        raise NotImplementedError

    first = wf.step(task=WORK)(order)
    wf.approval("ask", subject="approvals.test", timeout="1h").after(first)
    return wf


async def bring(web: Caller, token: str, body: Any = None, how: str = "complete") -> Answer:
    return await web.post(f"/v1/waitpoints/{token}/{how}", body)


def said(answer: Answer) -> tuple[int, str]:
    """The status, and the kind of problem."""
    return answer.status, answer.json["type"].removeprefix("urn:dagnats:")


async def asked(here: Site) -> tuple[RunHandle, str]:
    """A run that waits for its approval, and the token of that."""
    run = await here.client.start("asking")
    await here.has(run, "approval.requested")
    return run, await run.waitpoint_token("ask")


async def ordered(here: Site, web: Caller, run: RunHandle) -> None:
    """Let the first step of a run be done."""
    (task,) = await web.poll(WORK)
    assert task["run_id"] == run.run_id
    assert (await web.resolve(task, "complete", output={})).status == 200


# -- answering ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_whoever_has_the_token_answers_once_without_any_other_and_the_audit_says_so() -> None:
    async with site(asking()) as here:
        stranger = await here.api(GUARDED)
        run, token = await asked(here)
        unfit = await bring(stranger, token, {"amount": "much"})
        assert said(unfit) == (422, "unfit")
        assert said(await stranger.send(f"/v1/waitpoints/{token}/complete", b"{")) == (400, "invalid")
        done = await bring(stranger, token, {"amount": 5})
        assert (done.status, done.json) == (200, {"status": "completed", "run_id": run.run_id, "step": "ask"})
        assert await run.result() == {"approved": True, "amount": 5}
        again = await bring(stranger, token, {"amount": 6})
        assert said(again) == (409, "conflict")
        assert "was completed already" in again.json["detail"]
        (deed, *_) = [each for each in await audit(here.ports) if each.outcome == "done"]
        assert (deed.by, deed.action) == ("waitpoint token", "POST /v1/waitpoints/{token}/complete")
        assert (deed.run_id, deed.target) == (run.run_id, f"{run.run_id} ask")


@in_virtual_time
async def test_an_approval_is_rejected_by_its_token_once_and_an_event_is_not() -> None:
    async with site(asking(), paying()) as here:
        web = await here.api()
        run, token = await asked(here)
        assert (await bring(web, token, {"why": "too much"}, "reject")).json["status"] == "rejected"
        view = await run.wait()
        assert (view.status, view.error) == ("failed", 'approval rejected by waitpoint token: {"why":"too much"}')
        for how in ("reject", "complete"):
            assert said(await bring(web, token, {"amount": 1}, how)) == (409, "conflict")
        buying = await here.client.start("paying")
        refused = await bring(web, await buying.waitpoint_token("paid"), None, "reject")
        assert said(refused) == (409, "conflict")
        assert "cannot be rejected" in refused.json["detail"]


@in_virtual_time
async def test_an_event_that_is_brought_before_its_wait_begins_is_there_when_it_does() -> None:
    async with site(paying()) as here:
        web = await here.api()
        run = await here.client.start("paying")
        token = await run.waitpoint_token("paid")
        assert (await bring(web, token, {"id": 7})).status == 200
        assert said(await bring(web, token, {"id": 8})) == (409, "conflict")
        await ordered(here, web, run)
        assert await run.result() == {"id": 7}
        assert said(await bring(web, token, {"id": 9})) == (409, "conflict")


@in_virtual_time
async def test_an_approval_takes_no_answer_before_it_is_asked_for() -> None:
    async with site(later()) as here:
        web = await here.api()
        run = await here.client.start("later")
        token = await run.waitpoint_token("ask")
        early = await bring(web, token)
        assert said(early) == (409, "too-early")
        assert early.headers["retry-after"] == "5"
        await ordered(here, web, run)
        await here.has(run, "approval.requested")
        assert token == await run.waitpoint_token("ask")
        assert (await bring(web, token)).status == 200
        assert await run.result() == {"approved": True}


# -- not answering -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_token_is_of_no_use_once_its_wait_is_over() -> None:
    async with site(asking(), paying()) as here:
        web = await here.api()
        (late, expired), (ended, of_ended) = await asked(here), await asked(here)
        buying = await here.client.start("paying")
        unpaid = await buying.waitpoint_token("paid")
        await ordered(here, web, buying)
        await ended.cancel()
        assert said(await bring(web, of_ended, {"amount": 1})) == (410, "gone")
        assert (await late.wait()).error == "approval timed out"
        assert said(await bring(web, expired, {"amount": 1})) == (410, "gone")
        assert await buying.result() == {"timeout": True}
        assert said(await bring(web, unpaid, {"id": 7})) == (410, "gone")
        await late.replay()
        await asyncio.sleep(1)
        assert said(await bring(web, expired, {"amount": 1})) == (410, "gone")
        fresh = await late.waitpoint_token("ask")
        assert fresh != expired
        assert (await bring(web, fresh, {"amount": 1})).status == 200


@in_virtual_time
async def test_what_is_no_token_of_ours_is_not_found_in_one_text_and_not_recorded() -> None:
    async with site(asking()) as here:
        web = await here.api(GUARDED)
        run, token = await asked(here)
        place = Place(run.run_id, "ask", 1)
        wrong = [
            "x",
            f"{PREFIX}x.{'0' * 64}",
            f"{token[:-1]}{'0' if token[-1] != '0' else '1'}",
            waitpoint_token(b"k" * 32, place),
            token.rpartition(".")[2],
            f"{token.partition('.')[0]}A.{token.rpartition('.')[2]}",
        ]
        answers = [await bring(web, each, {"amount": 1}, how) for each in wrong for how in ("complete", "reject")]
        assert {said(each) for each in answers} == {(404, "not-found")}
        assert {each.json["detail"] for each in answers} == {"no wait has this token"}
        assert await audit(here.ports) == []
        assert (await web.get(f"/v1/waitpoints/{token}/complete")).status == 401
        assert not (await run.view()).ended


@in_virtual_time
async def test_whoever_has_one_token_does_not_fill_the_audit_with_it() -> None:
    async with site(asking()) as here:
        web = await here.api()
        _, token = await asked(here)
        assert (await bring(web, token, {"amount": 1})).status == 200
        for _ in range(30):
            assert said(await bring(web, token, {"amount": 1})) == (409, "conflict")
        assert len(await audit(here.ports, limit=100)) == 21


@in_virtual_time
async def test_a_body_that_is_too_large_for_an_answer_is_refused() -> None:
    async with site(paying()) as here:
        web = await here.api()
        run = await here.client.start("paying")
        answer = await bring(web, await run.waitpoint_token("paid"), "x" * 300_000)
        assert said(answer) == (413, "too-large")


def test_a_token_says_what_it_is_for_and_only_under_its_key() -> None:
    place = Place("run-1", "wait.for.x", 12)
    token = waitpoint_token(b"k" * 32, place)
    assert opened(b"k" * 32, token) == place
    assert opened(b"l" * 32, token) is None
    assert (
        hidden(f"POST /v1/waitpoints/{token}/complete failed") == "POST /v1/waitpoints/dagnats_wait_…/complete failed"
    )


# -- who may have one --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_whoever_may_answer_runs_may_have_a_token_and_it_is_in_no_record() -> None:
    async with site(asking()) as here:
        run, token = await asked(here)
        path = f"/v1/waitpoints/{run.run_id}/ask"
        reader, worker = await caller(here, "read"), await caller(here, "run")
        assert (await reader.send(f"{path}/token", b"")).status == 403
        made = await worker.send(f"{path}/token", b"")
        assert (made.json["token"], made.headers["cache-control"]) == (token, "no-store")
        assert (await bring(reader, token, {"amount": 1})).status == 200
        shown = [await reader.get(each) for each in (path, "/v1/waitpoints", f"/v1/runs/{run.run_id}/events")]
        secret = token.rpartition(".")[2].encode()
        for stream in here.server.streams:
            for message in stream.fitting(">"):
                assert secret not in message.data, message
        assert not any(secret in answer.body for answer in shown)


@in_virtual_time
async def test_a_step_that_waits_for_nobody_has_no_token() -> None:
    async with site(paying()) as here:
        run = await here.client.start("paying")
        with pytest.raises(ConflictError, match="it is a normal step"):
            await run.waitpoint_token("order")
        with pytest.raises(NotFoundError):
            await run.waitpoint_token("piad")
        await run.cancel()
        with pytest.raises(ConflictError, match=r"any more: run .* is cancelled"):
            await run.waitpoint_token("paid")
