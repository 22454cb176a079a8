"""The least a chain of steps can cost on this design: the same messages, no features, no safety.

`python -m benchmarks.yardstick engine|worker URL TOKEN`. Streams and consumers of its own, so that it can be measured
in the same run, on the same server, as DagNats itself.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.runtime.jetstream.batch import GroupCommit
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.policy import Policy
from dagnats.runtime.jetstream.publish import id_block

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.ports import Receipt

HISTORY, TASKS, RUNS = "YARD_HISTORY", "YARD_TASKS", "YARD_RUNS"


class Event(msgspec.Struct):
    """`length` steps in a line, or `width` side by side; `step` is the one that is done, -1 at the start.

    The rest is there so that messages are as long as real ones: nothing of it is left out for being as it always is.
    """

    run_id: str
    step: int
    length: int = 0
    width: int = 0
    payload: msgspec.Raw = msgspec.Raw(b"")
    ended: bool = False
    timestamp: str = "2026-11-20T00:00:00.000000000Z"
    worker_id: str = "worker-0123456789abcdef"
    trace: str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


class Snapshot(msgspec.Struct):
    """A finished run."""

    run_id: str
    status: str
    steps: dict[str, msgspec.Raw]


_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


class Way:
    """Into the streams: each message by itself, or together with what waits when each must be on disk."""

    def __init__(self, link: Link, policy: Policy) -> None:
        self._history, self._tasks, self._runs = (GroupCommit(link, policy) for _ in range(3))

    @classmethod
    async def open(cls, link: Link) -> Way:
        policy = Policy(link)
        await policy.read()
        return cls(link, policy)

    def event(self, event: Event, id: str) -> asyncio.Future[Receipt]:
        return self._history.publish(f"yard.history.{event.run_id}", _encode(event), id_block(id))

    def task(self, event: Event, id: str) -> asyncio.Future[Receipt]:
        return self._tasks.publish(f"yard.task.{event.run_id}", _encode(event), id_block(id))

    def snapshot(self, run: Snapshot) -> asyncio.Future[Receipt]:
        return self._runs.publish(f"yard.run.{run.run_id}", _encode(run), id_block(f"{run.run_id}.snapshot"))


async def prepare(link: Link) -> None:
    common: dict[str, Any] = {
        "storage": "file",
        "num_replicas": 1,
        "duplicate_window": 30_000_000_000,
        "allow_atomic": True,
    }
    for name, subject, retention in (
        (HISTORY, "yard.history.>", "limits"),
        (TASKS, "yard.task.>", "workqueue"),
        (RUNS, "yard.run.>", "limits"),
    ):
        await link.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [subject], "retention": retention, **common})
    for stream, policy in ((HISTORY, "all"), (TASKS, "explicit")):
        config = {"name": "c", "durable_name": "c", "ack_policy": policy, "max_ack_pending": 100_000}
        await link.api(f"CONSUMER.CREATE.{stream}.c", {"stream_name": stream, "config": config})


class Pull:
    """Everything a consumer has, in batches."""

    def __init__(self, link: Link, stream: str, batch: int = 500) -> None:
        self._link, self._stream, self._batch = link, stream, batch
        self._left = 0
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._inbox = link.new_inbox()
        link.subscribe(self._inbox, self._on_message)
        self._ask()

    def _ask(self) -> None:
        self._left += self._batch
        body = b'{"batch":%d,"expires":600000000000}' % self._batch
        self._link.send(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.c", body, reply=self._inbox)

    def _on_message(self, message: Message) -> None:
        if message.status:
            return
        self._left -= 1
        self._messages.append(message)
        self._arrived.set()
        if self._left <= self._batch // 2:
            self._ask()

    async def take(self) -> list[Message]:
        await self._arrived.wait()
        self._arrived.clear()
        taken, self._messages = self._messages, []
        return taken


async def engine(link: Link) -> None:
    pull, way = Pull(link, HISTORY), await Way.open(link)
    open_steps: dict[str, int] = {}
    outputs: dict[str, dict[str, msgspec.Raw]] = {}
    while True:
        messages = await pull.take()
        sent: list[asyncio.Future[Receipt]] = []
        for message in messages:
            event = _decode(message.data)
            if event.ended:
                continue
            run = event.run_id
            if event.step < 0:
                open_steps[run] = event.width or event.length
                outputs[run] = {}
            else:
                open_steps[run] -= 1
                outputs[run][f"s{event.step}"] = event.payload
            if event.step < 0 and event.width:
                nexts = list(range(event.width))
            else:
                nexts = [event.step + 1] if not event.width and event.step + 1 < event.length else []
            for step in nexts:
                task = Event(run, step, event.length, event.width, event.payload)
                sent.append(way.task(task, f"{run}.{step}.task"))
            if not open_steps[run]:
                del open_steps[run]
                end = Event(run, event.step, ended=True, payload=event.payload)
                sent.append(way.event(end, f"{run}.end"))
                sent.append(way.snapshot(Snapshot(run, "completed", outputs.pop(run))))
        for stored in sent:
            await stored
        link.send(messages[-1].reply, b"+ACK")


async def worker(link: Link) -> None:
    pull, way = Pull(link, TASKS, 250), await Way.open(link)
    running: set[asyncio.Task[None]] = set()

    async def one(message: Message) -> None:
        event = _decode(message.data)
        output = msgspec.Raw(_encode(msgspec.json.decode(event.payload)))
        result = Event(event.run_id, event.step, event.length, event.width, output)
        await way.event(result, f"{event.run_id}.{event.step}.done")
        link.send(message.reply, b"+ACK")

    while True:
        for message in await pull.take():
            task = asyncio.create_task(one(message))
            running.add(task)
            task.add_done_callback(running.discard)


class Driver:
    """Starts runs and waits for their ends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ends: dict[str, asyncio.Future[None]] = {}
        link.subscribe("yard.history.*", self._on_event)

    def _on_event(self, message: Message) -> None:
        if b'"ended":true' in message.data:
            end = self._ends.pop(message.subject.rpartition(".")[2], None)
            if end is not None:
                end.set_result(None)

    async def run(self, *, length: int = 0, width: int = 0) -> None:
        run_id = secrets.token_hex(16)
        end = self._ends[run_id] = asyncio.get_running_loop().create_future()
        start = Event(run_id, -1, length, width, msgspec.Raw(b'"World"'))
        message = _encode(start)
        await self._link.publish_surely(f"yard.history.{run_id}", message, {"Nats-Msg-Id": f"{run_id}.start"})
        await end


async def main(role: str, url: str, token: str) -> None:
    link = await Link.connect(url, token=token, name=f"yardstick {role}")
    await {"engine": engine, "worker": worker}[role](link)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(*sys.argv[1:]))
