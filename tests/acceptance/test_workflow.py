"""Whole workflows, from a start to an end, as their users see them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Abort, Compensation, Continue, FailureInfo, TaskContext, Workflow, handler
from dagnats.errors import InputError
from dagnats.model.check import load_definition
from dagnats.testing import Harness

if TYPE_CHECKING:
    from dagnats.client.view import RunView
    from dagnats.model.definition import WorkflowDef
    from dagnats.testing.harness import HarnessRun

HOUR_NS = 3600 * 10**9


def statuses(run: RunView) -> dict[str, str]:
    return {step.id: step.status for step in run.steps}


async def kinds(run: HarnessRun) -> list[str]:
    return [event.type for event in await run.history()]


async def same(value: Any) -> Any:
    return value


async def field(given: dict[str, int]) -> int:
    return given["n"]


async def one_more(n: int) -> int:
    return n + 1


async def tenfold(n: int) -> int:
    return n * 10


async def shown(value: Any) -> list[Any]:
    return ["it got", value]


def document(*steps: dict[str, Any], **settings: Any) -> WorkflowDef:
    """A definition as another language writes it; a step's task type is `t.<id>`."""
    written = [{"task": f"t.{step['id']}", **step} for step in steps]
    return load_definition({"name": "w", "version": "1", "steps": written, **settings})


# -- graphs ----------------------------------------------------------------------------------------------------


async def test_a_chain_completes_and_its_history_tells_the_runs_life() -> None:
    async with Harness([document({"id": "a"}, {"id": "b", "depends_on": ["a"]})]) as h:
        h.stub("t.a", one_more)
        h.stub("t.b", tenfold)
        run = await h.start("w", 1)
        assert await run.result() == 20
        assert statuses(await run.view()) == {"a": "completed", "b": "completed"}
        history = await run.history()
        assert [(event.type, event.step_id) for event in history] == [
            ("workflow.started", ""),
            ("step.completed", "a"),
            ("step.completed", "b"),
            ("workflow.completed", ""),
        ]


async def test_parallel_steps_run_side_by_side_and_their_join_gets_outputs_by_step() -> None:
    wf = Workflow("fan")
    together = 0
    most = 0

    @wf.step
    async def start() -> int:
        return 7

    async def one_of_three(n: int, ctx: TaskContext) -> str:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(3600)
        together -= 1
        return f"{ctx.step_id}{n}"

    shared = handler("fan.part")(one_of_three)
    parts = [wf.task(name, shared).after(start) for name in ("x", "y", "z")]
    wf.task("join", "fan.join").after(*parts)
    async with Harness([wf]) as h:
        h.stub("fan.join", same)
        run = await h.run(wf)
        assert run.output == {"x": "x7", "y": "y7", "z": "z7"}
        assert most == 3
        assert timedelta(hours=1) <= h.clock.elapsed < timedelta(hours=1, minutes=1), "the hours passed together"


async def test_a_loop_turns_until_its_handler_gives_a_result_with_an_event_for_each_turn() -> None:
    wf = Workflow("loop")

    @wf.agent_loop(max_iterations=5)
    async def count(n: int, ctx: TaskContext) -> str | Continue[int]:
        return Continue(n + 1) if n < 3 else f"{n} after {ctx.iteration} turns"

    async with Harness([wf]) as h:
        run = await h.start(wf, 0)
        assert await run.result() == "3 after 3 turns"
        counted = Counter(await kinds(run))
        assert (counted["step.continue"], counted["step.completed"]) == (3, 1)


async def test_an_agent_step_reaches_its_worker_with_its_run_and_step() -> None:
    wf = Workflow("ask")

    @wf.agent
    async def think(ctx: TaskContext) -> dict[str, Any]:
        return {"run": ctx.run_id, "step": ctx.step_id, "workflow": ctx.workflow, "attempt": ctx.attempt}

    async with Harness([wf]) as h:
        run = await h.run(wf, run_id="r-1")
        assert run.output == {"run": "r-1", "step": "think", "workflow": "ask", "attempt": 1}


async def test_a_map_runs_a_task_for_each_item_and_what_follows_gets_the_outputs_in_order() -> None:
    definition = document(
        {"id": "list"}, {"id": "each", "type": "map", "depends_on": ["list"]}, {"id": "sum", "depends_on": ["each"]}
    )
    async with Harness([definition]) as h:

        async def slowest_first(n: int) -> int:
            await asyncio.sleep(100 - n)
            return n * n

        h.stub("t.list", returns=[3, 1, 2])
        h.stub("t.each", slowest_first)
        h.stub("t.sum", same)
        assert (await h.run("w")).output == [9, 1, 4]
        assert h.calls("t.each") == 3


