"""Which statuses may follow which. Every change of a status goes by these tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.model.run import RunStatus, StepStatus

STEP: dict[StepStatus, frozenset[StepStatus]] = {
    "pending": frozenset({"queued", "running", "skipped", "completed"}),
    "queued": frozenset({"queued", "running", "completed", "failed", "cancelled", "skipped"}),
    "running": frozenset({"queued", "running", "completed", "failed", "cancelled", "skipped"}),
    "completed": frozenset(),
    "failed": frozenset({"recovered", "pending"}),
    "skipped": frozenset(),
    "cancelled": frozenset({"pending"}),
    "recovered": frozenset(),
}
"""A step's. `failed` and `cancelled` go back to `pending` only when their run is opened again. A step goes from
`pending` to `completed` at once when the run takes over what another run's step returned."""

RUN: dict[RunStatus, frozenset[RunStatus]] = {
    "scheduled": frozenset({"pending", "failed", "cancelled"}),
    "pending": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled", "compensated", "compensate_failed"}),
    "completed": frozenset(),
    "failed": frozenset({"pending"}),
    "cancelled": frozenset({"pending"}),
    "compensated": frozenset(),
    "compensate_failed": frozenset({"pending"}),
}
"""A run's; it begins as `scheduled` or `pending`. One that has not completed can be opened again, unless everything
was undone."""
