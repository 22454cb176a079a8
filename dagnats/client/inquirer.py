"""Which runs there are: how both clients list and count them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.client.moment import Moment, instant_of
from dagnats.model.summary import MOST, RunQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagnats.model.run import RunStatus
    from dagnats.model.summary import RunPage, RunSummary, Tally

_LATEST_NS = 2**63 - 1


class Which(NamedTuple):
    """Which runs are meant: those that everything here fits. What it means: see `Inquirer.runs`.

    Attributes:
        among: Of workflows that one of these patterns fits: `order-*`. Over HTTP, the server knows these itself.
    """

    workflow: str = ""
    status: RunStatus | Literal[""] = ""
    labels: Mapping[str, str] | None = None
    parent: str = ""
    error: str = ""
    prefix: str = ""
    after: Moment | None = None
    before: Moment | None = None
    among: Sequence[str] = ()


class Inquirer(ABC):
    """Calls that look for runs."""

    async def runs(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """The newest runs that fit, newest first.

        A server's index answers, at any number of runs. Where none does, the log is looked through.

        Args:
            workflow: Of this workflow.
            status: In this status.
            labels: With these labels.
            parent: Started by a step of this run.
            error: With this text in its error, in any case.
            prefix: With an id that begins like this.
            after: Started then or later.
            before: Started before then.
            limit: At most so many.
        """
        return await self.runs_of(Which(workflow, status, labels, parent, error, prefix, after, before), limit=limit)

    async def page(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        below: int = 0,
        limit: int = 50,
    ) -> RunPage:
        """One page of `runs`, and whether there are others behind it: those go on `below` the last one's `seq`.

        Args:
            workflow, status, labels, parent, error, prefix, after, before: See `runs`.
            below: Only runs that were started before the one with this `seq`; 0 for the first page.
            limit: At most so many, and at most `MOST`.
        """
        which = Which(workflow, status, labels, parent, error, prefix, after, before)
        return await self.page_of(which, below=below, limit=limit)

    async def count(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
    ) -> list[Tally]:
        """How many runs fit, by workflow and status. Takes arguments like `runs`."""
        return await self.count_of(Which(workflow, status, labels, parent, error, prefix, after, before))

    async def runs_of(self, which: Which, *, limit: int = 50) -> list[RunSummary]:
        """`runs`, as one value says it."""
        found: list[RunSummary] = []
        while len(found) < limit:
            page = await self.page_of(which, below=found[-1].seq if found else 0, limit=limit - len(found))
            found += page.runs
            if not page.more or not page.runs:
                break
        return found

    @abstractmethod
    async def page_of(self, which: Which, *, below: int = 0, limit: int = 50) -> RunPage:
        """`page`, as one value says it."""

    @abstractmethod
    async def count_of(self, which: Which) -> list[Tally]:
        """`count`, as one value says it."""


def query_of(which: Which, *, now_ns: int, below: int = 0, limit: int = 50) -> RunQuery:
    """What an index, or whoever looks through the log, is asked."""
    after_ns, before_ns = bounds(which.after, which.before, now_ns=now_ns)
    return RunQuery(
        workflow=which.workflow,
        statuses=(which.status,) if which.status else (),
        labels=dict(which.labels or {}),
        parent_run_id=which.parent,
        prefix=which.prefix,
        error=which.error,
        after_ns=after_ns,
        before_ns=before_ns,
        below=below,
        limit=min(limit, MOST),
        among=tuple(which.among),
    )


def bounds(after: Moment | None, before: Moment | None, *, now_ns: int) -> tuple[int, int]:
    """Two moments as the bounds of a window; 0 for none."""
    return _bound(after, now_ns), _bound(before, now_ns)


def _bound(moment: Moment | None, now_ns: int) -> int:
    """A moment that was said is never 0, which would be none, and fits 63 bits, as what runs were started at does."""
    return min(max(instant_of(moment, now_ns=now_ns), 1), _LATEST_NS) if moment is not None else 0
