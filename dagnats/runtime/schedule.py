"""The runs that are to begin later, for people to look at: as far as who leads has heard of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import DecodeError
from dagnats.model.event import WorkflowStarted, decode_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.run import Run
    from dagnats.runtime.ports import Entry

MOST = 1_000
"""How many are shown: who looks for one among more than that asks the index."""


class Appointment(NamedTuple):
    """A run that is to begin later.

    Attributes:
        run_id: It.
        workflow: Its workflow.
        run_at_ns: When it is to begin.
        created_ns: When that was asked for.
    """

    run_id: str
    workflow: str
    run_at_ns: int
    created_ns: int


class Schedule:
    """Appointments by run. Those that are kept, or called off, go."""

    def __init__(self) -> None:
        self._runs: dict[str, Appointment] = {}

    def __iter__(self) -> Iterator[Appointment]:
        return iter(list(self._runs.values()))

    def note(self, run: Run) -> None:
        """What a run waits for has changed."""
        if run.run_at_ns and not run.ended:
            self._add(Appointment(run.run_id, run.workflow_id, run.run_at_ns, run.created_ns))
        else:
            self.drop(run.run_id)

    def drop(self, run_id: str) -> None:
        """A run has begun, or ended; most had no appointment."""
        self._runs.pop(run_id, None)

    def adopt(self, newest: Entry) -> None:
        """Go on with a run that an engine before us has shown, if its start is still the last that was said of it."""
        try:
            event = decode_event(newest.data)
        except DecodeError:
            return
        if isinstance(event, WorkflowStarted) and event.payload.run_at_ns and newest.run_id not in self._runs:
            self._add(Appointment(newest.run_id, event.payload.workflow, event.payload.run_at_ns, newest.time_ns))

    def _add(self, appointment: Appointment) -> None:
        if len(self._runs) < MOST or appointment.run_id in self._runs:
            self._runs[appointment.run_id] = appointment
