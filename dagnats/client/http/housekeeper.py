"""What those do who look after an installation: a part of `HttpClient`."""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client.audit import audit_query
from dagnats.client.clean import DEFAULT, Cleaned, Place
from dagnats.client.document.finding import DifferenceDocument, difference_of
from dagnats.client.http.read import access_token, decoded, deed, moment_text, read
from dagnats.client.http.wire import LONG_S, path_of
from dagnats.client.imported import Guest, Taken
from dagnats.client.installation import (
    CleanedDocument,
    DeedDocument,
    GuestDocument,
    MadeDocument,
    RevokedDocument,
    TakenDocument,
    TokenDocument,
)
from dagnats.client.logs import log_instant, log_query
from dagnats.client.portable import encode_document
from dagnats.client.token import Made
from dagnats.client.verify import Verified
from dagnats.dsl.duration import duration_text
from dagnats.errors import RefusedError
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.telemetry.entry import LogEntry
from dagnats.runtime.token import id_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence
    from datetime import timedelta

    from dagnats.client.audit import Deed
    from dagnats.client.clean import Category
    from dagnats.client.difference import Difference
    from dagnats.client.http.wire import Wire
    from dagnats.client.moment import Moment
    from dagnats.client.portable import Document
    from dagnats.model.access import Scope
    from dagnats.model.token import AccessToken

_PAGE = 1_000


class _Verified(msgspec.Struct, frozen=True):
    runs: int
    events: int
    moving: int
    differences: list[DifferenceDocument]


class _Repaired(msgspec.Struct, frozen=True):
    left: list[DifferenceDocument]


