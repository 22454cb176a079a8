"""Lists of runs: from a server's index, and where none answers from the log itself, however long that is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.scan import Window, pages, views
from dagnats.errors import UnavailableError
from dagnats.model.access import fits
from dagnats.model.summary import RunPage, RunQuery, RunSummary, Tally
from dagnats.runtime.index.inquiry import ask_count, ask_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagnats.client.view import RunView
    from dagnats.model.run import RunStatus
    from dagnats.runtime.ports import Ports

_TOO_MANY = 100  # runs with one prefix


async def page(ports: Ports, query: RunQuery) -> RunPage:
    """The runs that fit, newest first: `query.limit` of them, if there are so many."""
    query = msgspec.structs.replace(query, known=await ports.log.last())
    found: list[RunSummary] = []
    try:
        while True:
            some = await ask_page(ports.inquiries, query)
            if some is None:
                break
            found += some.runs
            if not some.more or len(found) >= query.limit or not some.runs:
                return RunPage(runs=tuple(found), more=some.more)
            query = msgspec.structs.replace(query, below=found[-1].seq, limit=query.limit - len(some.runs))
    except UnavailableError:  # an index that is being made: the log has everything, and takes longer
        found.clear()
    return await _scanned(ports, query)


async def indexed(ports: Ports, query: RunQuery) -> AsyncIterator[list[RunSummary] | None]:
    """The runs that fit, newest first, a page at a time; None, and nothing more, when no index answers any more."""
    query = msgspec.structs.replace(query, known=await ports.log.last())
    while True:
        try:
            some = await ask_page(ports.inquiries, query)
        except UnavailableError:  # one that is being made
            some = None
        if some is None:
            yield None
            return
        if some.runs:
            yield list(some.runs)
            query = msgspec.structs.replace(query, below=some.runs[-1].seq)
        if not some.more or not some.runs:
            return


async def count(ports: Ports, query: RunQuery) -> list[Tally]:
    """How many runs fit, by workflow and status."""
    query = msgspec.structs.replace(query, known=await ports.log.last(), below=0)
    try:
        found = await ask_count(ports.inquiries, query)
    except UnavailableError:
        found = None
    if found is not None:
        return found
    counts: Counter[tuple[str, RunStatus]] = Counter()
    async for run in _fitting(ports, query):
        counts[run.workflow, run.status] += 1
    return [Tally(workflow=name, status=status, count=counts[name, status]) for name, status in sorted(counts)]


async def ids(ports: Ports, prefix: str) -> list[str]:
    """The runs whose ids begin with `prefix`: all of them, or too many to mean one."""
    try:
        found = await ask_page(ports.inquiries, RunQuery(prefix=prefix, known=await ports.log.last(), limit=_TOO_MANY))
    except UnavailableError:
        found = None
    return [run.run_id for run in found.runs] if found is not None else await ports.log.run_ids(prefix)


async def _scanned(ports: Ports, query: RunQuery) -> RunPage:
    found: list[RunSummary] = []
    async for run in _fitting(ports, query):
        if len(found) == query.limit:
            return RunPage(runs=tuple(found), more=True)
        found.append(run)
    return RunPage(runs=tuple(found))


async def _fitting(ports: Ports, query: RunQuery) -> AsyncIterator[RunSummary]:
    """The runs that fit, newest first, each looked at as it is now."""
    window = Window(query.workflow, query.after_ns, query.before_ns, query.below)
    async for started in pages(ports, window):
        places = dict(started)
        for view in await views(ports, places):
            run = summary_of(view, places[view.run_id])
            if _fits(run, query):
                yield run


def _fits(run: RunSummary, query: RunQuery) -> bool:
    return (
        (not query.statuses or run.status in query.statuses)
        and (not query.among or fits(run.workflow, query.among))
        and query.labels.items() <= run.labels.items()
        and query.parent_run_id in ("", run.parent_run_id)
        and run.run_id.startswith(query.prefix)
        and query.error.lower() in run.error.lower()
    )


def summary_of(view: RunView, seq: int = 0) -> RunSummary:
    """A run in one line; `seq` is its place among all."""
    return RunSummary(
        run_id=view.run_id,
        workflow=view.workflow,
        def_hash=view.def_hash,
        status=view.status,
        created_ns=view.created_ns,
        ended_ns=view.ended_ns,
        run_at_ns=view.run_at_ns,
        paused=view.paused,
        compensating=view.compensating,
        steps=sum(not step.auxiliary and not step.part_of for step in view.steps),
        error=view.error,
        failed_step=view.failed_step,
        labels=dict(view.labels),
        parent_run_id=view.parent_run_id,
        retry_of=view.retry_of,
        forked_from=view.forked_from,
        seq=seq,
    )
