"""`/v1/runs`: look at runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode, urlsplit

from pydantic import Field
from starlette.responses import Response

from dagnats.client.diagnose import diagnose as diagnosed
from dagnats.client.document import Document
from dagnats.client.document.event import EventDocument, chunk_document, event_document
from dagnats.client.document.finding import FindingDocument, finding_document
from dagnats.client.document.listed import listed_document
from dagnats.client.document.run import RunDocument, run_document
from dagnats.client.inquirer import Which
from dagnats.client.run import UNDER_WAY
from dagnats.errors import ConflictError, NotFoundError, Problem
from dagnats.model.event import EVENT_TYPES
from dagnats.model.identifier import near
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus
from dagnats.model.summary import MOST
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing, Reply
from dagnats.runtime.api.problem import invalid
from dagnats.runtime.api.sse import Sent, sent, wants_events
from dagnats.runtime.api.start import Wait, wait_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from dagnats.client.run import RunHandle
    from dagnats.client.view import RunView

_LAST_SEQ = 2**53

Seq = Annotated[int, Field(ge=0, le=_LAST_SEQ)]


class Filter(Order):
    """Which runs are meant: those that everything here fits."""

    workflow: str = ""
    status: RunStatus | None = None
    label: list[str] = Field(default=[])
    parent: str = ""
    error: str = ""
    prefix: str = ""
    after: str | None = None
    before: str | None = None

    def terms(self) -> dict[str, Any]:
        """The arguments that `Operator.runs` has for them. Raises Fault 400."""
        return {
            "workflow": self.workflow,
            "status": self.status or "",
            "labels": labels_of(self.label),
            "parent": self.parent,
            "error": self.error,
            "prefix": self.prefix,
            "after": self.after,
            "before": self.before,
        }


class Page(Filter):
    """Which runs are listed: the newest that fit. `cursor` is where the page before ended."""

    limit: Annotated[int, Field(ge=1)] = 50
    cursor: Seq = 0


class OldPage(Page):
    """Which runs are listed, when nobody says how many."""

    limit: Annotated[int, Field(ge=1)] = MOST


class CountDocument(Document, frozen=True, kw_only=True):
    """How many runs fit, in all and by workflow and status."""

    count: int
    by: tuple[TallyDocument, ...]


class TallyDocument(Document, frozen=True, kw_only=True):
    """How many runs of a workflow are in a status."""

    workflow_id: str
    status: RunStatus
    count: int


class OutputDocument(Document, frozen=True, kw_only=True):
    """What a run gave: its output, and that of each of its last steps."""

    run_id: str
    status: RunStatus
    output: Any
    outputs: dict[str, Any]


class DiagnosisDocument(Document, frozen=True, kw_only=True):
    """What holds a run."""

    run_id: str
    status: RunStatus
    findings: tuple[FindingDocument, ...]


class ScheduledRunDocument(Document, frozen=True, kw_only=True):
    """A run that is to begin later."""

    run_id: str
    workflow_id: str
    input: Any
    run_at: str
    created_at: str
    status: RunStatus


class Since(Order):
    """Which events are meant: those with sequences above `after`, of a type, of a step."""

    after: Seq = 0
    type: str = ""
    step: str = ""


class Offset(Order):
    """Which chunks are meant: those behind this one."""

    after: Annotated[int, Field(ge=-1, le=_LAST_SEQ)] = -1


async def page(asked: Asked[Page, None]) -> Reply:
    """List the newest runs that fit; the header `Link` names the next page, if there is one."""
    which = Which(**asked.query.terms(), among=asked.grant.workflows)
    found = await asked.client.page_of(which, below=asked.query.cursor, limit=asked.query.limit)
    headers = {"Link": _next(asked, found.runs[-1].seq)} if found.more and found.runs else {}
    # An index of an earlier version knows of no limits.
    return Reply([listed_document(run) for run in found.runs if asked.grant.sees(run.workflow)], headers)


async def count(asked: Asked[Filter, None]) -> CountDocument:
    """Count runs, by workflow and status."""
    counted = await asked.client.count_of(Which(**asked.query.terms(), among=asked.grant.workflows))
    found = [each for each in counted if asked.grant.sees(each.workflow)]
    by = (TallyDocument(workflow_id=each.workflow, status=each.status, count=each.count) for each in found)
    return CountDocument(count=sum(each.count for each in found), by=tuple(by))


async def show(asked: Asked[Nothing, None]) -> RunDocument:
    """Show a run and its steps."""
    return run_document(await asked.run.view(gates=True))


async def output(asked: Asked[Wait, None]) -> OutputDocument:
    """Give the output of a run that has completed; with `?wait=30s`, once it has."""
    if patience_s := wait_s(asked.query.wait):
        await asked.while_serving(asked.run.wait(timeout=timedelta(seconds=patience_s)))
    view = await asked.run.view()
    if view.status != "completed":
        raise ConflictError(f"run {view.run_id} has no output: it is {view.status}{_blame(view)}")
    outputs = {step.id: step.output for step in view.steps if step.id in view.leaves and step.status == "completed"}
    return OutputDocument(run_id=view.run_id, status=view.status, output=view.output, outputs=outputs)


async def events(asked: Asked[Since, None]) -> Response | list[EventDocument]:
    """Give a run's history; as an event stream, those that follow until it ends, too."""
    await _expect_known(asked.run, asked.query)
    after = _resumed(asked.headers, asked.query.after)
    if wants_events(asked.headers):
        view = await asked.run.view()
        if (view.ended or asked.run.imported) and after >= view.seq:
            return Response(status_code=204)  # who reconnects for ever stops at this
        return sent(_events(asked.run, asked.query, after), asked.stopping)
    return [event_document(event) for event in await asked.run.history() if _fits(event, asked.query, after)]


