"""A run in one line, as lists show it, and what a list asks for."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dagnats.model.run import ENDED, RunStatus


class RunSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run without its steps.

    Attributes:
        run_id: Which.
        workflow: The workflow's name.
        def_hash: The definition it is pinned to.
        status: Where it is.
        created_ns: When it was started, by the log's clock.
        ended_ns: When it ended; 0 before.
        run_at_ns: When it is to begin, while it is scheduled; else 0.
        paused: Whether somebody holds it.
        compensating: Whether it is being undone.
        steps: How many steps its definition has; 0 when that is not there any more.
        error: Why it did not complete.
        failed_step: The step to blame, or "".
        labels: Its definition's, and its starter's.
        parent_run_id: The run that it runs for; "" for one of its own.
        retry_of: The run that it repeats, or "".
        forked_from: The run whose outputs it took over, or "".
        by: Who started it; "" when nobody said.
        trace_parent: The starter's W3C trace context, or "".
        seq: Its first event: greater for every later run, so lists are in this order, and go on behind it.
        gated: Whether its definition has the gates admit it before it begins.
        held: Whether the gates have to, for that reason or because of an operator.
    """

    run_id: str
    workflow: str
    status: RunStatus
    created_ns: int
    seq: int
    def_hash: str = ""
    ended_ns: int = 0
    run_at_ns: int = 0
    paused: bool = False
    compensating: bool = False
    steps: int = 0
    error: str = ""
    failed_step: str = ""
    labels: dict[str, str] = {}
    parent_run_id: str = ""
    retry_of: str = ""
    forked_from: str = ""
    by: str = ""
    trace_parent: str = ""
    gated: bool = False
    held: bool = False

    @property
    def ended(self) -> bool:
        return self.status in ENDED


MOST = 1_000
"""So many runs fit a page."""


class RunQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which runs are asked for: those that everything here fits.

    Attributes:
        workflow: Of this workflow; "" for all.
        statuses: In one of these; none of them for all.
        labels: With these labels.
        parent_run_id: Started by a step of this run.
        prefix: With ids that begin like this.
        error: Whose error has this text in it, in any case.
        after_ns: Started at this instant or later; 0 for no limit.
        before_ns: Started before this instant; 0 for no limit.
        below: Started before the run with this `seq`: where the page before ended; 0 for the first page.
        limit: At most so many.
        among: Of workflows that one of these patterns fits (see `model.access`); none of them for all.
        known: The log's last sequence that the asker knows of: the answer is not older.
    """

    workflow: str = ""
    statuses: tuple[RunStatus, ...] = ()
    labels: dict[str, str] = {}
    parent_run_id: str = ""
    prefix: str = ""
    error: str = ""
    after_ns: int = 0
    before_ns: int = 0
    below: int = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 50
    among: tuple[str, ...] = ()
    known: int = 0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs of a workflow are in a status."""

    workflow: str
    status: RunStatus
    count: int


class RunPage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Runs that were asked for, newest first.

    Attributes:
        runs: They.
        more: Whether there are others behind the last one.
    """

    runs: tuple[RunSummary, ...] = ()
    more: bool = False
