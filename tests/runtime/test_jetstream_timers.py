"""Durable wake-ups: never early, never lost, one in the place of another; and what is no wake-up is buried."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.ports import Letter
from tests.support.nats import port_of, prepared, publish_raw, restarted
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from dagnats.runtime.jetstream.adapter import JetStream

MS = 1_000_000


class Heard:
    """The wake-ups that came, acknowledged, with how late they were."""

    def __init__(self) -> None:
        self.late_ns: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))

    async def listen(self, jetstream: JetStream) -> None:
        feed = await jetstream.feeds.wakeups()
        try:
            while True:
                for wakeup in await feed.batch():
                    self.late_ns[wakeup.run_id][wakeup.seq].append(time.time_ns() - wakeup.due_ns)
                    wakeup.acknowledge()
        finally:
            await feed.close()

    def seqs(self, run_id: str) -> list[int]:
        return sorted(self.late_ns[run_id])

    def early(self) -> list[str]:
        return [
            run_id
            for run_id, seqs in self.late_ns.items()
            if any(late_ns < 0 for late in seqs.values() for late_ns in late)
        ]

    async def have(self, run_ids: list[str], seq: int) -> None:
        """Wait until each of these runs had this wake-up."""

        async def there() -> bool:
            return all(seq in self.late_ns[run_id] for run_id in run_ids)

        def missing() -> str:
            return f"{sum(seq not in self.late_ns[run_id] for run_id in run_ids)} of {len(run_ids)} wake-ups"

        await until(there, within_s=30, what=missing)


@asynccontextmanager
async def listening(jetstream: JetStream) -> AsyncGenerator[Heard]:
    heard = Heard()
    listener = asyncio.create_task(heard.listen(jetstream))
    try:
        yield heard
    finally:
        listener.cancel()


async def pending(jetstream: JetStream) -> dict[str, int]:
    """The messages on SLEEP_TIMERS by subject."""
    info = await jetstream.link.api("STREAM.INFO.SLEEP_TIMERS", {"subjects_filter": ">"})
    return info["state"].get("subjects") or {}


async def test_a_wake_up_comes_when_it_is_due_and_is_gone_when_acknowledged(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        due_ns = time.time_ns() + 300 * MS
        await jetstream.ports.timers.set("r1", due_ns=due_ns, seq=7, replaces=0, id="r1.7.0")
        await heard.have(["r1"], 7)
        assert not heard.early()

        async def gone() -> bool:
            return not await pending(jetstream)

        await until(gone)


async def test_ten_thousand_wake_ups_replaced_by_earlier_ones_as_they_fall_due_all_come(
    nats_server: EmbeddedServer,
) -> None:
    run_ids = [f"r{n}" for n in range(10_000)]
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        timers = jetstream.ports.timers
        # Spread over two seconds from when all of them are surely set: setting takes less than a second.
        begin_ns = time.time_ns() + 4_000 * MS
        due_ns = [begin_ns + 2_000 * MS * n // len(run_ids) for n in range(len(run_ids))]
        setting = [
            timers.set(run_id, due_ns=due_ns[n], seq=1, replaces=0, id=f"{run_id}.1")
            for n, run_id in enumerate(run_ids)
        ]
        for each in setting:
            await each
        assert time.time_ns() < begin_ns, "the machine is too busy for this test"
        replacing: list[Awaitable[object]] = []
        for n, run_id in enumerate(run_ids):
            # From 5 ms before it falls due to 5 ms after, by turns; the new one is due 2 ms before the old one.
            at_ns = due_ns[n] + (n % 11 - 5) * MS
            await asyncio.sleep(max(at_ns - time.time_ns(), 0) / 1e9)
            replacing.append(timers.set(run_id, due_ns=due_ns[n] - 2 * MS, seq=2, replaces=1, id=f"{run_id}.2"))
        for each in replacing:
            await each
        await heard.have(run_ids, 2)
        assert not heard.early()
        both = sum(heard.seqs(run_id) == [1, 2] for run_id in run_ids)
        assert both, "no old one came: the moment was missed"
        assert not [name for name in await pending(jetstream) if name.startswith("sleep.")]


async def test_ten_thousand_wake_ups_replaced_while_all_fall_due_at_once_all_come(nats_server: EmbeddedServer) -> None:
    run_ids = [f"r{n}" for n in range(10_000)]
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        timers = jetstream.ports.timers
        due_ns = time.time_ns() + 3_000 * MS
        for each in [timers.set(run_id, due_ns=due_ns, seq=1, replaces=0, id=f"{run_id}.1") for run_id in run_ids]:
            await each
        replacing: list[Awaitable[object]] = []
        for n, run_id in enumerate(run_ids):
            if n % 100 == 0:  # from 150 ms before to 450 ms after: the firing begins, and ends, meanwhile
                at_ns = due_ns + (600 * n // len(run_ids) - 150) * MS
                await asyncio.sleep(max(at_ns - time.time_ns(), 0) / 1e9)
            replacing.append(timers.set(run_id, due_ns=due_ns - 50 * MS, seq=2, replaces=1, id=f"{run_id}.2"))
        await heard.have(run_ids, 2)
        assert not heard.early()
        both = sum(heard.seqs(run_id) == [1, 2] for run_id in run_ids)
        assert both, "no old one came: the moment was missed"


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_wake_ups_survive_a_server_that_goes_down_while_they_are_replaced(
    nats_server: EmbeddedServer, kill: bool
) -> None:
    run_ids = [f"r{n}" for n in range(2_000)]
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        timers = jetstream.ports.timers
        due_ns = time.time_ns() + 1_500 * MS
        for each in [timers.set(run_id, due_ns=due_ns, seq=1, replaces=0, id=f"{run_id}.1") for run_id in run_ids]:
            await each
        replacing = [
            timers.set(run_id, due_ns=due_ns - 500 * MS, seq=2, replaces=1, id=f"{run_id}.2") for run_id in run_ids
        ]
        await replacing[100]
        again = await restarted(nats_server, kill=kill)
        try:
            for each in replacing:
                await each
            await heard.have(run_ids, 2)
            assert not heard.early()
        finally:
            await again.stop()


async def test_wake_ups_that_fell_due_while_the_server_was_down_come_when_it_is_back(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        due_ns = time.time_ns() + 500 * MS
        for n in range(100):
            await jetstream.ports.timers.set(f"r{n}", due_ns=due_ns, seq=1, replaces=0, id=f"r{n}.1")
        port = port_of(nats_server)
        await nats_server.stop()
        await asyncio.sleep(max(due_ns - time.time_ns(), 0) / 1e9)
        async with EmbeddedServer(nats_server.folder, port=port):
            await heard.have([f"r{n}" for n in range(100)], 1)
            await jetstream.close()


POISON = {
    "due.r1": b"1795270298771677854",
    "due.r1.2.3": b"1795270298771677854",
    "due.r1.x": b"1795270298771677854",
    "due.r1.-1": b"1795270298771677854",
    "due.r$.1": b"1795270298771677854",
    "due.r1.1": b"tomorrow",
    "due.r1.2": b"",
    "due.r1.4": bytes(range(256)),
}


async def test_what_is_no_wake_up_goes_to_the_dead_letters_and_the_others_come(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        for subject, data in POISON.items():
            await jetstream.link.publish(subject, data)
        await jetstream.ports.timers.set("good", due_ns=time.time_ns(), seq=1, replaces=0, id="good.1")
        await heard.have(["good"], 1)

        async def buried() -> bool:
            return not await pending(jetstream)

        await until(buried)
        letters = await jetstream.ports.dead_letters.find("sleep-timer.>")
        assert {letter.headers["Dagnats-Dlq-Subject"]: letter.data for letter in letters} == POISON
        assert all(letter.headers["Dagnats-Dlq-Error"] for letter in letters)
        assert heard.seqs("r1") == []


async def test_a_subject_that_is_no_text_is_buried_too(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        await publish_raw(nats_server, b"due.\xff\xfe.1", b"1")
        await publish_raw(nats_server, b"history.\xff", b"2")
        await jetstream.ports.timers.set("good", due_ns=time.time_ns(), seq=1, replaces=0, id="good.1")
        await heard.have(["good"], 1)

        async def buried() -> bool:
            return [letter.data for letter in await jetstream.ports.dead_letters.find("sleep-timer.>")] == [b"1"]

        await until(buried)
        feed = await jetstream.feeds.history(0)
        assert [entry.data for entry in await feed.batch()] == [b"2"]
        assert [entry.run_id for entry in await jetstream.ports.log.tail()] == ["\ufffd"]
        await feed.close()


async def test_poison_that_cannot_be_buried_yet_stops_nothing_and_stays(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream, listening(jetstream) as heard:
        found = (await jetstream.link.api("STREAM.INFO.DEAD_LETTERS"))["config"]
        full = {**found, "max_msgs": 1, "discard": "new"}
        await jetstream.link.api("STREAM.UPDATE.DEAD_LETTERS", full)
        letters = jetstream.ports.dead_letters
        await letters.put("a.b.c", b"", headers={}, id="1")
        await jetstream.link.publish("due.r1", b"poison")
        await jetstream.ports.timers.set("good", due_ns=time.time_ns(), seq=1, replaces=0, id="good.1")
        await heard.have(["good"], 1)
        assert "due.r1" in await pending(jetstream)
        await jetstream.link.api("CONSUMER.RESET.SLEEP_TIMERS.sleep-timer")  # and now it is delivered again
        await jetstream.ports.timers.set("good", due_ns=time.time_ns(), seq=2, replaces=0, id="good.2")
        await heard.have(["good"], 2)
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("burial")]) == 1
        await jetstream.link.api("STREAM.UPDATE.DEAD_LETTERS", {**full, "max_msgs": 10})

        async def buried() -> bool:
            return not await pending(jetstream)

        await until(buried)
        (letter,) = await letters.find("sleep-timer.>")
        assert isinstance(letter, Letter)
        assert letter.data == b"poison"
