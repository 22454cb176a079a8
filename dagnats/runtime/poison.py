"""Tasks nobody can read: their bytes are kept, and the run they belong to fails visibly."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from dagnats.model.event import Poison, WorkflowPoisoned, encode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.instant import rfc3339
from dagnats.runtime.burial import bury
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.errors import DecodeError
    from dagnats.runtime.ports import Ports, TaskDelivery

log = logging.getLogger("dagnats.worker")


async def bury_task(ports: Ports, task_type: str, delivery: TaskDelivery, error: DecodeError) -> None:
    """Put a task nobody can run into the dead letters, with its bytes, and fail its run."""
    log.error("a task of %s goes to the dead letters: %s", task_type, error)
    run_id = delivery.run_id
    headers = {
        "Dagnats-Dlq-Run-Id": run_id,
        "Dagnats-Dlq-Task": task_type,
        "Dagnats-Dlq-Error": str(error),
        "Dagnats-Dlq-Delivery-Count": str(delivery.deliveries),
        "Dagnats-Dlq-Consumer": "TASK_QUEUES",
    }
    digest = hashlib.sha256(delivery.data).hexdigest()[:16]
    subject = f"{task_type}.{run_id}.unmarshal-failed"
    await bury(ports.dead_letters, subject, delivery.data, headers, id=f"dlq:task:{task_type}:{run_id}:{digest}")
    # A run that nobody started gets no history by this.
    if is_run_id(run_id) and await persist(lambda: ports.log.first(run_id)):
        why = Poison(error=f"a task of {task_type} cannot be read, see dead letter dead.{subject}: {error}")
        event = WorkflowPoisoned(run_id=run_id, timestamp=rfc3339(ports.clock.now_ns()), payload=why)
        await ports.log.append(run_id, encode_event(event), id=f"{run_id}.poisoned.{digest}")