async def test_a_step_whose_condition_is_true_is_skipped_and_what_depends_on_it_runs() -> None:
    skip = {"step_id": "a", "field": "skip", "op": "==", "value": True}
    definition = document(
        {"id": "a"}, {"id": "b", "depends_on": ["a"], "skip_if": skip}, {"id": "c", "depends_on": ["b"]}
    )
    async with Harness([definition]) as h:
        h.stub("t.a", same)
        h.stub("t.b", returns="ran")
        h.stub("t.c", shown)
        skipped = await h.run("w", {"skip": True})
        assert statuses(skipped) == {"a": "completed", "b": "skipped", "c": "completed"}
        assert skipped.output == ["it got", None]
        assert (await h.run("w", {"skip": False})).output == ["it got", "ran"]


async def test_a_child_run_knows_its_parent_and_its_output_is_the_steps() -> None:
    child = Workflow("child")
    child.task("work", "child.work")
    parent = Workflow("parent")
    parent.task("after", "parent.after").after(parent.sub_workflow("call", "child"))
    async with Harness([child, parent]) as h:
        h.stub("child.work", one_more)
        h.stub("parent.after", tenfold)
        run = await h.start("parent", 4)
        assert await run.result() == 50
        (spawned,) = [event for event in await run.history() if event.type == "workflow.spawn"]
        begun = h.drive(h.client.handle(spawned.payload["child_run_id"]).view())
        assert begun.status == "completed"
        assert begun.parent_run_id == run.run_id


async def test_a_child_that_a_go_worker_asks_for_runs_and_its_parent_hears_of_its_end() -> None:
    child, parent = Workflow("child"), Workflow("parent")
    child.task("work", "child.work")
    asking = parent.task("ask", "parent.ask")
    parent.sleep("rest", "1m").after(asking)
    async with Harness([child, parent]) as h:

        async def ask(ctx: TaskContext) -> str:
            payload = {"child_run_id": "NUID0", "child_workflow": "child", "parent_step_id": "ask", "input": 4}
            spawn = {"type": "workflow.spawn", "run_id": ctx.run_id, "timestamp": "", "payload": payload}
            for _ in range(2):
                log = h.client.connection.ports.log
                await log.append(ctx.run_id, json.dumps(spawn).encode(), id=f"{ctx.run_id}.workflow.spawn")
            return "asked"

        h.stub("child.work", one_more)
        h.stub("parent.ask", ask)
        run = await h.start("parent")
        assert (await run.wait()).status == "completed"
        begun = h.drive(h.client.handle("NUID0").view())
        assert (begun.status, begun.output, begun.parent_run_id) == ("completed", 5, run.run_id)
        (told,) = [event for event in await run.history() if event.type == "workflow.child.completed"]
        assert (told.step_id, told.payload["child_run_id"]) == ("ask", "NUID0")


# -- failures --------------------------------------------------------------------------------------------------


async def test_a_step_that_fails_for_good_undoes_the_completed_ones_last_one_first() -> None:
    wf = Workflow("trip")
    undone: list[tuple[str, Any, str]] = []
    last = None
    for name in ("flight", "hotel", "car"):
        step = wf.task(name, f"book.{name}").with_compensation(f"cancel-{name}")
        last = step if last is None else step.after(last)
        wf.task(f"cancel-{name}", f"cancel.{name}")
    assert last is not None
    wf.task("pay", "book.pay").after(last)
    async with Harness([wf]) as h:

        async def undo(what: Compensation[Any]) -> None:
            undone.append((what.original_step, what.original_output, what.trigger_step))

        for name in ("flight", "hotel", "car"):
            h.stub(f"book.{name}", returns=f"{name} booked")
            h.stub(f"cancel.{name}", undo)
        h.stub("book.pay", raises=Abort("card declined"))
        run = await h.run(wf, "Rome")
        assert run.status == "compensated"
        assert (run.failed_step, run.error) == ("pay", "card declined")
        assert undone == [
            ("car", "car booked", "pay"),
            ("hotel", "hotel booked", "pay"),
            ("flight", "flight booked", "pay"),
        ]


async def test_a_failure_step_gets_what_failed_and_why_and_the_run_completes() -> None:
    wf = Workflow("mend")
    wf.task("work", "mend.work").with_on_failure("repair")
    wf.task("repair", "mend.repair")
    async with Harness([wf]) as h:
        h.stub("mend.work", raises=Abort('no \x07 disk "here"'))

        async def repair(info: FailureInfo[Any]) -> list[Any]:
            return [info.failed_step, info.error, info.input]

        h.stub("mend.repair", repair)
        run = await h.start(wf, {"n": 1})
        view = await run.wait()
        assert view.status == "completed"
        assert statuses(view) == {"work": "recovered", "repair": "completed"}
        (repaired,) = [step for step in view.steps if step.id == "repair"]
        assert repaired.output == ["work", 'no \x07 disk "here"', {"n": 1}]


async def test_a_failure_step_named_in_json_does_not_run_by_itself() -> None:
    definition = document({"id": "a", "on_failure": "f", "compensate": "u"}, {"id": "f"}, {"id": "u"}, aux_steps={})
    async with Harness([definition]) as h:
        h.stub("t.a", returns=1)
        run = await h.run("w")
        assert (run.status, run.output) == ("completed", 1)
        assert (h.calls("t.f"), h.calls("t.u")) == (0, 0)


