"""`run diagnose`: each situation that it knows is made, with a real engine and real workers, and what is said is read.

A situation gives what was found, and words that have to be in what was seen, in the reason or in the cure.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, get_args

import pytest

from dagnats import Abort, TaskContext, Workflow, handler
from dagnats.client.diagnosis import Finding, Kind
from dagnats.model.worker import WorkerEntry, encode_worker
from tests.client.scene import TASK, Scene, Situations, one_step, played

if TYPE_CHECKING:
    from dagnats.client import RunHandle

SITUATIONS = Situations()
Told = tuple[Finding, tuple[str, ...]]
_HOUR_S = 3600.0


@handler(TASK)
async def long(value: Any) -> Any:
    await asyncio.sleep(_HOUR_S)
    return value


@handler("scene.tells")
async def tells(value: Any, ctx: TaskContext) -> Any:
    await ctx.progress(0.5, "half of it")
    await asyncio.sleep(_HOUR_S)
    return value


@handler("scene.fails")
async def fails(value: Any) -> Any:
    raise ValueError("no such card")


@handler("scene.aborts")
async def aborts(value: Any) -> Any:
    raise Abort("no such card")


# -- the whole ---------------------------------------------------------------------------------------------------


@SITUATIONS.of("no-engine")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    scene.engine.kill()
    await asyncio.sleep(60)
    return await scene.finding(run, "no-engine"), ("no engine has renewed its lease for", "dagnats serve")


@SITUATIONS.of("engine-behind")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    scene.engine.freeze()
    await asyncio.gather(*(scene.ports.log.append("other-0001", b"{}", id=str(at)) for at in range(1_001)))
    return await scene.finding(run, "engine-behind"), ("events behind the end of the log", "among them")


# -- a run -------------------------------------------------------------------------------------------------------


@SITUATIONS.of("run-paused")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    await run.pause()
    found = await scene.finding(run, "run-paused")
    await scene.fix_run(run, found)
    return found, ("run run-0001 is paused", "dagnats run resume run-0001")


@SITUATIONS.of("scheduled")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step())
    run = await scene.client.start("solo", run_id="run-0001", at="+10m")
    return await scene.finding(run, "scheduled"), ("it begins at 2026-01-01T00:10:00Z, in 10 min",)


@SITUATIONS.of("undecided")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.in_flight(await scene.start(one_step()))
    scene.engine.freeze()
    run = await scene.client.start("solo", run_id="run-0002")
    await asyncio.sleep(3)
    return await scene.finding(run, "undecided"), ("its newest event is 3 s old, and is event", "comes to it")


@SITUATIONS.of("not-admitted")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.in_flight(await scene.start(one_step().with_concurrency(max_runs=2)))
    scene.engine.freeze()
    run = await scene.client.start("solo", run_id="run-0002")
    await asyncio.sleep(3)
    return await scene.finding(run, "not-admitted"), ("started 3 s ago", "has not come to its start")


@SITUATIONS.of("workflow-paused")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step())
    await scene.client.pause_workflow("solo", by="ann")
    run = await scene.client.start("solo", run_id="run-0001")
    found = await scene.finding(run, "workflow-paused")
    await scene.fix_run(run, found)
    return found, ("paused by ann; this run is number 1 in line", "dagnats workflow resume solo")


@handler("scene.works")
async def works(value: Any) -> Any:
    return value


async def undoing(scene: Scene) -> RunHandle:
    """A run that failed and is being undone, which nobody does: it goes on."""
    scene.lead()
    await scene.serve([works, aborts])
    workflow = Workflow("solo").with_singleton("cancel")
    book = workflow.task("book", works).with_compensation(workflow.task("unbook", "scene.unbook"))
    workflow.task("work", aborts).after(book)
    run = await scene.start(workflow)
    await scene.in_flight(run, "unbook")
    return run


@SITUATIONS.of("singleton")
async def _(scene: Scene) -> Told:
    await undoing(scene)
    second = await scene.client.start("solo", run_id="run-0002")
    return await scene.finding(second, "singleton"), (
        "another run of solo goes on: run-0001",
        "dagnats run diagnose run-0001",
    )


@SITUATIONS.of("max-runs")
async def _(scene: Scene) -> Told:
    scene.lead()
    first = await scene.start(one_step().with_concurrency(max_runs=1))
    await scene.in_flight(first)
    second = await scene.client.start("solo", run_id="run-0002")
    return await scene.finding(second, "max-runs"), (
        "1 of at most 1 runs of solo go on (run-0001); this one is number 1 in line",
        "dagnats workflow limit solo --max-runs 2",
    )


@SITUATIONS.of("ended")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([aborts])
    run = await scene.start(one_step(task=aborts))
    await run.wait(timeout="1h")
    found = await scene.finding(run, "ended")
    return found, ("step work failed: no such card", "dagnats run retry run-0001 --mode replay")


@SITUATIONS.of("older-definition")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.client.register(one_step(task="scene.other"))
    return await scene.finding(run, "older-definition"), ("registered is", "dagnats run retry run-0001")


@SITUATIONS.of("dead-letters")
async def _(scene: Scene) -> Told:
    run = await undoing(scene)
    return await scene.finding(run, "dead-letters"), (
        "1 of its tasks are dead letters: 1",
        "dagnats dlq list --run run-0001",
    )


@SITUATIONS.of("snapshot-behind")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    await asyncio.sleep(90)
    await scene.ports.snapshots.purge()
    return await scene.finding(run, "snapshot-behind"), ("90 s old, and its snapshot is not there", "nothing is held")


# -- a step ------------------------------------------------------------------------------------------------------


@SITUATIONS.of("same-error")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([fails])
    workflow = Workflow("solo")
    workflow.task("work", fails).with_retry(max_attempts=5, initial_delay="1m")
    run = await scene.start(workflow)
    await asyncio.sleep(130)
    return await scene.finding(run, "same-error"), (
        "attempts of 5 failed with the same error: ",
        "no such card",
        "dagnats run events run-0001 --step work",
    )


@SITUATIONS.of("retry")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([fails])
    workflow = Workflow("solo")
    workflow.task("work", fails).with_retry(max_attempts=5, initial_delay="10m")
    run = await scene.start(workflow)
    return await scene.finding(run, "retry"), ("its next attempt is due in 10 min", "no such card", "run fail")


@SITUATIONS.of("too-slow")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([long])
    workflow = Workflow("solo")
    workflow.task("work", long).with_timeout("10s").with_retry(max_attempts=3, initial_delay="1m")
    run = await scene.start(workflow)
    await asyncio.sleep(15)
    return await scene.finding(run, "too-slow"), (
        "longer than the 10 s that it may take; this is attempt 1 of 3",
        "slower than its step's timeout",
    )


@SITUATIONS.of("silent")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([tells])
    run = await scene.start(one_step(task=tells))
    await asyncio.sleep(600)
    return await scene.finding(run, "silent"), (
        "worker w1 began it 10 min ago, and its handler said last 10 min ago",
        "it may hang",
        "dagnats run fail run-0001 work",
    )


@SITUATIONS.of("in-line")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = one_step().with_concurrency(max_steps=1)
    workflow.task("more", TASK)
    run = await scene.start(workflow)
    return await scene.finding(run, "in-line"), ("as many steps of the run are in flight as may be",)


@SITUATIONS.of("child")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step("small"))
    workflow = Workflow("large")
    workflow.sub_workflow("work", "small")
    run = await scene.start(workflow)
    await asyncio.sleep(1)
    return await scene.finding(run, "child"), ("runs for it, and is running", "dagnats run diagnose ")


@SITUATIONS.of("timer-overdue")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.sleep("work", "10s")
    run = await scene.start(workflow)
    await scene.in_flight(run)
    scene.engine.kill()
    await asyncio.sleep(40)
    return await scene.finding(run, "timer-overdue"), ("its time was over 3", "dagnats queue repair --fix")


@SITUATIONS.of("sleep")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.sleep("work", "10m")
    run = await scene.start(workflow)
    return await scene.finding(run, "sleep"), ("it sleeps until 2026-01-01T00:10:0", "dagnats run skip run-0001 work")


@SITUATIONS.of("approval")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.approval("work", subject="approvals.scene", timeout="1h")
    run = await scene.start(workflow)
    return await scene.finding(run, "approval"), (
        "somebody's approval, until 2026-01-01T01:00:0",
        "who listens on 'approvals.scene' was asked",
        "dagnats run approve run-0001 work",
    )


@SITUATIONS.of("wait-for-event")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.wait_for_event("work", "payment.completed", match=workflow.event["id"] == 1, timeout="1h")
    run = await scene.start(workflow)
    return await scene.finding(run, "wait-for-event"), (
        "it waits for event 'payment.completed', until",
        "dagnats event publish payment.completed",
    )


@SITUATIONS.of("queue-paused")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step())
    await scene.client.pause_queue(TASK, by="ann")
    run = await scene.client.start("solo", run_id="run-0001")
    found = await scene.finding(run, "queue-paused")
    await scene.fix_run(run, found)
    return found, (f"queue {TASK} is paused by ann", f"dagnats queue resume {TASK}")


@SITUATIONS.of("queue-full")
async def _(scene: Scene) -> Told:
    scene.lead(most_queued=2)
    await scene.client.register(one_step())
    for at in range(1, 3):
        await scene.client.start("solo", run_id=f"run-000{at}")
    await asyncio.sleep(2)  # now they are counted
    run = await scene.client.start("solo", run_id="run-0003")
    return await scene.finding(run, "queue-full"), (f"queue {TASK} has as many tasks as it takes", "number 1 in line")


@SITUATIONS.of("concurrency")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.task("work", TASK).with_task_concurrency(1)
    await scene.in_flight(await scene.start(workflow))
    second = await scene.client.start("solo", run_id="run-0002")
    return await scene.finding(second, "concurrency"), (
        f"1 of at most 1 tasks of type {TASK} are in flight (run-0001/work); it is number 1 in line",
        f"dagnats queue limit {TASK} --concurrency 2",
    )


@SITUATIONS.of("rate")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.task("work", TASK).with_rate_limit(1, "1h")
    await scene.in_flight(await scene.start(workflow))
    second = await scene.client.start("solo", run_id="run-0002")
    await asyncio.sleep(600)
    return await scene.finding(second, "rate"), (
        "the next one may in 50 min; it has been number 1 in line for 10 min",
        f"dagnats queue show {TASK}",
    )


@SITUATIONS.of("no-worker")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([long])
    run = await scene.start(one_step(task="scene.wrok"))
    return await scene.finding(run, "no-worker"), (
        f"no worker serves 'scene.wrok'; workers serve '{TASK}'",
        "dagnats worker",
    )


@SITUATIONS.of("group-unmatched")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([long])
    workflow = Workflow("solo")
    workflow.task("work", TASK).with_worker_group("gpu")
    run = await scene.start(workflow)
    return await scene.finding(run, "group-unmatched"), ("none of them in group 'gpu'", "dagnats worker --group gpu")


@SITUATIONS.of("worker-stale")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.ports.directory.put("w9", encode_worker(WorkerEntry(worker_id="w9", task_types=(TASK,))))
    await scene.in_flight(run)
    await asyncio.sleep(10)
    return await scene.finding(run, "worker-stale"), (
        f"w9 should serve queue {TASK}, and nobody takes tasks from it",
        "dagnats worker",
    )


@SITUATIONS.of("task-missing")
async def _(scene: Scene) -> Told:
    scene.lead()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    await scene.handed_out(run)
    (task,) = await scene.ports.tasks.page(after=0, count=9)
    await scene.ports.tasks.remove(task.seq, task.time_ns)
    await scene.serve([long])
    await asyncio.sleep(5)
    return await scene.finding(run, "task-missing"), (f"queue {TASK} is empty", "dagnats queue repair --fix")


@SITUATIONS.of("handed-out")
async def _(scene: Scene) -> Told:
    scene.lead()
    worker = await scene.serve([long])
    await asyncio.sleep(1)  # now it asks for tasks
    worker.freeze()
    run = await scene.start(one_step())
    await scene.in_flight(run)
    await asyncio.sleep(3)
    return await scene.finding(run, "handed-out"), (
        "in the hands of a worker, which has not said that it began it",
        "another one gets the task 10 s after",
    )


@SITUATIONS.of("busy-workers")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([long], concurrency=1)
    await scene.running(await scene.start(one_step()))
    run = await scene.client.start("solo", run_id="run-0002")
    await asyncio.sleep(60)
    return await scene.finding(run, "busy-workers"), ("1 tasks wait, 1 are in the hands of 1 workers",)


@SITUATIONS.of("queued")
async def _(scene: Scene) -> Told:
    scene.lead()
    (await scene.serve([long])).freeze()
    run = await scene.start(one_step())
    return await scene.finding(run, "queued"), ("ms ago", "a worker will take it")


@SITUATIONS.of("worker-gone")
async def _(scene: Scene) -> Told:
    scene.lead()
    worker = await scene.serve([long])
    run = await scene.start(one_step())
    await scene.running(run)
    worker.kill()
    return await scene.finding(run, "worker-gone"), ("worker w1 began it", "goes to another worker")


@SITUATIONS.of("timeout-overdue")
async def _(scene: Scene) -> Told:
    scene.lead()
    worker = await scene.serve([long])
    workflow = Workflow("solo")
    workflow.task("work", long).with_timeout("30s")
    run = await scene.start(workflow)
    await scene.running(run)
    worker.freeze()  # else it would end the attempt itself
    scene.engine.kill()
    await asyncio.sleep(60)
    return await scene.finding(run, "timeout-overdue"), ("it may take 30 s", "has not ended it", "queue repair --fix")


@SITUATIONS.of("running")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([long])
    run = await scene.start(one_step())
    await scene.running(run)
    return await scene.finding(run, "running"), ("worker w1 has been at it for", "nothing limits", "run fail")


async def keyed(scene: Scene) -> str:
    scene.lead()
    workflow = Workflow("solo")
    workflow.task("work", TASK).with_keyed_rate_limit("customer", 1, "1h")
    await scene.handed_out(await scene.start(workflow, value={"customer": "ann"}))
    second = await scene.client.start("solo", {"customer": "ann"}, run_id="run-0002")
    return (await scene.finding(second, "rate")).seen


async def said_by_somebody(scene: Scene) -> str:
    scene.lead()
    await scene.client.register(one_step())
    await scene.client.limit_queue(TASK, rate=1, period="10m")
    await scene.handed_out(await scene.client.start("solo", run_id="run-0001"))
    second = await scene.client.start("solo", run_id="run-0002")
    return (await scene.finding(second, "rate")).seen


def test_of_a_rate_for_each_customer_the_customers_own_one_is_told() -> None:
    assert "for 'ann' have begun as may in this time, the next one may in 60 min" in played(keyed)


def test_of_an_operators_rate_it_is_told_when_it_lets_the_next_one_begin() -> None:
    assert "may in this time, the next one may in 10 min" in played(said_by_somebody)


@pytest.mark.parametrize("kind", SITUATIONS)
def test_a_situation_that_is_really_so_is_found_and_told(kind: str) -> None:
    found, words = played(SITUATIONS[kind])
    assert found.kind == kind
    said = "\n".join((found.seen, found.why, found.cure))
    assert [word for word in words if word not in said] == [], said


def test_whatever_can_be_found_of_a_run_has_its_situation() -> None:
    assert SITUATIONS.keys() == set(get_args(Kind))
