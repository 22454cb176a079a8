"""Task queues on TASK_QUEUES: `task.<type>.<run>` or `task.<type>.<group>.<run>`, a durable consumer for each."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from dagnats.errors import ConflictError, RefusedError
from dagnats.runtime.jetstream.acknowledgement import acknowledge, acknowledge_if_there
from dagnats.runtime.jetstream.own import OwnPull, own_subject, subjects_of_run
from dagnats.runtime.jetstream.publish import Publication, id_block
from dagnats.runtime.jetstream.pull import Pull, deliveries_of
from dagnats.runtime.jetstream.read import (
    delete_if_there,
    messages_of,
    page_of,
    seq_of,
    state_of,
    subject_of,
    subjects_of,
    time_ns_of,
)
from dagnats.runtime.jetstream.resources import OWN_TASKS, TASKS
from dagnats.runtime.ports import Fill, Queued, QueueState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dagnats.runtime.jetstream.batch import GroupCommit
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import OwnTask, Receipt, TaskDelivery

_OVERLAP = 10100  # another consumer of the work queue has a filter that shares subjects
_EXISTS = 10148
_NO_CONSUMER = 10014
_SECOND = 1_000_000_000
_CANCEL = "dagnats.cancel."
_PREFIX = "task."
_FOR_EVER = "2200-01-01T00:00:00Z"


def durable_name(task_type: str, group: str = "") -> str:
    """The consumer of a task type's workers. A name that had to be changed gets a hash, so that two cannot meet."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", task_type)
    name = f"workers-{plain}-{group}" if group else f"workers-{plain}"
    if plain == task_type:
        return name
    return f"{name}-{hashlib.sha256(task_type.encode()).hexdigest()[:8]}"


def _subject(task_type: str, group: str, run_id: str) -> str:
    return f"task.{task_type}.{group}.{run_id}" if group else f"task.{task_type}.{run_id}"


def _run_of(subject: str) -> str:
    return subject.rpartition(".")[2]


