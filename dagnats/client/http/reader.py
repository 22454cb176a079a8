"""One run, and all that is known of it beside its view: a part of `HttpClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.finder import Finder
from dagnats.client.http.read import read
from dagnats.client.http.run import HttpRun
from dagnats.client.http.wire import LONG_S, path_of
from dagnats.client.imported import IMPORTED
from dagnats.client.installation import GuestDocument
from dagnats.client.portable import Document
from dagnats.client.rehearsal import RehearsalDocument, rehearsal_of
from dagnats.client.trace import SpanDocument, span_of
from dagnats.errors import NotFoundError, RefusedError
from dagnats.runtime.telemetry.entry import LogEntry

if TYPE_CHECKING:
    from dagnats.client.http.wire import Wire
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.telemetry.span import Span

_MOST_IDS = 100


class HttpReader(Finder[HttpRun]):
    """Calls that look into one run. What they do: see `Reader`."""

    _wire: Wire

    # -- finding it ------------------------------------------------------------------------------------------

    def _on(self, run_id: str) -> HttpRun:
        return HttpRun(self._wire, run_id)

    async def _on_imported(self, run_id: str) -> HttpRun:
        return HttpRun(self._wire, run_id, imported=True)

    async def _there(self, run_id: str) -> HttpRun | None:
        try:
            told = await self._wire.get(path_of("runs", run_id))
        except NotFoundError:
            return None
        return HttpRun(self._wire, run_id, imported=IMPORTED in told.headers)

    async def _ids(self, prefix: str) -> list[str]:
        return [run.run_id for run in await self.runs(prefix=prefix, limit=_MOST_IDS)]

    async def _imported_ids(self) -> list[str]:
        try:
            return [each.run_id for each in read(await self._wire.get(path_of("imports")), list[GuestDocument])]
        except RefusedError:  # they are for those whom all workflows concern
            return []

    # -- looking into it -------------------------------------------------------------------------------------

    async def run_logs(
        self, run_id: str, *, level: str = "", service: str = "", text: str = "", limit: int = 1_000
    ) -> list[LogEntry]:
        """The last lines about a run, oldest first. See `Reader.run_logs`."""
        which = {"level": level, "service": service, "text": text, "limit": limit}
        return read(await self._wire.get(path_of("runs", run_id, "logs"), which), list[LogEntry])

    async def trace(self, run_id: str) -> list[Span]:
        """The spans of a run and of those below it, by their starts, without the moments within them."""
        return list(map(span_of, read(await self._wire.get(path_of("runs", run_id, "trace")), list[SpanDocument])))

    async def rehearse(self, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal:
        """Fold a run's history once more, at the server, and compare. See `Reader.rehearse`."""
        said = {"definition": definition.content()} if definition is not None else {}
        told = await self._wire.post(path_of("runs", run_id, "rehearse"), said, again=True, long=True)
        return rehearsal_of(read(told, RehearsalDocument))

    async def export_run(self, run_id: str, *, children: bool = False) -> Document:
        """A run's whole history as a document. See `Reader.export_run`."""
        which = {"children": "true"} if children else {}
        return read(await self._wire.get(path_of("runs", run_id, "export"), which, wait_s=LONG_S), Document)