@pytest.mark.parametrize("raised", [Abort("never"), RuntimeError("once")])
async def test_a_failure_that_nothing_repeats_fails_step_and_run_after_one_attempt(raised: Exception) -> None:
    async with Harness([document({"id": "a"}, {"id": "b", "depends_on": ["a"]})]) as h:
        h.stub("t.a", raises=raised)
        run = await h.run("w")
        assert (run.status, run.failed_step, h.calls("t.a"), h.calls("t.b")) == ("failed", "a", 1, 0)
        assert run.steps[0].attempts == 1
        assert str(raised) in run.error


# -- beginnings and ends ---------------------------------------------------------------------------------------


async def test_with_one_run_at_a_time_the_second_waits_as_pending_and_begins_when_the_first_ends() -> None:
    wf = Workflow("narrow").with_concurrency(max_runs=1)
    wf.sleep("nap", "1h")
    async with Harness([wf]) as h:
        first, second = await h.start(wf), await h.start(wf)
        await h.advance(minutes=30)
        assert ((await first.view()).status, (await second.view()).status) == ("running", "pending")
        ended, later = await first.wait(), await second.wait()
        assert (ended.status, later.status) == ("completed", "completed")
        assert later.ended_ns - ended.ended_ns >= HOUR_NS


async def test_a_run_past_its_deadline_ends_without_any_other_event() -> None:
    wf = Workflow("late").with_timeout("1h")
    wf.wait_for_event("wait", "never", match=wf.event["n"] == 1, timeout="5h")
    async with Harness([wf]) as h:
        run = await h.start(wf)
        view = await run.wait()
        assert (view.status, view.error) == ("failed", "the run's timeout is over")
        assert HOUR_NS <= view.ended_ns - view.created_ns < HOUR_NS + 10**9
        assert statuses(view) == {"wait": "cancelled"}
        assert (await kinds(run))[-1] == "workflow.failed"


async def test_a_childs_own_deadline_ends_it_and_fails_its_parents_step() -> None:
    child = Workflow("child").with_timeout("1h")
    child.sleep("nap", "5h")
    parent = Workflow("parent")
    parent.sub_workflow("call", "child")
    async with Harness([child, parent]) as h:
        view = await h.run("parent")
        assert (view.status, view.failed_step) == ("failed", "call")
        assert "the run's timeout is over" in view.error
        assert HOUR_NS <= view.ended_ns - view.created_ns < HOUR_NS + 10**9


async def test_input_that_does_not_fit_the_schema_is_refused_and_input_that_fits_runs() -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    async with Harness([document({"id": "a"}, input_schema=schema)]) as h:
        h.stub("t.a", field)
        with pytest.raises(InputError):
            await h.start("w", {"n": "one"})
        assert (await h.run("w", {"n": 1})).output == 1
        assert h.calls("t.a") == 1


async def test_a_run_that_is_to_begin_later_begins_at_its_time_and_completes() -> None:
    async with Harness([document({"id": "a"})]) as h:
        h.stub("t.a", returns="done")
        run = h.drive(h.client.start("w", at=timedelta(hours=2)))
        await h.advance(hours=1, minutes=59)
        assert (h.drive(run.view()).status, h.calls("t.a")) == ("scheduled", 0)
        await h.advance(minutes=2)
        assert (h.drive(run.result()), h.calls("t.a")) == ("done", 1)


async def test_steps_after_a_response_run_and_complete() -> None:
    definition = document(
        {"id": "a"},
        {"id": "answer", "type": "respond", "task": "", "depends_on": ["a"], "config": {"status": 201}},
        {"id": "b", "depends_on": ["answer"]},
    )
    async with Harness([definition]) as h:
        h.stub("t.a", returns={"id": 1})
        h.stub("t.b", same)
        run = await h.start("w")
        assert await run.result() == {"id": 1}
        (said,) = [event for event in await run.history() if event.type == "workflow.responded"]
        assert (said.payload["status"], said.payload["body"]) == (201, {"id": 1})


async def test_a_map_of_no_items_completes() -> None:
    definition = document({"id": "list"}, {"id": "each", "type": "map", "depends_on": ["list"]})
    async with Harness([definition]) as h:
        h.stub("t.list", returns=[])
        assert (await h.run("w")).output == []
        assert h.calls("t.each") == 0


async def test_starts_at_the_same_instant_are_runs_of_their_own_with_inputs_of_their_own() -> None:
    async with Harness([document({"id": "a"})]) as h:
        h.stub("t.a", tenfold)

        async def started() -> list[Any]:
            runs = await asyncio.gather(*(h.client.start("w", at) for at in range(100)))
            return [(run.run_id, await run.result()) for run in runs]

        runs = h.drive(started())
        assert len({run_id for run_id, _ in runs}) == 100
        assert [output for _, output in runs] == [10 * at for at in range(100)]
