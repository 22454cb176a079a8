"""Durable wake-ups: never early, never lost, one in the place of another."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dagnats.runtime.patience import persist
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.conformance.backend import Backend, Connected

MS = 1_000_000
FAR_MS = 3_600_000


class Heard:
    """The wake-ups that came, acknowledged, with how late they were."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.late_ns: dict[str, dict[int, int]] = defaultdict(dict)
        self.order: list[str] = []

    async def listen(self, connection: Connected) -> None:
        feed = await persist(connection.feeds.wakeups)  # the server may be restarted meanwhile
        try:
            while True:
                for wakeup in await feed.batch():
                    self.late_ns[wakeup.run_id][wakeup.seq] = self._backend.now_ns() - wakeup.due_ns
                    self.order.append(wakeup.run_id)
                    wakeup.acknowledge()
        finally:
            await feed.close()

    async def have(self, run_id: str, *seqs: int) -> None:
        """Wait until these, and no others, have come to a run, none of them early."""

        async def there() -> bool:
            return set(seqs) <= set(self.late_ns[run_id])

        await until(there, within_s=30, what=lambda: f"wake-ups {seqs} of {run_id}")
        assert set(self.late_ns[run_id]) == set(seqs)
        assert min(self.late_ns[run_id].values()) >= 0


@asynccontextmanager
async def listening(backend: Backend, connection: Connected) -> AsyncGenerator[Heard]:
    heard = Heard(backend)
    listener = asyncio.create_task(heard.listen(connection))
    try:
        yield heard
    finally:
        listener.cancel()


async def test_a_wake_up_comes_when_it_is_due_and_not_before(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        due_ns = backend.now_ns() + 300 * MS
        await connection.ports.timers.set("r1", due_ns=due_ns, seq=7, replaces=0, id="r1.7.0")
        assert await backend.sleeping() == {"r1.7"}
        await heard.have("r1", 7)
        assert await backend.sleeping() == set()


async def test_a_wake_up_that_is_due_already_comes_at_once(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        due_ns = backend.now_ns() - 1_000 * MS
        await connection.ports.timers.set("r1", due_ns=due_ns, seq=7, replaces=0, id="r1.7.0")
        await heard.have("r1", 7)


async def test_a_wake_up_replaces_another_in_one_step(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        timers = connection.ports.timers
        far_ns = backend.now_ns() + FAR_MS * MS
        await timers.set("r1", due_ns=far_ns, seq=1, replaces=0, id="r1.1")
        await timers.set("r2", due_ns=far_ns, seq=1, replaces=0, id="r2.1")
        await timers.set("r1", due_ns=far_ns, seq=2, replaces=1, id="r1.2")
        assert await backend.sleeping() == {"r1.2", "r2.1"}
        await timers.set("r1", due_ns=backend.now_ns(), seq=3, replaces=2, id="r1.3")
        await heard.have("r1", 3)
        assert await backend.sleeping() == {"r2.1"}


async def test_a_wake_up_may_replace_one_that_has_come_or_never_was(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        timers = connection.ports.timers
        await timers.set("r1", due_ns=backend.now_ns(), seq=1, replaces=0, id="r1.1")
        await heard.have("r1", 1)
        await timers.set("r1", due_ns=backend.now_ns(), seq=2, replaces=1, id="r1.2")
        await timers.set("r2", due_ns=backend.now_ns(), seq=9, replaces=4, id="r2.9")
        await heard.have("r1", 1, 2)
        await heard.have("r2", 9)


async def test_replacing_again_under_the_same_id_changes_nothing(backend: Backend) -> None:
    async with backend.connected() as connection:
        timers = connection.ports.timers
        far_ns = backend.now_ns() + FAR_MS * MS
        await timers.set("r1", due_ns=far_ns, seq=1, replaces=0, id="r1.1")
        await timers.set("r1", due_ns=far_ns, seq=2, replaces=1, id="r1.2")
        await timers.set("r1", due_ns=far_ns, seq=3, replaces=2, id="r1.3")
        await timers.set("r1", due_ns=far_ns, seq=2, replaces=1, id="r1.2")
        assert await backend.sleeping() == {"r1.3"}


async def test_a_wake_up_that_is_dropped_does_not_come(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        timers = connection.ports.timers
        due_ns = backend.now_ns() + 400 * MS
        for seq in (1, 2):
            await timers.set("r1", due_ns=due_ns, seq=seq, replaces=0, id=f"r1.{seq}")
        await timers.drop("r1", 1)
        await timers.drop("r1", 99)  # one that is not there is fine
        await heard.have("r1", 2)


async def test_a_wake_up_comes_in_order_of_its_instant(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        now_ns = backend.now_ns()
        for n, in_ms in enumerate((700, 350, 0)):
            await connection.ports.timers.set(f"r{n}", due_ns=now_ns + in_ms * MS, seq=1, replaces=0, id=str(n))
        for n in range(3):
            await heard.have(f"r{n}", 1)
        assert heard.order == ["r2", "r1", "r0"]


async def test_a_wake_up_survives_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        due_ns = backend.now_ns() + 3_000 * MS  # when the server is there again
        await connection.ports.timers.set("r1", due_ns=due_ns, seq=1, replaces=0, id="r1.1")
        await backend.restart()
        await heard.have("r1", 1)


async def test_wake_ups_are_listed_until_they_are_acknowledged(backend: Backend) -> None:
    async with backend.connected() as connection:
        timers, now_ns = connection.ports.timers, backend.now_ns()
        far_ns = now_ns + FAR_MS * MS
        await timers.set("r1", due_ns=far_ns, seq=1, replaces=0, id="r1.1")
        await timers.set("r2", due_ns=now_ns, seq=2, replaces=0, id="r2.2")
        assert set(await timers.all()) == {("r1", 1, far_ns), ("r2", 2, now_ns)}
        async with listening(backend, connection) as heard:
            await heard.have("r2", 2)

            async def only_the_far_one() -> bool:
                return await timers.all() == [("r1", 1, far_ns)]

            await until(only_the_far_one)


async def test_asking_for_another_instant_under_the_same_id_changes_nothing(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        timers = connection.ports.timers
        far_ns = backend.now_ns() + FAR_MS * MS
        await timers.set("r1", due_ns=far_ns, seq=1, replaces=0, id="r1.1")
        await timers.set("r1", due_ns=backend.now_ns(), seq=1, replaces=0, id="r1.1")
        await timers.set("r2", due_ns=backend.now_ns() + 300 * MS, seq=1, replaces=0, id="r2.1")
        await heard.have("r2", 1)
        assert await backend.sleeping() == {"r1.1"}


async def test_a_wake_up_of_the_same_name_takes_the_place_of_the_one_before(backend: Backend) -> None:
    async with backend.connected() as connection, listening(backend, connection) as heard:
        timers = connection.ports.timers
        await timers.set("r1", due_ns=backend.now_ns() + 100 * MS, seq=1, replaces=0, id="r1.1.early")
        await timers.set("r1", due_ns=backend.now_ns() + FAR_MS * MS, seq=1, replaces=0, id="r1.1.late")
        await timers.set("r2", due_ns=backend.now_ns() + 400 * MS, seq=1, replaces=0, id="r2.1")
        await heard.have("r2", 1)
        assert await backend.sleeping() == {"r1.1"}
        await timers.set("r1", due_ns=backend.now_ns(), seq=1, replaces=0, id="r1.1.now")
        await heard.have("r1", 1)
        assert await backend.sleeping() == set()
