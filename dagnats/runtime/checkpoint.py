"""What a step stores for its next attempt: of any size, and never replaced by an attempt that is over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.blob import carried, resolved
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Checkpoint

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports

_NONE = Checkpoint(0, b"")


async def load_checkpoint(ports: Ports, run_id: str, step_id: str) -> Checkpoint | None:
    """The step's checkpoint, whole. `attempt` is 0 for one of a worker that is none of ours: any bytes.

    Raises:
        BlobLost: It was large, and is not all there any more.
    """
    held = await persist(lambda: ports.checkpoints.load(run_id, step_id))
    if held is None:
        return None
    return held._replace(data=await persist(lambda: resolved(ports, held.data)))


async def save_checkpoint(
    ports: Ports, run_id: str, step_id: str, data: bytes, *, attempt: int, note: bytes | None = None
) -> None:
    """Store a step's checkpoint in place of the last one.

    Args:
        data: JSON.
        attempt: Who stores it, as the task says.
        note: What is stored with it; None for what there was.

    Raises:
        ConflictError: A later attempt has stored one: this one is over.
        RefusedError: It is too large for anything, or has the key of references.
    """
    value = await carried(ports, run_id, data, what="the checkpoint")
    while True:
        held = await persist(lambda: ports.checkpoints.load(run_id, step_id)) or _NONE
        if held.attempt > attempt:
            raise ConflictError(
                f"attempt {attempt} of step {step_id!r} cannot store a checkpoint:"
                f" attempt {held.attempt} has stored one since",
                hint="this attempt is over, and its result will not count",
            )
        kept = held.note if note is None else note
        put = partial(ports.checkpoints.save, run_id, step_id, value, attempt=attempt, note=kept)
        try:
            await persist(partial(put, revision=held.revision))
        except ConflictError:  # somebody else was first; or we were, and did not hear the answer
            continue
        return
