"""Virtual time, and processes that can be killed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from dagnats.runtime.memory.clock import MemoryClock
from dagnats.runtime.memory.loop import Deadlock, VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process, current_process
from dagnats.runtime.memory.timetable import Timetable

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Coroutine

T = TypeVar("T")

YEAR_S = 365 * 24 * 3600.0


def run(work: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    loop = loop or VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


def test_a_year_passes_at_once_and_to_the_second() -> None:
    async def sleep() -> float:
        loop = virtual_loop()
        await asyncio.sleep(YEAR_S)
        for _ in range(100):
            await asyncio.sleep(0.1)
        return loop.time()

    begun = time.monotonic()
    assert run(sleep()) == pytest.approx(YEAR_S + 10.0, abs=1e-5)
    assert time.monotonic() - begun < 5


def test_what_is_due_first_runs_first_and_nothing_runs_early() -> None:
    async def ring() -> list[int]:
        loop = virtual_loop()
        rung: list[int] = []
        for n in (30, 10, 20, 11, 10_000_000):
            loop.call_later(n, lambda n=n: (rung.append(n), early.append(loop.time() < n)))
        loop.call_later(15, lambda: rung.append(15)).cancel()
        await asyncio.sleep(20_000_000)
        return rung

    early: list[bool] = []
    assert run(ring()) == [10, 11, 20, 30, 10_000_000]
    assert not any(early)


def test_cancelled_timers_are_forgotten_though_they_lie_far_ahead() -> None:
    async def wait_often() -> None:
        for _ in range(1_000):
            async with asyncio.timeout(YEAR_S):
                await asyncio.sleep(0)

    loop = VirtualLoop()
    run(wait_often(), loop)
    assert loop.time() < 1


def test_waiting_for_what_nobody_will_do_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop()
    with pytest.raises(Deadlock, match="everything waits"):
        loop.run_until_complete(wait())
    (task,) = asyncio.all_tasks(loop)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_thread_is_waited_for_and_time_goes_on_meanwhile() -> None:
    async def work() -> tuple[str, float, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        result = await asyncio.to_thread(lambda: (time.sleep(0.2), "done")[1])
        ticking.cancel()
        return result, asyncio.get_running_loop().time(), ticks

    result, elapsed, ticks = run(work())
    assert result == "done"
    assert 0.19 <= elapsed < 30
    assert ticks


def test_sockets_work_though_time_is_virtual() -> None:
    async def talk() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            answer = await reader.readline()
            writer.close()
            return answer

    assert run(talk()) == b"hello\n"


def test_the_same_program_takes_the_same_steps() -> None:
    async def race() -> list[int]:
        order: list[int] = []

        async def runner(n: int) -> None:
            for lap in range(5):
                await asyncio.sleep((n * 7 + lap) % 3)
                order.append(n)

        await asyncio.gather(*(runner(n) for n in range(10)))
        return order

    first, second = VirtualLoop(), VirtualLoop()
    assert run(race(), first) == run(race(), second)
    assert first.steps == second.steps


def test_the_order_of_what_is_ready_can_be_chosen() -> None:
    async def three() -> list[int]:
        order: list[int] = []
        for n in range(3):
            asyncio.get_running_loop().call_soon(order.append, n)
        await asyncio.sleep(1)
        return order

    def last(ready: deque[asyncio.Handle]) -> int:
        return len(ready) - 1

    loop = VirtualLoop()
    loop.choose = last
    assert run(three(), loop) == [2, 1, 0]


class Life:
    """A process that does something every second, and says so."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.process = Process(virtual_loop(), "life")
        self.task = self.process.spawn(self.live())

    async def live(self) -> None:
        assert current_process() is self.process
        child = asyncio.create_task(self.child())
        try:
            for n in range(10):
                await asyncio.sleep(1)
                self.said.append(f"second {n}")
        finally:
            self.said.append("farewell")
            await child

    async def child(self) -> None:
        asyncio.get_running_loop().call_later(2.5, self.said.append, "timer")
        await asyncio.sleep(3.5)
        self.said.append("child")


def test_a_killed_process_says_no_farewell_and_none_of_it_goes_on() -> None:
    async def kill() -> Life:
        life = Life()
        await asyncio.sleep(2.2)
        life.process.kill()
        life.process.kill()
        waiting = asyncio.create_task(asyncio.wait([life.task], timeout=100))
        await asyncio.sleep(50)
        assert life.said == ["second 0", "second 1"]
        assert not life.task.done()
        done, _ = await waiting
        assert not done
        assert repr(life.process) == "<process life, dead>"
        return life

    run(kill())


def test_what_a_dead_process_cleans_up_with_is_its_own_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            loops.append(asyncio.gather().get_loop())
            loops.append(asyncio.create_task(leave()).get_loop())

    async def kill() -> None:
        process = Process(virtual_loop())
        process.spawn(leave())
        await asyncio.sleep(1)
        process.kill()

    loop = VirtualLoop()
    run(kill(), loop)
    assert loops == [loop, loop]


def test_a_process_that_nobody_kills_lives_to_its_end() -> None:
    async def watch() -> list[str]:
        life = Life()
        await life.task
        return life.said

    assert run(watch())[-3:] == ["second 8", "second 9", "farewell"]


def lived_until(at: int) -> list[str]:
    """What a process has said that is killed before step `at`."""

    async def watch() -> list[str]:
        nonlocal life
        life = Life()
        await asyncio.sleep(20)
        return list(life.said)

    life: Life | None = None

    def strike(step: int) -> None:
        if step >= at and life is not None:
            life.process.kill()

    loop = VirtualLoop()
    loop.on_step = strike
    return run(watch(), loop)


def test_a_process_can_be_killed_before_any_callback() -> None:
    whole = lived_until(1_000)
    assert whole[-1] == "farewell"
    lives = [lived_until(at) for at in range(1, 40)]
    assert all(said == whole[: len(said)] for said in lives)
    assert {len(said) for said in lives} == set(range(len(whole) - 1)) | {len(whole)}, "the farewell is one step's"


def test_an_instant_is_kept_though_the_clock_is_set() -> None:
    async def wait() -> list[tuple[str, float]]:
        loop, clock = asyncio.get_running_loop(), MemoryClock()
        timetable = Timetable(clock)
        rung: list[tuple[str, float]] = []
        hour_ns = 3600 * 10**9
        timetable.at(clock.now_ns() + hour_ns, lambda: rung.append(("one", loop.time())))
        timetable.at(clock.now_ns() + 3 * hour_ns, lambda: rung.append(("three", loop.time())))
        await asyncio.sleep(1800)
        clock.jump(-hour_ns)
        await asyncio.sleep(3600)
        assert rung == []
        clock.jump(2 * hour_ns)
        await asyncio.sleep(24 * 3600)
        return rung

    assert run(wait()) == [("one", 5400.0), ("three", 7200.0)]
