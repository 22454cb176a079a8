"""Wake-ups in memory: never early, one per run, in due order."""

from __future__ import annotations

import asyncio

from dagnats.runtime.alarm import Alarm


class Bell:
    """Hears what rings, and when."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, int]] = []
        self.early: list[str] = []
        self.due: dict[tuple[str, int], float] = {}
        self.heard = asyncio.Event()
        self.alarm = Alarm(self.ring)

    def set(self, run_id: str, seq: int, in_s: float) -> None:
        at = asyncio.get_running_loop().time() + in_s
        self.due[run_id, seq] = at
        self.alarm.set(run_id, seq, int(at * 1e9), at)

    def ring(self, run_id: str, seq: int, due_ns: int) -> None:
        if asyncio.get_running_loop().time() < self.due[run_id, seq]:
            self.early.append(run_id)
        self.rung.append((run_id, seq))
        self.heard.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5.0):
            while len(self.rung) < count:
                self.heard.clear()
                await self.heard.wait()


async def test_wake_ups_ring_in_due_order_and_none_is_early() -> None:
    bell = Bell()
    for at in range(200):
        bell.set(f"run-{at}", 1, (at * 37 % 200) / 2_000)
    await bell.until(200)
    assert bell.early == []
    assert bell.rung == sorted(bell.rung, key=lambda rung: bell.due[rung])


async def test_an_earlier_wake_up_replaces_a_later_one_of_the_same_run() -> None:
    bell = Bell()
    bell.set("run", 1, 0.05)
    bell.set("run", 2, 0.01)
    bell.set("last", 3, 0.1)
    await bell.until(2)
    assert bell.rung == [("run", 2), ("last", 3)]


async def test_a_run_that_is_over_rings_no_more() -> None:
    bell = Bell()
    bell.set("over", 1, 0.01)
    bell.set("last", 1, 0.05)
    bell.alarm.drop("over")
    await bell.until(1)
    assert bell.rung == [("last", 1)]


async def test_a_closed_alarm_is_silent() -> None:
    bell = Bell()
    bell.set("run", 1, 0.0)
    bell.alarm.close()
    other = Bell()
    other.set("other", 1, 0.02)
    await other.until(1)
    assert bell.rung == []
