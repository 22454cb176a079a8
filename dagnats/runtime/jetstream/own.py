"""Tasks for one worker alone, on STICKY_TASKS: `sticky.<type>.<worker>.<run>.<step>.<attempt>`.

Step and attempt are in the subject so that one task can be taken out again without touching its neighbours, which the
worker may have in hand.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError, RefusedError
from dagnats.model.identifier import worker_token
from dagnats.runtime.jetstream.pull import Pull
from dagnats.runtime.jetstream.resources import OWN_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import OwnTask

_OVERLAP = 10100
_SECOND = 1_000_000_000
_GONE_NS = 300 * _SECOND
"""A consumer that nobody pulls from for so long is forgotten by the server: its worker is not coming back soon. What
it held stays in the stream, and comes to the consumer that a worker of the same name makes."""


def own_subject(task: OwnTask) -> str:
    """Where a task for one worker alone lies."""
    return f"{_before(task.task_type, task.worker_id)}{task.run_id}.{task.step_id}.{task.attempt}"


def subjects_of_run(task_type: str, run_id: str) -> str:
    """Where all tasks of a type and a run lie that are for one worker alone."""
    return f"sticky.{task_type}.*.{run_id}.>"


def _before(task_type: str, worker_id: str) -> str:
    return f"sticky.{task_type}.{worker_token(worker_id)}."


class OwnPull:
    """A worker's own tasks of one type.

    Its consumer is durable, so that a worker that is started again under its name finds what it held, and goes by
    itself when nobody pulls from it any more.
    """

    def __init__(self, link: Link, task_type: str, worker_id: str, *, ack_wait_s: float, most: int) -> None:
        self._link = link
        self._prefix = _before(task_type, worker_id)
        digest = hashlib.sha256(self._prefix.encode()).hexdigest()[:8]
        self._name = f"sticky-{re.sub(r'[^A-Za-z0-9_-]', '-', task_type)}-{worker_token(worker_id)[:64]}-{digest}"
        self._served = f"task type {task_type!r} for worker {worker_id!r}"
        self._ack_wait_s = ack_wait_s
        self._pull = Pull(link, OWN_TASKS, self._name, most=most, filter=f"{self._prefix}>", make=self._make)

    async def open(self, told: Callable[[], None]) -> None:
        """Begin to pull; `told` is called when there may be something.

        Raises:
            ConflictError: Another task type's consumer covers these subjects.
        """
        await self._make()
        self._pull.on_news = told
        self._pull.start()

    async def _make(self) -> None:
        config = {
            "name": self._name,
            "durable_name": self._name,
            "description": f"{self._served}.",
            "deliver_policy": "all",
            "filter_subject": f"{self._prefix}>",
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait_s * _SECOND),
            "max_ack_pending": 100_000,
            "max_deliver": -1,
            "inactive_threshold": _GONE_NS,
        }
        call = f"CONSUMER.CREATE.{OWN_TASKS}.{self._name}.{self._prefix}>"
        try:
            await self._link.api(call, {"stream_name": OWN_TASKS, "config": config})
        except RefusedError as error:
            if error.code != _OVERLAP:
                raise
            raise ConflictError(
                f"{self._served} shares its subjects with another one", hint="give the worker another name"
            ) from None

    def ready(self, room: int) -> list[Message]:
        """Up to `room` messages that have arrived; more are asked for."""
        return self._pull.ready(room)

    def run_of(self, message: Message) -> str:
        """The run that a message's subject names."""
        return message.subject[len(self._prefix) :].partition(".")[0]

    async def close(self) -> list[Message]:
        """Stop pulling; gives what has arrived, or was on its way, and was not taken."""
        await self._pull.retire()
        self._pull.close()
        return self._pull.buffered()
