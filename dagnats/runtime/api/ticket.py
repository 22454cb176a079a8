"""The id of a task that was handed out over HTTP: all that any server needs to take its result, sealed.

Nothing is stored for one, so it is good at every server and after every restart. The seal is a message authentication
code under a key that only the server's parts have: an id that somebody has made or changed is no id.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from dagnats.errors import NotFoundError
from dagnats.model.task import Task

KEY = "bridge"
"""The name of the key among the server's secrets."""

_SHOWN = 40


class Ticket(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A task in somebody's hands.

    Attributes:
        run_id: Of the attempt.
        step_id: Of the attempt.
        attempt: Its number; 0 when whoever queued it did not say.
        epoch: See `Task`.
        address: Where the queue takes the acknowledgement.
        ack_wait_ms: How long the queue trusts that it is worked on.
        heartbeat_ms: How long the handler may be silent; 0 for no limit.
        task_type: Its type.
        worker_id: Who polled it.
        iteration: Of a loop.
        traceparent: The trace it belongs to.
    """

    run_id: str
    step_id: str
    attempt: int
    epoch: int
    address: str
    ack_wait_ms: int
    heartbeat_ms: int
    task_type: str
    worker_id: str
    iteration: int = 0
    traceparent: str = ""

    @property
    def task(self) -> Task:
        """The task, as far as a report about it needs it."""
        return Task(
            run_id=self.run_id,
            step_id=self.step_id,
            attempt=self.attempt,
            epoch=self.epoch,
            heartbeat_ms=self.heartbeat_ms,
            iteration=self.iteration,
            traceparent=self.traceparent,
        )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Ticket)


def sealed(ticket: Ticket, key: bytes) -> str:
    """The id under which the task is handed out: letters, digits, '-', '_' and one dot."""
    said = _text(_encoder.encode(ticket))
    return f"{said}.{_seal(said, key)}"


def opened(task_id: str, key: bytes) -> Ticket:
    """What an id says. It takes as long for a nearly right one as for any other.

    Raises:
        NotFoundError: We did not make it.
    """
    said, _, seal = task_id.partition(".")
    if not hmac.compare_digest(_seal(said, key).encode(), seal.encode(errors="replace")):
        shown = task_id if len(task_id) <= _SHOWN else f"{task_id[:_SHOWN]}…"
        raise NotFoundError("task", shown, hint="a task's id is the task_id that a poll of this system gave")
    return _decoder.decode(urlsafe_b64decode(said + "=" * (-len(said) % 4)))


def _seal(said: str, key: bytes) -> str:
    return _text(hmac.digest(key, said.encode(errors="replace"), "sha256"))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
