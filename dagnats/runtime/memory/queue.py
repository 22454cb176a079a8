"""Task queues: `task.<type>.<run>` on one stream, a consumer for each task type."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import UnavailableError
from dagnats.model.identifier import worker_token
from dagnats.runtime.memory.consumer import Consumer, Puller
from dagnats.runtime.memory.ear import wait
from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Fill, Queued, QueueState, Receipt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message, Stream
    from dagnats.runtime.ports import OwnTask, TaskDelivery


class MemoryTaskQueue:
    """`ports.TaskQueue`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._stream = server.tasks
        self._link = link

    def put(
        self, task_type: str, run_id: str, data: bytes, *, id: str, group: str = "", within_s: float | None = None
    ) -> Awaitable[Receipt]:
        subject = subject_of(task_type, group, run_id)
        call = Call("tasks.put", subject, lambda: self._stream.put(subject, data, id=id))
        return self._link.surely(call, within_s=within_s)

    async def drop(self, task_type: str, run_id: str, *, upto: int) -> None:
        subject = subject_of(task_type, "", run_id)
        grouped = subject_of(task_type, "*", run_id)

        def drop() -> None:
            self._stream.purge(subject, upto=upto)
            self._stream.purge(grouped, upto=upto)

        await self._link.request(Call("tasks.drop", subject, drop))

    async def waiting(self, task_type: str, run_id: str, *, group: str = "") -> list[bytes]:
        subject = subject_of(task_type, group, run_id)
        own = _of_run(task_type, run_id)

        def find() -> list[Message]:
            return [*self._stream.of(subject), *(() if group else self._server.own_tasks.fitting(own))]

        found = await self._link.request(Call("tasks.waiting", subject, find))
        return [message.data for message in found]

    def put_own(self, task: OwnTask, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        subject = _own_subject(task)
        call = Call("tasks.put_own", subject, lambda: self._server.own_tasks.put(subject, data, id=id))
        return self._link.surely(call, within_s=within_s)

    async def drop_own(self, task: OwnTask) -> None:
        subject = _own_subject(task)
        await self._link.request(Call("tasks.drop_own", subject, lambda: self._server.own_tasks.purge(subject)))

    async def drop_all_own(self, task_type: str, run_id: str) -> None:
        pattern = _of_run(task_type, run_id)
        await self._link.request(Call("tasks.drop_own", pattern, lambda: self._server.own_tasks.purge(pattern)))

    async def page(self, *, after: int, count: int, own: bool = False) -> list[Queued]:
        stream, pattern = self._place(own=own)
        found = await self._link.request(Call("tasks.page", pattern, lambda: stream.behind(after, count)))
        return [
            Queued(each.seq, "" if own else each.subject.rpartition(".")[2], each.data, each.time_ns) for each in found
        ]

    async def remove(self, seq: int, time_ns: int, *, own: bool = False) -> None:
        stream, pattern = self._place(own=own)

        def remove() -> None:
            found = stream.at(seq)
            if found is not None and found.time_ns == time_ns:
                stream.remove(seq)

        await self._link.request(Call("tasks.remove", pattern, remove))

    def _place(self, *, own: bool) -> tuple[Stream, str]:
        return (self._server.own_tasks, "sticky.>") if own else (self._stream, "task.>")

    async def last(self) -> int:
        return await self._link.request(Call("tasks.last", "task.>", lambda: self._stream.last_seq))

    async def fill(self) -> Fill:
        return await self._link.request(Call("tasks.read", "task.>", lambda: Fill(len(self._stream), 0.0)))

    async def overview(self) -> list[QueueState]:
        return await self._link.request(Call("tasks.overview", "task.>", self._overview))

    def _overview(self) -> list[QueueState]:
        oldest: dict[str, int] = {}
        counts: dict[str, int] = {}
        for message in self._stream.fitting("task.>"):
            name = message.subject.removeprefix("task.").rpartition(".")[0]
            oldest.setdefault(name, message.time_ns)
            counts[name] = counts.get(name, 0) + 1
        found: list[QueueState] = []
        served = {f"{task}.{group}" if group else task: each for (task, group), each in self._server.queues.items()}
        for name in sorted({*counts, *served}):
            consumer = served.get(name)
            waiting, held, again = consumer.counts if consumer is not None else (counts[name], 0, 0)
            ack_wait_s, pulls = (consumer.ack_wait_s, consumer.pulls) if consumer is not None else (0.0, 0)
            found.append(QueueState(name, waiting, held, again, ack_wait_s, pulls, oldest.get(name, 0)))
        return found

    async def shut(self, task_types: Sequence[str]) -> None:
        def set_all() -> None:
            for (task_type, _), consumer in self._server.queues.items():
                consumer.pause(task_type in task_types)

        await self._link.request(Call("tasks.shut", "task.>", set_all))

    async def forget(self, task_type: str) -> None:
        def drop() -> None:
            for key in [key for key in self._server.queues if key[0] == task_type]:
                del self._server.queues[key]

        await self._link.request(Call("tasks.forget", "task.>", drop))

    def cancel(self, run_id: str, data: bytes) -> None:
        subject = f"dagnats.cancel.{run_id}"

        def tell() -> None:
            for told, link in self._server.cancellations:
                link.deliver(subject, lambda told=told: told(run_id, data))

        self._link.send(Call("tasks.cancel", subject, tell))

    def held(self, address: str) -> MemoryHeldTask:
        pattern, time_ns, seq, _ = address.rsplit(" ", 3)
        consumer = next((each for each in self._server.queues.values() if each.pattern == pattern), None)
        return MemoryHeldTask(self._link, consumer, int(seq), int(time_ns))


def subject_of(task_type: str, group: str, run_id: str) -> str:
    """Where a task lies."""
    return f"task.{task_type}.{group}.{run_id}" if group else f"task.{task_type}.{run_id}"


def _own_subject(task: OwnTask) -> str:
    before = _before(task.task_type, task.worker_id)
    return f"{before}{task.run_id}.{task.step_id}.{task.attempt}"


def _of_run(task_type: str, run_id: str) -> str:
    return f"sticky.{task_type}.*.{run_id}.>"


def _before(task_type: str, worker_id: str) -> str:
    return f"sticky.{task_type}.{worker_token(worker_id)}."


class Pull:
    """Messages of one consumer, as one client takes them: tasks, or wake-ups."""

    def __init__(self, link: Link, consumer: Consumer, kind: str) -> None:
        self._link = link
        self._consumer = consumer
        self._kind = kind
        self._buffer: deque[tuple[Message, int]] = deque()
        self._news = asyncio.Event()
        self._puller = Puller(self._deliver, lambda: link.dead or link.closed)
        self.shared = False
        """Whether who takes has another source too: then a `take` may give nothing, whenever it was woken."""
        self.on_news: Callable[[], None] | None = None
        self._forget = link.on_lost(self.wake)  # who waited is not known there any more
        self.pattern = consumer.pattern

    async def take(self, room: int) -> list[tuple[Message, int]]:
        """Up to `room` messages with their deliveries, at least one; waits for them."""
        while not self._buffer:
            self.say("pull", "", lambda: self._consumer.pull(self._puller, room))
            await wait(self._news, self._link.watchdog_s)
            if self.shared:
                break
        return self._taken(room)

    def ready(self, room: int) -> list[tuple[Message, int]]:
        """Up to `room` messages that have arrived; more are asked for."""
        taken = self._taken(room)
        if not taken:
            self.say("pull", "", lambda: self._consumer.pull(self._puller, room))
        return taken

    def _taken(self, room: int) -> list[tuple[Message, int]]:
        return [self._buffer.popleft() for _ in range(min(room, len(self._buffer)))]

    def wake(self) -> None:
        """Let a waiting `take` look again."""
        self._news.set()
        if self.on_news is not None:
            self.on_news()

    def buffered(self) -> list[Message]:
        """Take everything that arrived and was not taken."""
        left = [message for message, _ in self._buffer]
        self._buffer.clear()
        return left

    async def retire(self) -> None:
        """Have what was handed out and is on its way arrive, and nothing more."""
        leave = Call(f"{self._kind}.leave", f"{self._kind}.>", lambda: self._consumer.leave(self._puller))
        with suppress(UnavailableError):
            await self._link.request(leave)

    def close(self) -> None:
        """Pull no more."""
        self._forget()
        self.say("leave", "", lambda: self._consumer.leave(self._puller))

    def acknowledge(self, message: Message) -> None:
        self.say("acknowledge", message.subject, lambda: self._consumer.acknowledge(message.seq, message.time_ns))

    def keep(self, message: Message) -> None:
        self.say("keep", message.subject, lambda: self._consumer.keep(message.seq))

    def hand_back(self, message: Message, delay_s: float = 0.0) -> None:
        self.say("hand_back", message.subject, lambda: self._consumer.hand_back(message.seq, delay_s))

    def say(self, what: str, subject: str, perform: Callable[[], None]) -> None:
        """Tell the server something; nobody waits for an answer."""
        self._link.send(Call(f"{self._kind}.{what}", subject or f"{self._kind}.>", perform))

    def _deliver(self, message: Message, deliveries: int) -> None:
        """The server hands a message to us. To a process that is dead it is lost on the way."""

        def arrive() -> None:
            self._buffer.append((message, deliveries))
            self.wake()

        self._link.deliver(message.subject, arrive)


class MemoryHeldTask:
    """`ports.HeldTask`. A queue that is not there any more hears nothing."""

    def __init__(self, link: Link, consumer: Consumer | None, seq: int, time_ns: int) -> None:
        self._link = link
        self._consumer = consumer
        self._seq = seq
        self._time_ns = time_ns

    def acknowledge(self) -> None:
        self._say("acknowledge", lambda consumer: consumer.acknowledge(self._seq, self._time_ns))

    def keep(self) -> None:
        self._say("keep", lambda consumer: consumer.keep(self._seq))

    def hand_back(self, delay_s: float = 0.0) -> None:
        self._say("hand_back", lambda consumer: consumer.hand_back(self._seq, delay_s))

    def _say(self, what: str, perform: Callable[[Consumer], None]) -> None:
        consumer = self._consumer
        if consumer is not None:
            self._link.send(Call(f"tasks.{what}", consumer.pattern, lambda: perform(consumer)))


class MemoryTaskDelivery:
    """`ports.TaskDelivery`."""

    __slots__ = ("_message", "_pull", "deliveries", "run_id")

    def __init__(self, pull: Pull, message: Message, deliveries: int, run_id: str = "") -> None:
        self._pull = pull
        self._message = message
        self.deliveries = deliveries
        self.run_id = run_id or message.subject.rpartition(".")[2]

    @property
    def data(self) -> bytes:
        return self._message.data

    @property
    def address(self) -> str:
        return f"{self._pull.pattern} {self._message.time_ns} {self._message.seq} {self.deliveries}"

    def acknowledge(self) -> None:
        self._pull.acknowledge(self._message)

    def keep(self) -> None:
        self._pull.keep(self._message)

    def hand_back(self, delay_s: float = 0.0) -> None:
        self._pull.hand_back(self._message, delay_s)


class MemoryTaskFeed:
    """`ports.TaskFeed`."""

    def __init__(self, pull: Pull, ack_wait_s: float, most: int, server: MemoryServer, link: Link, task: str) -> None:
        self.ack_wait_s = ack_wait_s
        self._server = server
        self._link = link
        self._task_type = task
        self._own: Pull | None = None
        self._own_prefix = ""
        self._pull = pull
        self._most = most

    @classmethod
    async def open(
        cls, server: MemoryServer, link: Link, task_type: str, *, ack_wait_s: float, most: int, group: str = ""
    ) -> MemoryTaskFeed:
        call = Call("tasks.open", f"task.{task_type}.*", lambda: server.queue(task_type, group, ack_wait_s))
        consumer = await link.request(call)
        return cls(Pull(link, consumer, "tasks"), consumer.ack_wait_s, most, server, link, task_type)

    async def take(self, room: int) -> list[TaskDelivery]:
        room = min(room, self._most)
        while True:
            if self._own is not None and (mine := self._own.ready(room)):
                return [self._own_delivery(self._own, message, deliveries) for message, deliveries in mine]
            if taken := await self._pull.take(room):
                return [MemoryTaskDelivery(self._pull, message, deliveries) for message, deliveries in taken]

    def _own_delivery(self, own: Pull, message: Message, deliveries: int) -> TaskDelivery:
        run_id = message.subject[len(self._own_prefix) :].partition(".")[0]
        return MemoryTaskDelivery(own, message, deliveries, run_id)

    async def open_own(self, worker_id: str) -> None:
        self._own_prefix = _before(self._task_type, worker_id)
        pattern = f"{self._own_prefix}>"
        call = Call("tasks.open_own", pattern, lambda: self._server.own(pattern, self.ack_wait_s))
        self._own = Pull(self._link, await self._link.request(call), "tasks")
        self._own.on_news = self._pull.wake
        self._pull.shared = True
        self._pull.wake()

    def hand_back(self) -> None:
        for message in self._pull.buffered():
            self._pull.hand_back(message)

    async def close(self) -> None:
        await self._pull.retire()  # else what is on its way would wait for the ack wait
        if self._own is not None:
            await self._own.retire()
            self._own.close()
            for message in self._own.buffered():
                self._own.hand_back(message)
        self._pull.close()
        self.hand_back()


class MemoryKeeper:
    """`ports.TaskKeeper`, on the event loop: where time is virtual, nothing that blocks the loop takes any."""

    def __init__(self, held: Callable[[], Sequence[TaskDelivery]], every_s: float) -> None:
        self._held = held
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(every_s, self._keep)

    async def close(self) -> None:
        self._timer.cancel()

    def _keep(self) -> None:
        self._timer = self._loop.call_later(self._every_s, self._keep)
        for delivery in self._held():
            delivery.keep()