async def _expect_known(run: RunHandle, which: Since) -> None:
    """Raise when no event can be of this type, or of this step: a stream of none would wait, and say nothing."""
    if which.type and which.type not in EVENT_TYPES:
        close = near(which.type, EVENT_TYPES)
        hint = f"did you mean {close[0]!r}?" if close else ""
        raise invalid(Problem("?type", "event-type", f"no event is of type {which.type!r}", hint), what="the query")
    if which.step:
        await run.expect_step(which.step)


async def _events(run: RunHandle, which: Since, after: int) -> AsyncGenerator[Sent]:
    async with aclosing(_generator(run.events(after=after))) as found:
        async for event in found:
            if _fits(event, which, after):
                yield Sent(event.type, str(event.seq), event_document(event))


async def stream(asked: Asked[Offset, None]) -> Response:
    """Send what a step streams, as an event stream, until the step is done."""
    view, step = await asked.run.view(), asked.path["step"]
    await asked.run.expect_step(step)
    after = _resumed(asked.headers, asked.query.after)
    under_way = any(each.id == step and each.status in UNDER_WAY for each in view.steps)
    if after >= 0 and (view.ended or not under_way):
        chunks = asked.client.connection.ports.chunks
        if not await chunks.read(view.run_id, step, start=after + 1):
            return Response(status_code=204)  # as of events: who reconnects for ever stops at this
    return sent(_chunks(asked.run, step, after), asked.stopping)


async def _chunks(run: RunHandle, step: str, after: int) -> AsyncGenerator[Sent]:
    async with aclosing(run.stream(step, after=after)) as chunks:
        async for chunk in chunks:
            yield Sent("chunk", str(chunk.offset), chunk_document(chunk))


async def diagnose(asked: Asked[Nothing, None]) -> DiagnosisDocument:
    """Say what holds a run, and what to do."""
    run = asked.client.handle(asked.path["run_id"])  # none that was imported: nothing here holds it
    view, found = await diagnosed(asked.client, run)
    return DiagnosisDocument(run_id=view.run_id, status=view.status, findings=tuple(map(finding_document, found)))


async def scheduled(asked: Asked[Nothing, None]) -> ScheduledRunDocument:
    """Show a run that is to begin later."""
    view = await asked.run.view()
    if view.status != "scheduled":
        raise NotFoundError("scheduled run", view.run_id, hint=f"it is {view.status}")
    return ScheduledRunDocument(
        run_id=view.run_id,
        workflow_id=view.workflow,
        input=view.input,
        run_at=rfc3339(view.run_at_ns),
        created_at=rfc3339(view.created_ns),
        status=view.status,
    )


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """Labels as the query has them. Raises Fault 400."""
    pairs = [label.partition("=") for label in given]
    wrong = [
        Problem("?label", "label", f"{''.join(pair)!r} is no label: write NAME=VALUE")
        for pair in pairs
        if not (pair[0] and pair[1])
    ]
    if wrong:
        raise invalid(*wrong, what="the query")
    return {name: value for name, _, value in pairs}


def _next(asked: Asked[Page, None], seq: int) -> str:
    query = asked.query.model_dump(exclude_unset=True, exclude={"cursor"}) | {"cursor": seq}
    return f'<{urlsplit(asked.url).path}?{urlencode(query, doseq=True)}>; rel="next"'


def _resumed(headers: Mapping[str, str], after: int) -> int:
    """Where a reader that was cut off goes on."""
    last = headers.get("last-event-id", "")
    if not last:
        return after
    if not (last.isascii() and last.isdigit() and int(last) <= _LAST_SEQ):
        raise invalid(Problem("Last-Event-ID", "number", f"{last[:40]!r} is no id of an event here"), what="the head")
    return int(last)


def _fits(event: Any, which: Since, after: int) -> bool:
    return event.seq > after and which.type in ("", event.type) and which.step in ("", event.step_id)


def _blame(view: RunView) -> str:
    return f": {view.error}" if view.error else ""


async def _generator(events: AsyncIterator[Any]) -> AsyncGenerator[Any]:
    async for event in events:
        yield event
