"""Which signals a step has taken, over HTTP: nobody has a handler in memory that would know.

A signal counts as taken once a checkpoint or a result says so. Until then only whoever got it must not get it again:
that is noted beside the step's checkpoint, for this one delivery of the task. Whoever does the attempt again, because
this worker was lost, is given the signal again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError
from dagnats.model.event import Consumed
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Checkpoint

if TYPE_CHECKING:
    from dagnats.runtime.api.ticket import Ticket
    from dagnats.runtime.ports import Ports

_BESIDE = "._taken"  # no step is called so: names begin with a letter or a digit
_NONE = Checkpoint(0, b"")


class Note(msgspec.Struct, frozen=True):
    """What one delivery has taken.

    Attributes:
        address: Which delivery.
        taken: The newest signal of each name, by the event that brought it.
    """

    address: str
    taken: Consumed


_note = msgspec.json.Decoder(Note)
_consumed = msgspec.json.Decoder(Consumed)


async def load_taken(ports: Ports, ticket: Ticket) -> Consumed:
    """What the step has taken, as its checkpoint and this delivery tell. Raises UnavailableError."""
    kept = await ports.checkpoints.load(ticket.run_id, ticket.step_id)
    said = await ports.checkpoints.load(ticket.run_id, ticket.step_id + _BESIDE)
    taken = _decoded(kept)
    if said is not None:
        note = _note.decode(said.data)
        if note.address == ticket.address:
            taken = {name: max(taken.get(name, 0), note.taken.get(name, 0)) for name in {**taken, **note.taken}}
    return taken


async def note_taken(ports: Ports, ticket: Ticket, taken: Consumed) -> None:
    """Note what this delivery has taken, in place of what another one has."""
    data = msgspec.json.encode(Note(ticket.address, taken))
    step_id = ticket.step_id + _BESIDE
    while True:
        held = await persist(lambda: ports.checkpoints.load(ticket.run_id, step_id)) or _NONE
        save = partial(ports.checkpoints.save, ticket.run_id, step_id, data, attempt=ticket.attempt)
        try:
            await persist(partial(save, revision=held.revision))
        except ConflictError:  # or we were first, and did not hear the answer
            continue
        return


def _decoded(kept: Checkpoint | None) -> Consumed:
    try:
        return _consumed.decode(kept.note) if kept is not None and kept.note else {}
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a later version
        return {}
