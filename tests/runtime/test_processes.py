"""Handlers with `process=True`: what they give, how their processes die, and that nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import handler
from dagnats.handling.handler import Handler
from dagnats.model.event import Failure
from dagnats.runtime.pool import said_of
from tests.support import hands
from tests.support.processes import until
from tests.support.yard import memory_yard

if TYPE_CHECKING:
    from pathlib import Path

SOON = timedelta(milliseconds=100)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def pid_in(file: Path) -> int:
    """The process that has left its number in a file; waits for it."""

    async def written() -> bool:
        return file.exists() and bool(file.read_text())

    await until(written, what=str(file))
    return int(file.read_text())


async def test_a_handler_runs_in_a_process_that_is_kept_for_the_next_call() -> None:
    async with memory_yard() as yard:
        yard.start([hands.double, hands.pid], processes=1)
        await yard.put("hands.double", "r1", 21)
        assert await yard.result("r1") == b"42"
        await yard.put("hands.pid", "r2")
        await yard.put("hands.pid", "r3")
        pids = {await yard.result("r2"), await yard.result("r3")}
        assert len(pids) == 1
        assert pids != {str(os.getpid()).encode()}


def rebound() -> Handler[..., Any]:
    """A handler whose name means something else where another process looks for it."""
    return handler("hands.double", process=True)(_replaced)


def _replaced() -> None: ...


def unimportable() -> Handler[..., Any]:
    """A handler in a module that only this process has."""
    module = ModuleType("only_here")
    sys.modules["only_here"] = module

    def work() -> None: ...

    work.__module__, work.__qualname__ = "only_here", "work"
    return handler("hands.double", process=True)(work)


@pytest.mark.timeout(60)
async def test_however_a_process_fails_its_step_says_why_and_the_worker_goes_on() -> None:
    fits: list[tuple[Handler[..., Any], Any, str, str]] = [
        (hands.leave, 3, "the process of handler 'leave' ended with exit code 3", "retriable"),
        (hands.leave, 0, "the process of handler 'leave' ended with exit code 0", "retriable"),
        (hands.die, int(signal.SIGSEGV), "the process of handler 'die' was killed by SIGSEGV", "retriable"),
        (hands.die, int(signal.SIGKILL), "was killed by SIGKILL (there may not have been enough memory)", "retriable"),
        (hands.abort, "abort", "never again", "non_retriable"),
        (hands.abort, "retry", "the handler asked for a retry", "retry_after"),
        (hands.abort, "picky", "Picky: not this one", "non_retriable"),
        (hands.abort, "exit", "SystemExit: 2", "retriable"),
        (hands.abort, "value", "ValueError: \\udcff is no text", "retriable"),
        (hands.abort, 7, "the input does not fit str", "non_retriable"),
        (hands.lie, None, "the result does not fit int: got dict", "non_retriable"),
    ]
    async with memory_yard() as yard:
        yard.start([hands.leave, hands.die, hands.abort, hands.lie, hands.double], processes=2)
        for at, (each, value, _, _) in enumerate(fits):
            await yard.put(each.task, f"r{at}", value)
        for at, (_, _, error, kind) in enumerate(fits):
            failure = await yard.result(f"r{at}")
            assert isinstance(failure, Failure)
            assert error in failure.error
            assert failure.failure_type == kind
            assert failure.retry_after_ms == (3_000 if kind == "retry_after" else 0)
        await yard.put("hands.double", "last", 4)
        assert await yard.result("last") == b"8"
        await yard.is_empty()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (rebound, "a process finds no handler under that name, but <function _replaced"),
        (unimportable, "a process cannot import the handler: ModuleNotFoundError: No module named 'only_here'"),
    ],
)
async def test_a_handler_that_another_process_does_not_find_fails_its_step(made: Any, said: str) -> None:
    async with memory_yard() as yard:
        yard.start([made()], processes=1)
        await yard.put("hands.double", "r1", 1)
        failure = await yard.result("r1")
        assert isinstance(failure, Failure)
        assert said in failure.error
        assert failure.failure_type == "retriable"


@pytest.mark.parametrize("why", ["cancelled", "timed out"])
async def test_a_process_nobody_waits_for_is_killed_after_the_grace_and_the_others_go_on(
    why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "dagnats.worker")
    async with memory_yard() as yard:
        yard.start([hands.stay], processes=2, cancel_grace=SOON)
        await yard.put("hands.stay", "other", str(tmp_path / "other"))
        other = await pid_in(tmp_path / "other")
        await yard.put("hands.stay", "r1", str(tmp_path / "r1"), timeout_ms=200 if why == "timed out" else 0)
        doomed = await pid_in(tmp_path / "r1")
        for number in (signal.SIGINT, signal.SIGTERM):  # as a terminal and a service manager send them to everybody
            os.kill(doomed, number)
        if why == "cancelled":
            yard.cancel("r1")
        else:
            failure = await yard.result("r1")
            assert isinstance(failure, Failure)
            assert failure.detail == "timeout"

        async def gone() -> bool:
            return not is_alive(doomed)

        await until(gone, what="the end of its process")
        assert "handler stay of hands.stay still runs 0.1 s after nobody waits for it" in caplog.text
        assert is_alive(other)
        (tmp_path / "other").unlink()
        assert await yard.result("other") == b'"went by itself"'
        await yard.is_empty()
        assert [type(event).__name__ for event in await yard.events("r1") if why == "cancelled"] in (
            [],
            ["StepStarted"],
        )


async def test_a_worker_that_ends_leaves_no_process_behind(tmp_path: Path) -> None:
    async with memory_yard() as yard:
        worker = yard.start([hands.stay, hands.pid], processes=2, grace=SOON)
        await yard.put("hands.pid", "r1")
        idle = await yard.result("r1")
        assert isinstance(idle, bytes)
        await yard.put("hands.stay", "r2", str(tmp_path / "r2"))
        busy = await pid_in(tmp_path / "r2")
        worker.stop()

        async def gone() -> bool:
            return not is_alive(busy) and not is_alive(int(idle))

        await until(gone, what="the end of both processes")
        assert len(yard.server.tasks) == 1, "the task goes back"


def test_an_ending_is_said_in_words() -> None:
    assert said_of(None) == "closed its pipe"
    assert said_of(-250) == "was killed by signal 250"
    assert said_of(-signal.SIGSEGV) == "was killed by SIGSEGV"


async def test_a_process_that_died_while_it_had_nothing_to_do_is_replaced() -> None:
    async with memory_yard() as yard:
        yard.start([hands.pid], processes=1)
        await yard.put("hands.pid", "r1")
        first = await yard.result("r1")
        assert isinstance(first, bytes)
        os.kill(int(first), signal.SIGKILL)

        async def gone() -> bool:
            return not is_alive(int(first))

        await until(gone)
        await asyncio.sleep(0)
        await yard.put("hands.pid", "r2")
        assert isinstance(await yard.result("r2"), bytes)
