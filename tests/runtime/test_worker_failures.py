"""Whatever a handler does, its step says what went wrong, and the worker goes on."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from dagnats import Abort, Retry, SyncTaskContext, TaskContext, handler
from dagnats.model.event import Failure
from tests.support.yard import memory_yard

if TYPE_CHECKING:
    from collections.abc import Callable


class Fits(NamedTuple):
    """What a handler does, and what its step says of it."""

    work: Callable[..., Any]
    error: str
    kind: str = "retriable"
    detail: str = ""
    timeout_ms: int = 0


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def raising(error: BaseException) -> Callable[..., Any]:
    async def work() -> None:
        raise error

    return work


def raising_in_a_thread(error: BaseException) -> Callable[..., Any]:
    def work() -> None:
        raise error

    return work


def giving(declared: type, value: object) -> Callable[..., Any]:
    async def work() -> Any:
        return value

    work.__annotations__["return"] = declared
    return work


async def sleep_for_ever() -> None:
    await asyncio.Event().wait()


def wait_to_be_told(ctx: SyncTaskContext) -> str:
    while not ctx.is_cancelled:
        pass
    return "too late"


async def cancel_oneself() -> None:
    raise asyncio.CancelledError


async def cancel_ones_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def fail_with_bytes_of_a_file_name(ctx: TaskContext) -> None:
    ctx.fail("cannot read a\udcff.txt")


async def pause_for_two_months(ctx: TaskContext) -> None:
    await ctx.pause("60d")


async def stream_an_object(ctx: TaskContext) -> None:
    await ctx.stream({"a": 1})  # pyright: ignore[reportArgumentType]  # the mistake that is tested


async def emit_what_is_no_type(ctx: TaskContext) -> None:
    await ctx.emit_event("a b*")


async def many_at_once() -> None:
    raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])


async def takes(number: int) -> int:
    return number


ALL = [
    Fits(raising(ValueError("bad luck")), "ValueError: bad luck"),
    Fits(raising(Abort("for good")), "for good", "non_retriable"),
    Fits(raising(Retry("busy", after=timedelta(seconds=2))), "busy", "retry_after"),
    Fits(raising(SystemExit(3)), "SystemExit: 3"),
    Fits(raising(Unspeakable()), "Unspeakable: (its text cannot be read: __str__ raised)"),
    Fits(raising(TimeoutError()), "TimeoutError"),
    Fits(raising(RecursionError("too deep")), "RecursionError: too deep"),
    Fits(raising(MemoryError()), "MemoryError"),
    Fits(raising_in_a_thread(StopIteration(1)), "RuntimeError: StopIteration: 1"),
    Fits(raising_in_a_thread(SystemExit(3)), "SystemExit: 3"),
    Fits(many_at_once, "ExceptionGroup: two (2 sub-exceptions)"),
    Fits(cancel_oneself, "the handler cancelled itself"),
    Fits(cancel_ones_own_task, "the handler cancelled itself"),
    Fits(fail_with_bytes_of_a_file_name, "cannot read a\\udcff.txt"),
    Fits(pause_for_two_months, "ValueError: the delay is '60d'; a step rests 30 days at most: pause again when"),
    Fits(stream_an_object, "TypeError: a chunk is bytes or text, not dict: stream json.dumps(…) of it"),
    Fits(emit_what_is_no_type, "DagnatsError: 'a b*' cannot be an event's type; write words joined by dots"),
    Fits(sleep_for_ever, "no result within the step's timeout of 20ms", "retriable", "timeout", 20),
    Fits(wait_to_be_told, "no result within the step's timeout of 20ms", "retriable", "timeout", 20),
    Fits(giving(int, "text"), "the result does not fit int: got str", "non_retriable"),
    Fits(giving(float, float("nan")), "the result does not fit float: nan cannot be written as JSON", "non_retriable"),
    Fits(giving(dict, {"a": object()}), "the result does not fit dict", "non_retriable"),
    Fits(giving(object, lambda: None), "the result does not fit object", "non_retriable"),
    Fits(giving(str, "\ud800"), "the result does not fit str", "non_retriable"),
    Fits(giving(str, "x" * (64 * 1024 * 1024)), "the result could not be stored: ", "non_retriable"),
    Fits(takes, "the input does not fit int", "non_retriable"),
]


@pytest.mark.timeout(60)
async def test_each_way_to_fail_is_said_on_its_step_and_stops_nobody() -> None:
    handlers = [handler(f"fails.n{at}")(each.work) for at, each in enumerate(ALL)]

    @handler("fails.not")
    async def fine() -> str:
        return "fine"

    async with memory_yard() as yard:
        yard.start([*handlers, fine])
        for at, each in enumerate(ALL):
            await yard.put(f"fails.n{at}", f"r{at}", timeout_ms=each.timeout_ms)
        for at, each in enumerate(ALL):
            failure = await yard.result(f"r{at}")
            assert isinstance(failure, Failure), f"{each}: {failure!r}"
            assert failure.error.startswith(each.error), each
            assert (failure.failure_type, failure.detail) == (each.kind, each.detail), each
        await yard.put("fails.not", "last")
        assert await yard.result("last") == b'"fine"'
        await yard.is_empty()


async def test_a_message_with_bytes_of_a_file_name_is_shown_and_costs_no_result() -> None:
    @handler("says.progress")
    async def work(ctx: TaskContext) -> str:
        await ctx.progress(0.5, "at a\udcff.txt")
        return "done"

    async with memory_yard() as yard:
        yard.start([work])
        await yard.put("says.progress", "r1")
        assert await yard.result("r1") == b'"done"'
        shown = await yard.ports.pulses.newest("r1", "work")
        assert shown is not None
        assert b"at a\\\\udcff.txt" in shown


async def test_a_thread_that_stops_with_its_worker_has_ended_before_somebody_else_begins() -> None:
    begun, told, let_go = asyncio.Event(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    running: list[str] = []

    @handler("stops.late")
    def work(ctx: SyncTaskContext) -> str:
        running.append(ctx.worker_id)
        assert len(running) == 1, "two of them at a time"
        loop.call_soon_threadsafe(begun.set)
        while ctx.worker_id == "first" and not ctx.is_cancelled:
            pass
        if ctx.worker_id == "first":
            loop.call_soon_threadsafe(told.set)
            let_go.wait(10)
        running.remove(ctx.worker_id)
        return f"whatever {ctx.worker_id} had"

    async with memory_yard() as yard:
        first = yard.start([work], worker_id="first", grace=timedelta(0))
        await yard.put("stops.late", "r1")
        await begun.wait()
        yard.start([work], worker_id="second")
        first.stop()
        await told.wait()
        let_go.set()
        assert await yard.result("r1") == b'"whatever second had"'
        await yard.is_empty()


async def test_a_thread_that_is_told_nothing_may_finish_though_its_worker_ends() -> None:
    begun, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @handler("stops.never")
    def work() -> str:
        loop.call_soon_threadsafe(begun.set)
        let_go.wait(10)
        return "all of it"

    async with memory_yard() as yard:
        worker = yard.start([work], grace=timedelta(0))
        await yard.put("stops.never", "r1")
        await begun.wait()
        worker.stop()
        await asyncio.sleep(0)
        loop.call_later(0.05, let_go.set)
        assert await yard.result("r1") == b'"all of it"'
        await yard.is_empty()
