"""A worker written from docs/wire.md alone: raw NATS messages, and no code of this project.

It says as little as a worker may: no attempt number unless it was given one, no span, no start time.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import nats

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

Handler = Callable[[dict[str, Any]], tuple[str, Any]]
"""Gets a task; gives the type of the result event, and its payload."""


class FakeWorker:
    """Serves one task type, for one group of workers if it is told so."""

    def __init__(self, task_type: str, handler: Handler, *, group: str = "") -> None:
        self._handler = handler
        self._durable = f"workers-{task_type}-{group}" if group else f"workers-{task_type}"
        self._filter = f"task.{task_type}.{group}.*" if group else f"task.{task_type}.*"
        self._client: Client | None = None
        self.tasks: list[dict[str, Any]] = []
        self.between: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        """What happens while a handler runs."""

    async def start(self, url: str, token: str) -> None:
        self._client = await nats.connect(url, token=token)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types
        config = {
            "durable_name": self._durable,
            "filter_subject": self._filter,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": 30_000_000_000,
            "max_deliver": -1,
        }
        subject = f"$JS.API.CONSUMER.CREATE.TASK_QUEUES.{self._durable}.{self._filter}"
        asked = {"stream_name": "TASK_QUEUES", "config": config, "action": "create"}
        answer = await self._client.request(subject, json.dumps(asked).encode())
        assert "error" not in json.loads(answer.data), answer.data
        inbox = self._client.new_inbox()
        await self._client.subscribe(inbox, cb=self._on_message)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types
        self._inbox = inbox
        await self._pull()

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()

    @property
    def client(self) -> Client:
        assert self._client is not None, "the worker was started"
        return self._client

    async def _pull(self) -> None:
        asked = json.dumps({"batch": 1, "expires": 60_000_000_000}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.TASK_QUEUES.{self._durable}"
        await self.client.publish(subject, asked, reply=self._inbox)

    async def _on_message(self, message: Msg) -> None:
        if message.headers and "Status" in message.headers:  # the request has expired
            await self._pull()
            return
        task = json.loads(message.data)
        self.tasks.append(task)
        await self._publish(task, "step.started")
        if self.between is not None:
            await self.client.publish(message.reply, b"+WPI")
            await self.between(task)
        kind, payload = self._handler(task)
        await self._publish(task, kind, payload)
        await self.client.publish(message.reply, b"+ACK")
        await self._pull()

    async def _publish(self, task: dict[str, Any], kind: str, payload: Any = None) -> None:
        """Put an event into the run's history, and wait until it is stored."""
        run_id, step_id, attempt = task["run_id"], task["step_id"], task.get("attempt", 0)
        event = {
            "type": kind,
            "run_id": run_id,
            "step_id": step_id,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "worker_id": "fake-1",
        }
        if payload is not None:
            event["payload"] = payload
        if attempt > 1:
            event["attempt_number"] = attempt
        suffix = f".{attempt}" if attempt else ""
        headers = {"Nats-Msg-Id": f"{run_id}.{step_id}.{kind}{suffix}"}
        answer = await self.client.request(f"history.{run_id}", json.dumps(event).encode(), headers=headers)
        assert "error" not in json.loads(answer.data), answer.data