class JetStreamTaskQueue:
    """`ports.TaskQueue`."""

    def __init__(self, link: Link, commit: GroupCommit) -> None:
        self._link = link
        self._commit = commit

    def put(
        self, task_type: str, run_id: str, data: bytes, *, id: str, group: str = "", within_s: float | None = None
    ) -> Awaitable[Receipt]:
        return self._commit.publish(_subject(task_type, group, run_id), data, id_block(id), within_s=within_s)

    async def drop(self, task_type: str, run_id: str, *, upto: int) -> None:
        # `*` takes tasks of type `<type>.<any>` as well: they are the run's, and as little waited for.
        requests = [{"filter": _subject(task_type, group, run_id), "seq": upto + 1} for group in ("", "*")]
        await asyncio.gather(*(self._link.api(f"STREAM.PURGE.{TASKS}", one) for one in requests))

    def put_own(self, task: OwnTask, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        return Publication(self._link, own_subject(task), data, id_block(id), within_s, refused_when_full=True).send()

    async def drop_own(self, task: OwnTask) -> None:
        await self._link.api(f"STREAM.PURGE.{OWN_TASKS}", {"filter": own_subject(task)})

    async def drop_all_own(self, task_type: str, run_id: str) -> None:
        await self._link.api(f"STREAM.PURGE.{OWN_TASKS}", {"filter": subjects_of_run(task_type, run_id)})

    async def waiting(self, task_type: str, run_id: str, *, group: str = "") -> list[bytes]:
        messages = await messages_of(self._link, TASKS, _subject(task_type, group, run_id))
        if not group:
            messages += await messages_of(self._link, OWN_TASKS, subjects_of_run(task_type, run_id))
        return [message.data for message in messages]

    async def page(self, *, after: int, count: int, own: bool = False) -> list[Queued]:
        stream, pattern = (OWN_TASKS, "sticky.>") if own else (TASKS, f"{_PREFIX}>")
        found, _ = await page_of(self._link, stream, {"seq": after + 1, "next_by_subj": pattern, "batch": count})
        return [
            Queued(seq_of(each), "" if own else _run_of(subject_of(each)), each.data, time_ns_of(each))
            for each in found
        ]

    async def remove(self, seq: int, time_ns: int, *, own: bool = False) -> None:
        await delete_if_there(self._link, OWN_TASKS if own else TASKS, seq, time_ns)

    async def shut(self, task_types: Sequence[str]) -> None:
        """Pause the types' consumers, those of worker groups too: what they have in hand goes on."""
        for consumer in await self._consumers():
            paused = _serves(consumer, task_types)
            if paused is not bool(consumer.get("paused")):
                until = {"pause_until": _FOR_EVER} if paused else {}
                await self._link.api(f"CONSUMER.PAUSE.{TASKS}.{consumer['name']}", until)

    async def forget(self, task_type: str) -> None:
        for consumer in await self._consumers():
            if _serves(consumer, [task_type]):
                try:
                    await self._link.api(f"CONSUMER.DELETE.{TASKS}.{consumer['name']}")
                except RefusedError as error:
                    if error.code != _NO_CONSUMER:  # somebody else has just forgotten it
                        raise

    async def _consumers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = await self._link.api(f"CONSUMER.LIST.{TASKS}", {"offset": len(found)})
            found += page.get("consumers") or []
            if not page.get("consumers") or len(found) >= page.get("total", 0):
                return found

    async def last(self) -> int:
        last: int = (await state_of(self._link, TASKS))["last_seq"]
        return last

    async def fill(self) -> Fill:
        found = await self._link.api(f"STREAM.INFO.{TASKS}")
        state, config = found["state"], found["config"]
        bounds = ((state["messages"], config["max_msgs"]), (state["bytes"], config["max_bytes"]))
        return Fill(state["messages"], max(taken / most if most > 0 else 0.0 for taken, most in bounds))

    async def overview(self) -> list[QueueState]:
        consumers = await _consumers(self._link)
        stored = (await state_of(self._link, TASKS))["messages"]
        known = sum(consumer["num_pending"] + consumer["num_ack_pending"] for consumer in consumers)
        found = await asyncio.gather(*(_queue_of(self._link, consumer) for consumer in consumers))
        return sorted([*found, *(await self._unserved(found) if stored > known else ())])

    async def _unserved(self, served: Sequence[QueueState]) -> list[QueueState]:
        """The queues that have tasks, and never had a worker."""
        subjects = await subjects_of(self._link, TASKS, f"{_PREFIX}>")
        waiting = Counter(subject[len(_PREFIX) :].rpartition(".")[0] for subject in subjects)
        for queue in served:
            waiting.pop(queue.name, None)
        oldest = await asyncio.gather(*(_oldest_ns(self._link, f"{_PREFIX}{name}.*") for name in waiting))
        found = zip(waiting.items(), oldest, strict=True)
        return [QueueState(name, count, 0, 0, 0.0, 0, oldest_ns) for (name, count), oldest_ns in found]

    def cancel(self, run_id: str, data: bytes) -> None:
        self._link.send(_CANCEL + run_id, data)

    def held(self, address: str) -> JetStreamHeldTask:
        return JetStreamHeldTask(self._link, address)


async def _consumers(link: Link) -> list[dict[str, Any]]:
    """Every queue's consumer, as the server describes it."""
    found: list[dict[str, Any]] = []
    while True:
        page = await link.api(f"CONSUMER.LIST.{TASKS}", {"offset": len(found)})
        consumers: list[dict[str, Any]] = page.get("consumers") or []
        found += [each for each in consumers if each["config"].get("filter_subject", "").endswith(".*")]
        if not consumers or len(found) >= page.get("total", 0):
            return found


async def _queue_of(link: Link, consumer: dict[str, Any]) -> QueueState:
    subject: str = consumer["config"]["filter_subject"]
    busy = consumer["num_pending"] or consumer["num_ack_pending"]
    return QueueState(
        name=subject[len(_PREFIX) : -len(".*")],
        waiting=consumer["num_pending"],
        in_flight=consumer["num_ack_pending"],
        redelivered=consumer["num_redelivered"],
        ack_wait_s=consumer["config"]["ack_wait"] / _SECOND,
        pulls=consumer.get("num_waiting", 0),
        oldest_ns=await _oldest_ns(link, subject) if busy else 0,
    )


async def _oldest_ns(link: Link, subject: str) -> int:
    messages, _ = await page_of(link, TASKS, {"seq": 1, "next_by_subj": subject, "batch": 1})
    return time_ns_of(messages[0]) if messages else 0


def _serves(consumer: dict[str, Any], task_types: Sequence[str]) -> bool:
    """Whether a consumer is of one of these types: the whole type's, or a worker group's."""
    group = str(consumer["config"].get("filter_subject", "")).rpartition(".")[0].rpartition(".")[2]
    return any(consumer["name"] in (durable_name(one), durable_name(one, group)) for one in task_types)


def hear_cancellations(link: Link, told: Callable[[str, bytes], None]) -> Callable[[], None]:
    """`ports.WorkerFeeds.cancellations`."""
    sid = link.subscribe(f"{_CANCEL}*", lambda message: told(message.subject[len(_CANCEL) :], message.data))
    return lambda: link.unsubscribe(sid)


class JetStreamHeldTask:
    """`ports.HeldTask`: whoever knows the subject that takes the acknowledgement can give it.

    Attributes:
        address: That subject.
    """

    __slots__ = ("_link", "address")

    def __init__(self, link: Link, address: str) -> None:
        self._link = link
        self.address = address

    def acknowledge(self) -> None:
        acknowledge_if_there(self._link, self.address)

    def keep(self, over: Link | None = None) -> None:
        """`ports.HeldTask.keep`; any connection can say it."""
        (over or self._link).send(self.address, b"+WPI")

    def hand_back(self, delay_s: float = 0.0) -> None:
        self._link.send(self.address, b'-NAK {"delay": %d}' % int(delay_s * _SECOND))


class JetStreamTaskDelivery(JetStreamHeldTask):
    """`ports.TaskDelivery`."""

    __slots__ = ("_message", "run_id")

    def __init__(self, link: Link, message: Message, run_id: str = "") -> None:
        self._link, self.address = link, message.reply  # not by `super()`: one of these is made for every task
        self._message = message
        self.run_id = run_id or _run_of(message.subject)

    def acknowledge(self) -> None:
        # Nobody waits for it: were it lost, the task would come again, and its result be there already.
        acknowledge(self._link, self._message, lazily=True)

    @property
    def data(self) -> bytes:
        return self._message.data

    @property
    def deliveries(self) -> int:
        return deliveries_of(self._message)


class JetStreamTaskFeed:
    """`ports.TaskFeed`."""

    def __init__(self, link: Link, pull: Pull, ack_wait_s: float, task_type: str, most: int) -> None:
        self._link = link
        self._pull = pull
        self._task_type = task_type
        self._most = most
        self._own: OwnPull | None = None
        self.ack_wait_s = ack_wait_s

    @classmethod
    async def open(
        cls, link: Link, task_type: str, *, ack_wait_s: float, most: int, group: str = ""
    ) -> JetStreamTaskFeed:
        ack_wait_s = await _make(link, task_type, group, ack_wait_s)
        make = partial(_make, link, task_type, group, ack_wait_s)
        subjects = _subject(task_type, group, "*")
        pull = Pull(link, TASKS, durable_name(task_type, group), most=most, filter=subjects, make=make)
        pull.start()
        return cls(link, pull, ack_wait_s, task_type, most)

    async def take(self, room: int) -> list[TaskDelivery]:
        while True:
            if self._own is not None and (mine := self._own.ready(room)):
                return [JetStreamTaskDelivery(self._link, message, self._own.run_of(message)) for message in mine]
            if messages := await self._pull.take(room):
                return [JetStreamTaskDelivery(self._link, message) for message in messages]

    async def open_own(self, worker_id: str) -> None:
        own = OwnPull(self._link, self._task_type, worker_id, ack_wait_s=self.ack_wait_s, most=self._most)
        await own.open(self._pull.wake)
        self._own = own
        self._pull.shared = True
        self._pull.wake()

    def hand_back(self) -> None:
        for message in self._pull.buffered():
            JetStreamTaskDelivery(self._link, message).hand_back()

    async def close(self) -> None:
        await self._pull.retire()  # else what is on its way would wait for the ack wait
        for message in await self._own.close() if self._own is not None else ():
            JetStreamTaskDelivery(self._link, message).hand_back()
        self.hand_back()
        self._pull.close()


async def _make(link: Link, task_type: str, group: str, ack_wait_s: float) -> float:
    """Make a queue's consumer, unless it is there; gives its ack wait. Raises ConflictError."""
    name, subject = durable_name(task_type, group), _subject(task_type, group, "*")
    served = f"task type {task_type!r}" + (f" in group {group!r}" if group else "")
    config = {
        "name": name,
        "durable_name": name,
        "description": f"Workers of {served}.",
        "deliver_policy": "all",
        "filter_subject": subject,
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait_s * _SECOND),
        "max_ack_pending": 100_000,
        "max_deliver": -1,
    }
    call = f"CONSUMER.CREATE.{TASKS}.{name}.{subject}"
    try:
        await link.api(call, {"stream_name": TASKS, "action": "create", "config": config})
    except RefusedError as error:
        if error.code == _OVERLAP:
            raise ConflictError(
                f"{served} shares its subjects with another one that has workers already",
                hint="rename one of the task types, or the group",
            ) from None
        if error.code != _EXISTS:
            raise
        return await _adopt(link, name, served, subject)
    return ack_wait_s


async def _adopt(link: Link, name: str, served: str, subject: str) -> float:
    """Use the consumer that other workers of the type made; gives its ack wait, which counts for all of them."""
    found = await link.api(f"CONSUMER.INFO.{TASKS}.{name}")
    if found["config"].get("filter_subject") != subject:
        raise ConflictError(
            f"consumer {name} serves {found['config'].get('filter_subject')!r}, not {served}",
            hint="rename one of the task types, or the group",
        )
    ack_wait_ns: int = found["config"]["ack_wait"]
    return ack_wait_ns / _SECOND
