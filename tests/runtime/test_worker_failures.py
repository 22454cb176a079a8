"""Whatever a handler does, its step says what went wrong, and the worker goes on."""

from __future__ import annotations

import asyncio
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
