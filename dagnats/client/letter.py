"""Dead letters: what nothing more could be done with, looked at, tried again, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagnats.client.run import RunHandle
from dagnats.errors import ConflictError, DecodeError, NotFoundError
from dagnats.model.event import decode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.instant import rfc3339
from dagnats.runtime.core.reopen import OPENABLE
from dagnats.runtime.letter import PARKED, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagnats.runtime.ports import Letter, Ports

_SUBJECT = "dead."
_HEADER = "Dagnats-Dlq-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter.

    Attributes:
        seq: Its place, by which it is named.
        subject: `dead.<task>.<run>.<step>`, or `dead.orchestrator.…` for what the engine could not read.
        run_id: Whose it is, or "".
        step_id: The step that failed, or "".
        task: Its task type, or "".
        error: Why nothing more could be done.
        attempts: How often it was tried.
        consumer: `TASK_QUEUES` for tasks, `WORKFLOW_HISTORY` for events.
        time_ns: When it came, by the server's clock.
        headers: All of them.
        body: Its bytes.
    """

    seq: int
    subject: str
    run_id: str
    step_id: str
    task: str
    error: str
    attempts: int
    consumer: str
    time_ns: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """What it is about, in a word: its task type, or the subject's beginning."""
        return self.task or ".".join(self.subject.split(".")[1:3])


def dead_letter(letter: Letter) -> DeadLetter:
    """A letter with its headers read."""
    said = {name.removeprefix(_HEADER): value for name, value in letter.headers.items()}
    attempts = said.get("Attempts") or said.get("Delivery-Count") or "0"
    return DeadLetter(
        seq=letter.seq,
        subject=_SUBJECT + letter.subject,
        run_id=said.get("Run-Id", ""),
        step_id=said.get("Step-Id", ""),
        task=said.get("Task", ""),
        error=said.get("Error", ""),
        attempts=int(attempts) if attempts.isascii() and attempts.isdigit() else 0,
        consumer=said.get("Consumer", ""),
        time_ns=letter.time_ns,
        headers=letter.headers,
        body=letter.data,
    )


async def letter_at(ports: Ports, seq: int) -> DeadLetter:
    """The dead letter at a place. Raises NotFoundError."""
    letter = await ports.dead_letters.at(seq) if seq > 0 else None
    if letter is None:
        raise NotFoundError("dead letter", str(seq), hint="`dagnats dlq list` lists those there are")
    return dead_letter(letter)


async def letters(ports: Ports, run_id: str = "") -> list[DeadLetter]:
    """All dead letters, or a run's, oldest first."""
    found = [dead_letter(letter) for letter in await ports.dead_letters.find(">")]
    return [letter for letter in found if run_id in ("", letter.run_id)]


async def replay(ports: Ports, letter: DeadLetter, *, by: str = "") -> None:
    """Try again what a dead letter is about.

    A task's run is opened again where it broke, and the letter goes when the step succeeds. An event that can be read
    by now goes back into its history.

    Raises:
        ConflictError: The run is not over, or has nothing to go on with; or the event still cannot be read.
        NotFoundError: There is no such run any more.
        FullError: The store has room only for the runs under way.
    """
    await replay_run(ports, [letter], by=by)


async def replay_run(ports: Ports, found: Sequence[DeadLetter], *, by: str = "") -> None:
    """`replay` for several letters of one run, which is opened again once."""
    await ports.room.expect("a run that is over to go on")
    opening: DeadLetter | None = None
    for letter in found:
        if not await _is_put_back(ports, letter):
            opening = letter
    if opening is None:
        return
    try:
        await RunHandle(ports, opening.run_id).replay(f"dead letter {opening.seq}", by=by)
    except (ConflictError, NotFoundError) as error:
        error.hint = error.hint or _DISCARD.format(opening.seq)
        raise
    for letter in found:
        if not letter.step_id:  # no step's success takes it away
            await ports.dead_letters.remove(letter.seq)


async def _is_put_back(ports: Ports, letter: DeadLetter) -> bool:
    """Whether it was an event, which is in its history again; what is left is a task whose run has to be opened."""
    if letter.subject.startswith(f"{_SUBJECT}{PARKED}"):
        raise ConflictError(
            f"dead letter {letter.seq} is an event that this version cannot decide",
            hint="a version that can takes it up by itself",
        )
    if letter.subject.startswith(f"{_SUBJECT}{UNREADABLE}"):
        await _put_back(ports, letter)
        return True
    if not is_run_id(letter.run_id):
        raise ConflictError(f"dead letter {letter.seq} names no run", hint=_DISCARD.format(letter.seq))
    return False


_DISCARD = "`dagnats dlq discard {}` drops it"


async def _put_back(ports: Ports, letter: DeadLetter) -> None:
    """An event that could not be read, into its history again; the run that failed over it goes on."""
    try:
        event = decode_event(letter.body)
    except DecodeError as error:
        raise ConflictError(
            f"dead letter {letter.seq} still cannot be read: {error}", hint=_DISCARD.format(letter.seq)
        ) from None
    run_id = event.run_id
    if not is_run_id(run_id) or not await ports.log.first(run_id):
        raise NotFoundError("run", run_id, hint=_DISCARD.format(letter.seq))
    await ports.log.append(run_id, letter.body, id=f"{run_id}.replay.{letter.seq}")
    handle = RunHandle(ports, run_id)
    if (await handle.view()).status in OPENABLE:
        await handle.replay(f"dead letter {letter.seq} of {rfc3339(letter.time_ns)}")
    await ports.dead_letters.remove(letter.seq)
