"""The server in memory: what only it can show, and the ways to it on which calls are lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Fixed, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.errors import ConflictError, UnavailableError
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.consumer import Puller
from dagnats.runtime.memory.link import Link
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.memory.stream import Message, matches
from dagnats.runtime.ports import LogCut, Receipt
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.runtime.memory.adapter import Memory
    from dagnats.runtime.memory.link import Call


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


class Faulty(Link):
    """Loses, repeats and delays what a test says."""

    watchdog_s = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.lost_calls = self.lost_answers = self.lost_deliveries = 0
        self.times = 1
        self.delay_s = 0.0  # each way

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        if self.lost_calls:
            self.lost_calls -= 1
            return
        for _ in range(self.times):
            if self.delay_s:
                self.later(arrive, self.delay_s)
            else:
                arrive()

    def answer(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            return
        self.soon(arrive, self.delay_s)

    def deliver(self, subject: str, arrive: Callable[[], None]) -> None:
        if self.lost_deliveries:
            self.lost_deliveries -= 1
            return
        self.soon(arrive, self.delay_s)


def test_whoever_has_read_the_whole_log_asks_again_only_when_there_is_news() -> None:
    class Counting(Link):
        asked = 0

        def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
            self.asked += call.kind == "feed.batch"
            super().carry(call, arrive)

    async def story() -> None:
        link = Counting()
        memory = MemoryServer().connect(link)
        feed = await memory.feeds.history(0)
        for count in range(1, 4):
            reading = asyncio.create_task(feed.batch())
            await asyncio.sleep(1.0)
            await memory.ports.log.append("r1", b"1", id=f"{count}")
            assert [entry.seq for entry in await reading] == [count]
            assert link.asked == count + 1  # and once in the beginning, when it could not know

    run(story())


def test_a_reader_that_is_cancelled_while_it_asks_misses_nothing() -> None:
    async def story() -> None:
        link = Faulty()
        link.watchdog_s = None  # nothing but what it remembers makes it ask again
        server = MemoryServer()
        other = server.connect()
        feed = await server.connect(link).feeds.history(0)
        for count in range(1, 3):
            reading = asyncio.create_task(feed.batch())
            await asyncio.sleep(1.0)
            link.lost_answers = 1
            await other.ports.log.append("r1", b"1", id=f"{count}")
            await asyncio.sleep(0.5)
            assert not link.lost_answers
            reading.cancel()
            await asyncio.wait([reading])
            async with asyncio.timeout(1.0):
                assert [entry.seq for entry in await feed.batch()] == [count]

    run(story())


def test_a_write_whose_answer_is_lost_is_repeated_and_stored_once() -> None:
    async def story() -> None:
        link = Faulty()
        memory = MemoryServer().connect(link)
        link.lost_answers = 2
        assert await memory.ports.log.append("r1", b"1", id="a") == Receipt(1, duplicate=True)
        link.lost_calls = 2
        assert await memory.ports.log.append("r1", b"2", id="b") == Receipt(2, duplicate=False)
        link.times = 2
        assert await memory.ports.log.append("r1", b"3", id="c") == Receipt(3, duplicate=False)
        assert [entry.data for entry in await memory.ports.log.read("r1")] == [b"1", b"2", b"3"]

    run(story())


def test_what_is_under_way_takes_its_time_and_arrives_though_its_sender_is_dead() -> None:
    async def story() -> None:
        server, process = MemoryServer(), Process(virtual_loop())
        link = process.run(Faulty)
        memory, other = server.connect(link), server.connect()
        link.delay_s = 1.5
        await memory.ports.log.append("r1", b"1", id="a")
        assert asyncio.get_running_loop().time() == pytest.approx(3.0)
        memory.ports.log.append("r1", b"2", id="b")
        process.kill()
        assert await other.ports.log.last() == 1
        await asyncio.sleep(2)
        assert await other.ports.log.last() == 2

    run(story())


def test_a_snapshot_takes_the_place_of_the_one_before() -> None:
    async def story() -> None:
        server = MemoryServer()
        snapshots, revision = server.connect().ports.snapshots, 0
        for n in range(10):
            revision = await snapshots.save("r1", b"%d" % n, revision=revision)
        assert len(server.runs) == 1

    run(story())


def test_an_expected_write_whose_answer_is_lost_has_an_unknown_outcome() -> None:
    async def story() -> None:
        link = Faulty()
        memory = MemoryServer().connect(link)
        link.lost_answers = 1
        with pytest.raises(UnavailableError):
            await memory.ports.log.append_after("r1", b"1", id="a", last=0)
        with pytest.raises(ConflictError):
            await memory.ports.log.append_after("r1", b"1", id="a", last=0)
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)

    run(story())


@pytest.mark.parametrize(("within_s", "gives_up_at"), [(2.0, 2.0), (12.0, 15.15)])
def test_a_write_is_not_repeated_when_its_id_may_be_forgotten(within_s: float, gives_up_at: float) -> None:
    async def story() -> None:
        link = Faulty()
        memory = MemoryServer().connect(link)
        link.lost_calls = 1_000
        with pytest.raises(UnavailableError, match="outcome unknown"):
            await memory.ports.log.append("r1", b"1", id="a", within_s=within_s)
        assert asyncio.get_running_loop().time() == pytest.approx(gives_up_at, abs=0.2)

    run(story())


def test_news_that_was_lost_is_found_by_looking() -> None:
    async def story() -> None:
        link, server = Faulty(), MemoryServer()
        memory, other = server.connect(link), server.connect()
        feed = await memory.feeds.history(0)
        tasks = await memory.feeds.tasks("a", ack_wait_s=3.0, most=1)
        watching = asyncio.ensure_future(anext(memory.ports.log.watch("r1")))
        reading, taking = asyncio.create_task(feed.batch()), asyncio.create_task(tasks.take(1))
        await asyncio.sleep(0.1)
        link.lost_deliveries = 3
        await other.ports.log.append("r1", b"1", id="a")
        await other.ports.tasks.put("a", "r1", b"1", id="a")
        assert (await watching).data == (await reading)[0].data == b"1"
        (task,) = await taking
        assert task.deliveries == 2  # the first was lost with its delivery
        await feed.close()
        await tasks.close()

    run(story())


def test_a_task_that_comes_again_goes_before_new_ones() -> None:
    async def story() -> None:
        memory = MemoryServer().connect()
        feed = await memory.feeds.tasks("a", ack_wait_s=60.0, most=1)
        for n in (1, 2):
            await memory.ports.tasks.put("a", f"r{n}", b"", id=str(n))
        (task,) = await feed.take(1)
        task.hand_back()
        taken = [*await feed.take(1), *await feed.take(1)]
        assert [(each.run_id, each.deliveries) for each in taken] == [("r1", 2), ("r2", 1)]

    run(story())


def test_what_a_dead_process_sends_vanishes_and_what_it_awaits_never_comes() -> None:
    async def story() -> None:
        server = MemoryServer()
        process = Process(virtual_loop())
        memory, other = process.run(server.connect), server.connect()
        before = process.spawn(forever(memory))
        feed = await other.feeds.tasks("a", ack_wait_s=60.0, most=1)
        await asyncio.sleep(0.1)
        process.kill()
        under_way = memory.ports.log.append("r1", b"1", id="a")
        asked = asyncio.ensure_future(memory.ports.log.last())
        await other.ports.tasks.put("a", "r1", b"1", id="a")
        assert [task.deliveries for task in await feed.take(1)] == [1], "the dead one got it"
        await asyncio.sleep(100)
        assert await other.ports.log.last() == 0
        assert [waiting.done() for waiting in (before, asked, asyncio.ensure_future(under_way))] == [False] * 3
        asked.cancel()

    async def forever(memory: Memory) -> None:
        feed = await memory.feeds.tasks("a", ack_wait_s=60.0, most=1)
        await feed.take(1)

    run(story())


def test_a_closed_connection_says_so() -> None:
    async def story() -> None:
        memory = MemoryServer().connect()
        await memory.close()
        with pytest.raises(UnavailableError, match="was closed"):
            await memory.ports.log.append("r1", b"1", id="a")
        with pytest.raises(UnavailableError, match="was closed"):
            await memory.ports.log.last()

    run(story())


@pytest.mark.parametrize(("again", "says"), [(0, "ends at event 3"), (2, "event 5 of the history is another one")])
def test_a_log_that_lost_its_tail_is_noticed_by_who_has_read_it(again: int, says: str) -> None:
    async def story() -> None:
        server = MemoryServer()
        memory = server.connect()
        feed = await memory.feeds.history(0)
        for n in range(5):
            await memory.ports.log.append("r1", b"%d" % n, id=str(n))
        assert len(await feed.batch()) == 5
        server.restart(lost_events=2)
        await asyncio.sleep(1)  # what is stored in their places is of another time
        for n in range(again):
            await memory.ports.log.append("r2", b"%d" % n, id=f"again {n}")
        with pytest.raises(LogCut, match=says):
            await feed.batch()

    run(story())


def test_a_log_that_lost_only_what_nobody_has_read_goes_on() -> None:
    async def story() -> None:
        server = MemoryServer()
        memory = server.connect()
        await memory.ports.log.append("r1", b"1", id="1")
        feed = await memory.feeds.history(0)
        await feed.batch()
        await memory.ports.log.append("r1", b"2", id="2")
        server.restart(lost_events=1)
        assert await memory.ports.log.append("r1", b"2", id="2") == Receipt(2, duplicate=False)
        assert [entry.data for entry in await feed.batch()] == [b"2"]

    run(story())


def test_ids_are_forgotten_after_their_time_and_not_before() -> None:
    async def story() -> None:
        log = MemoryServer(window_s=10.0).connect().ports.log
        await log.append("r1", b"1", id="a")
        await asyncio.sleep(9)
        assert (await log.append("r1", b"1", id="a")).duplicate
        await asyncio.sleep(1)
        assert await log.append("r1", b"1", id="a") == Receipt(2, duplicate=False)

    run(story())


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b.>", "a.b.c.d", True),
        ("*.b.>", "a.c.c.d", False),
        ("a.b", "a.b.c", False),
    ],
)
def test_a_pattern_fits_as_it_does_on_nats(pattern: str, subject: str, fits: bool) -> None:
    assert matches(pattern, subject) is fits


@handler("memory.flaky")
async def flaky(value: int) -> int:
    await asyncio.sleep(3)
    if not value:
        raise RuntimeError("busy")
    return value + 1


class Plant:
    """Engines and workers on one server, each a process."""

    def __init__(self) -> None:
        self.loop = virtual_loop()
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self.workflow = Workflow("memory", timeout="30d")
        first = self.workflow.task("first", flaky)
        self.workflow.task("second", flaky).after(first).with_retry(Fixed(max_attempts=3, initial_delay="6h"))

    def engine(self) -> Process:
        process = Process(self.loop, "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())
        return process

    def worker(self, name: str) -> Process:
        process = Process(self.loop, name)
        client = AsyncClient(process.run(self.server.connect))
        process.spawn(Worker(client, [self.workflow], worker_id=name).run())
        return process


def test_engines_and_workers_may_be_killed_and_the_work_is_done() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.client.register(plant.workflow)
        first, _ = plant.engine(), plant.engine()
        worker = plant.worker("one")
        started = await plant.client.start(plant.workflow, 1)
        await asyncio.sleep(2)
        worker.kill()
        first.kill()
        plant.worker("other")
        view = await started.wait()
        assert (view.status, view.output, view.steps[0].worker_id) == ("completed", 3, "other")
        assert asyncio.get_running_loop().time() < 60  # the worker's ack wait, and the engine's lease

    run(story())


def test_a_log_that_loses_its_tail_under_an_engine_is_made_good() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.client.register(plant.workflow)
        plant.engine()
        plant.worker("one")
        started = await plant.client.start(plant.workflow, 1)
        await asyncio.sleep(4)
        plant.server.restart(lost_events=1, lost_tasks=1)
        view = await started.wait()
        assert (view.status, view.output) == ("completed", 3)

    run(story())


def test_the_same_story_takes_the_same_steps() -> None:
    steps: list[int] = []

    async def story() -> None:
        plant = Plant()
        await plant.client.register(plant.workflow)
        plant.engine()
        plant.worker("one")
        await (await plant.client.start(plant.workflow, 1, run_id="r1")).wait()
        loop = virtual_loop()
        assert isinstance(loop, VirtualLoop)
        steps.append(loop.steps)

    for _ in range(3):
        run(story())
    assert len(set(steps)) == 1


def test_what_waited_to_come_again_and_is_lost_gives_its_place_to_nobody_elses_message() -> None:
    async def work() -> None:
        server = MemoryServer()
        queue = server.queue("a", "", 5.0)
        given: list[str] = []

        def deliver(message: Message, _: int) -> None:
            given.append(message.subject)

        puller = Puller(deliver, lambda: False)
        for run_id in ("r", "s"):
            server.tasks.put(f"task.a.{run_id}", b"")
        queue.pull(puller, 2)
        queue.lose_patience()
        server.restart(lost_tasks=1)
        server.tasks.put("task.b.s", b"")
        queue.pull(puller, 2)
        assert given == ["task.a.r", "task.a.s", "task.a.r"]

    run(work())


def test_an_acknowledgement_that_comes_after_its_message_was_lost_removes_nobody_elses() -> None:
    async def work() -> None:
        server = MemoryServer()
        queue = server.queue("a", "", 5.0)
        given: list[Message] = []

        def deliver(message: Message, _: int) -> None:
            given.append(message)

        def acknowledge(message: Message) -> None:
            queue.acknowledge(message.seq, message.time_ns)

        server.tasks.put("task.a.r", b"")
        queue.pull(Puller(deliver, lambda: False), 2)
        for subject in ("task.b.s", "task.a.t"):
            server.restart(lost_tasks=1)
            await asyncio.sleep(1)
            server.tasks.put(subject, b"")
            queue.pull(Puller(deliver, lambda: False), 1)
            acknowledge(given[0])
            assert server.tasks.subjects() == [subject]
        acknowledge(given[1])
        assert not len(server.tasks)

    run(work())


@pytest.mark.parametrize("is_older", [True, False], ids=["it is there yet", "its place was tidied"])
def test_where_the_newest_of_a_key_is_lost_the_one_before_may_be_there(is_older: bool) -> None:
    async def work() -> None:
        server = MemoryServer()
        cell = server.connect().ports.lease
        server.engine.remember(9)
        first = await cell.write(b"first", revision=0)
        await cell.write(b"second", revision=first)
        assert [message.data for message in server.engine.lose(1, older=is_older)] == [b"second"]
        stored = await cell.read()
        assert (stored.data if stored is not None else b"") == (b"first" if is_older else b"")
        revision = stored.revision if stored is not None else 0
        assert await cell.write(b"other", revision=revision) == 2, "places come again"

    run(work())


def test_a_task_whose_removal_is_lost_is_given_again_as_if_it_never_was() -> None:
    async def work() -> None:
        server = MemoryServer()
        server.tasks.remember(9)
        queue = server.queue("a", "", 5.0)
        given: list[tuple[str, int]] = []

        def deliver(message: Message, deliveries: int) -> None:
            given.append((message.subject, deliveries))

        for run_id in ("r", "s"):
            server.tasks.put(f"task.a.{run_id}", b"")
        queue.pull(Puller(deliver, lambda: False), 2)
        for message in server.tasks.fitting("task.>"):
            queue.acknowledge(message.seq, message.time_ns)
        server.tasks.lose(1)
        server.restart()
        queue.pull(Puller(deliver, lambda: False), 2)
        assert given == [("task.a.r", 1), ("task.a.s", 1), ("task.a.s", 1)]
        assert server.tasks.subjects() == ["task.a.s"]

    run(work())


@pytest.mark.parametrize("changes", [2, 3], ids=["its firing", "and that it was asked for"])
def test_a_timer_whose_firing_is_lost_fires_again_unless_it_is_lost_too(changes: int) -> None:
    async def work() -> None:
        server = MemoryServer()
        server.timers.remember(9)
        await server.connect().ports.timers.set("r", due_ns=server.clock.now_ns() + 1, seq=1, replaces=0, id="1")
        await asyncio.sleep(1)
        assert server.timers.subjects() == ["due.r.1"]
        server.timers.lose(changes)
        server.restart()
        await asyncio.sleep(1)
        assert server.timers.subjects() == (["due.r.1"] if changes == 2 else [])

    run(work())


def test_no_more_is_lost_than_is_remembered() -> None:
    async def work() -> None:
        stream = MemoryServer().signals
        stream.put("a", b"1")
        stream.remember(2)
        for data in (b"2", b"3", b"4"):
            stream.put("a", data)
        assert [message.data for message in stream.lose(9)] == [b"4", b"3"]
        assert [message.data for message in stream.fitting(">")] == [b"2"]
        stream.put("a", b"5")
        stream.cut(stream.last_seq)
        assert stream.lose(9) == [], "the rest is on the disk"

    run(work())
