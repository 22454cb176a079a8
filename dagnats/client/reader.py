"""One run, and all that is known of it beside its view: logs, spans, a rehearsal, an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client import listing
from dagnats.client.finder import Finder
from dagnats.client.imported import imported_ids, imported_run
from dagnats.client.logs import log_query, run_logs
from dagnats.client.portable import exported
from dagnats.client.rehearsal import rehearse
from dagnats.client.run import RunHandle
from dagnats.client.trace import trace

if TYPE_CHECKING:
    from dagnats.client.portable import Document
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.telemetry.entry import LogEntry
    from dagnats.runtime.telemetry.span import Span


class Reader(Finder[RunHandle]):
    """Calls that look into one run: a part of `AsyncClient`."""

    _ports: Ports

    # -- finding it ------------------------------------------------------------------------------------------

    def _on(self, run_id: str) -> RunHandle:
        return RunHandle(self._ports, run_id)

    async def _on_imported(self, run_id: str) -> RunHandle | None:
        return await imported_run(self._ports, run_id)

    async def _there(self, run_id: str) -> RunHandle | None:
        if await self._ports.log.first(run_id):
            return self._on(run_id)
        return await imported_run(self._ports, run_id)

    async def _ids(self, prefix: str) -> list[str]:
        return await listing.ids(self._ports, prefix)

    async def _imported_ids(self) -> list[str]:
        return await imported_ids(self._ports)

    async def reach(self, run_id: str) -> RunHandle:
        """A handle on a run by its full id, one that was imported included. Raises NotFoundError, as it is used."""
        handle = self.handle(run_id)
        return await self._there(run_id) or handle

    # -- looking into it -------------------------------------------------------------------------------------

    async def run_logs(
        self, run_id: str, *, level: str = "", service: str = "", text: str = "", limit: int = 1_000
    ) -> list[LogEntry]:
        """The last lines about a run, by its handlers and by the system, oldest first. Takes what `logs` does.

        Raises:
            NotFoundError: There is no such run.
        """
        view = await (await self.reach(run_id)).view()
        query = log_query(level=level, service=service, run_id=view.run_id, text=text)
        return await run_logs(self._ports, query, begun_ns=view.created_ns, ended_ns=view.ended_ns, limit=limit)

    async def trace(self, run_id: str) -> list[Span]:
        """The spans of a run and of those below it, by their starts. Raises NotFoundError."""
        return await trace((await self.reach(run_id)).ports, run_id)

    async def rehearse(self, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal:
        """Fold a run's history once more, and compare. Nothing is done, and nothing is stored.

        Args:
            definition: By this one instead of the run's own, to find where it would have decided otherwise.

        Raises:
            NotFoundError: There is no such run.
            BlobLost: A payload that a decision looks into is not stored any more.
        """
        return await rehearse((await self.reach(run_id)).ports, run_id, definition)

    async def export_run(self, run_id: str, *, children: bool = False) -> Document:
        """A run's whole history as a document that `import_runs` takes in elsewhere.

        Args:
            children: With the runs that it has started, and those that these have started.

        Raises:
            NotFoundError: There is no such run.
        """
        return await exported((await self.reach(run_id)).ports, run_id, children=children)