class HttpHousekeeper:
    """Calls that concern no run that goes on. What they do: see `Housekeeper`."""

    _wire: Wire

    # -- who may, and who did --------------------------------------------------------------------------------

    async def create_token(
        self,
        scope: Scope,
        *,
        name: str = "",
        workflows: Sequence[str] = (),
        expires: Moment | None = None,
        by: str = "",
    ) -> Made:
        """Make a token that lets its owner in over HTTP. See `Housekeeper.create_token`."""
        said: dict[str, Any] = {"scope": scope, "name": name, "workflows": list(workflows), "by": by}
        if expires is not None:
            said["expires"] = moment_text(expires)
        made = read(await self._wire.post(path_of("tokens"), said), MadeDocument)
        return Made(access_token(made), made.token)

    async def tokens(self) -> list[AccessToken]:
        """All tokens that were not revoked, the newest first."""
        return list(map(access_token, read(await self._wire.get(path_of("tokens")), list[TokenDocument])))

    async def revoke_token(self, which: str, *, by: str = "") -> AccessToken:
        """Let a token let nobody in any more. See `Housekeeper.revoke_token`; who does it, the server knows itself."""
        path = path_of("tokens", id_of(which) or which)  # proxies write addresses down: a secret is none
        return access_token(read(await self._wire.ask("DELETE", path), RevokedDocument))

    async def deeds(
        self,
        *,
        by: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int = 50,
    ) -> list[Deed]:
        """What was done, and by whom, the newest first. See `Housekeeper.deeds`."""
        audit_query(outcome=outcome, now_ns=0)  # what cannot be is told in the same words
        which: dict[str, Any] = {"by": by, "action": action, "target": target, "outcome": outcome}
        which |= {"after": moment_text(after)} if after is not None else {}
        which |= {"before": moment_text(before)} if before is not None else {}
        found: list[Deed] = []
        while len(found) < limit:
            page = {**which, "limit": min(limit - len(found), _PAGE)}
            page |= {"cursor": found[-1].time_ns} if found else {}
            told = await self._wire.get(path_of("audit"), page)
            found += map(deed, read(told, list[DeedDocument]))
            if "next" not in told.links:
                break
        return found

    # -- what is logged --------------------------------------------------------------------------------------

    async def logs(
        self, *, level: str = "", service: str = "", text: str = "", since: str = "", limit: int = 100
    ) -> list[LogEntry]:
        """The last lines that were logged, oldest first. See `Housekeeper.logs`."""
        log_query(level=level, service=service, text=text)
        if since:
            log_instant(since, SystemClock().now_ns())  # what cannot be is told in the same words
        which = {"level": level, "service": service, "text": text, "since": since, "limit": limit}
        return read(await self._wire.get(path_of("logs"), which), list[LogEntry])

    async def follow_logs(self, *, level: str = "", service: str = "", text: str = "") -> AsyncGenerator[LogEntry]:
        """Lines as they come; those that come while there is no connection are not among them."""
        log_query(level=level, service=service, text=text)
        which = {"level": level, "service": service, "text": text}
        async with aclosing(self._wire.follow(path_of("logs"), which)) as sent:
            async for event in sent:
                yield decoded(event.data, LogEntry)

    # -- what comes from elsewhere ---------------------------------------------------------------------------

    async def import_runs(self, document: Document) -> list[Taken]:
        """Take in runs of another installation, to look at. See `Housekeeper.import_runs`."""
        try:
            told = await self._wire.ask("POST", path_of("imports"), body=encode_document(document), again=True)
        except RefusedError as error:
            if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                error.hint = "what is that large is imported over NATS: name that server, as nats://host:4222"
            raise
        return [Taken(**msgspec.structs.asdict(each)) for each in read(told, list[TakenDocument])]

    async def imported_runs(self) -> list[Guest]:
        """The runs that were imported, by id."""
        found = read(await self._wire.get(path_of("imports")), list[GuestDocument])
        return [Guest(each.run_id, each.workflow_id, each.status) for each in found]

    async def remove_imported(self, run_id: str) -> None:
        """Forget an imported run. Raises NotFoundError."""
        await self._wire.ask("DELETE", path_of("imports", run_id))

    # -- what is over ----------------------------------------------------------------------------------------

    async def clean(
        self,
        categories: Collection[Category] = DEFAULT,
        *,
        older_than: timedelta | str = "",
        before: Moment | None = None,
        include_running: bool = False,
        dry_run: bool = False,
        measured: bool = False,
        by: str = "",
        told: Callable[[int, int], None] | None = None,
    ) -> Cleaned:
        """Remove what is over. See `AsyncClient.clean`; `told` is called at the end."""
        said: dict[str, Any] = {
            "types": list(categories),
            "older_than": duration_text(older_than),
            "include_running": include_running,
            "dry_run": dry_run,
            "measured": measured,
            "by": by,
        }
        if before is not None:
            said["before"] = moment_text(before)
        answer = await self._wire.post(path_of("clean"), said, again=dry_run, long=True)
        done = _cleaned(read(answer, CleanedDocument))
        if told is not None:
            told(done.runs, done.runs + len(done.left))
        return done

    # -- is it all as the log says ---------------------------------------------------------------------------

    async def verify(self, *, told: Callable[[int, int], None] | None = None) -> Verified:
        """Fold every run from its first event, and compare. See `Housekeeper.verify`; `told` is called at the end."""
        found = read(await self._wire.get(path_of("verify"), wait_s=LONG_S), _Verified)
        if told is not None:
            told(found.runs, found.runs)
        return Verified(found.runs, found.events, tuple(map(difference_of, found.differences)), found.moving)

    async def repair(self, differences: Sequence[Difference]) -> list[Difference]:
        """Put right, from the log, what differs by now; gives those of `differences` that had to be left."""
        if not differences:
            return []
        told = await self._wire.post(path_of("queues", "repair"), {"dry_run": False}, again=True, long=True)
        left = [difference_of(each) for each in read(told, _Repaired).left]
        known = {(each.run_id, each.kind, each.detail) for each in differences}
        return [each for each in left if (each.run_id, each.kind, each.detail) in known]


def _cleaned(told: CleanedDocument) -> Cleaned:
    return Cleaned(
        runs=told.runs,
        letters=told.dead_letters,
        workflows=told.workflows,
        telemetry=told.telemetry,
        left=list(told.left),
        live=told.running,
        before=told.before,
        places=[Place(each.name, each.kind, each.messages, each.bytes) for each in told.entries],
    )
