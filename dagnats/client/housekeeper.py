"""What those do who look after an installation: who may, who did, what is logged, what comes from elsewhere, and
whether all is as the log says."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.client import imported, logs, token
from dagnats.client.audit import audit, audit_query, record
from dagnats.client.mend import mend
from dagnats.client.token import Made
from dagnats.client.verify import verify
from dagnats.errors import DecodeError
from dagnats.model.audit import AUDIT, decode_audited

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from dagnats.client.audit import Deed
    from dagnats.client.difference import Difference
    from dagnats.client.imported import Guest, Taken
    from dagnats.client.moment import Moment
    from dagnats.client.portable import Document
    from dagnats.client.verify import Verified
    from dagnats.model.access import Scope
    from dagnats.model.audit import Audited
    from dagnats.model.token import AccessToken
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.telemetry.entry import LogEntry

_UNNAMED = "a program over NATS"


class Housekeeper:
    """Calls that concern no run that goes on here: a part of `AsyncClient`."""

    _ports: Ports

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
        """Make a token that lets its owner in over HTTP, and have that in the audit.

        Args:
            scope: What it allows.
            name: What to call it.
            workflows: Patterns of the workflows that it is limited to: `order-*`. None: it is not.
            expires: When it stops to let anybody in; None for never.
            by: Who makes it.

        Raises:
            ConflictError: There is one by that name.
            DagnatsError: Something of it cannot be.
        """
        made = await token.create_token(self._ports, scope, name=name, workflows=workflows, expires=expires, by=by)
        await record(self._ports, "token create", made.token.label, by=by or _UNNAMED)
        return Made(_shown(made.token), made.text)

    async def tokens(self) -> list[AccessToken]:
        """All tokens that were not revoked, the newest first; what this version cannot read is left out."""
        return [_shown(each) for each in await token.all_tokens(self._ports)]

    async def revoke_token(self, which: str, *, by: str = "") -> AccessToken:
        """Let a token let nobody in any more, and give what is known of it.

        Args:
            which: Its id, its name, or the token itself.
            by: Who does it.

        Raises:
            NotFoundError: There is none.
            ConflictError: Several have that name.
        """
        done = await token.revoke_token(self._ports, which)
        await record(self._ports, "token revoke", done.label, by=by or _UNNAMED)
        return _shown(done)

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
        """What was done over HTTP, or asked of the control plane, and by whom, the newest first.

        Args:
            by: Of somebody whose name has this text in it.
            action: With this text in the action.
            target: About this: a run, a workflow, a queue.
            outcome: With this outcome; `refused` for all but those that were done.
            after: Done then or later.
            before: Done before then.
            limit: At most so many.

        Raises:
            DagnatsError: There is no such outcome, or no such instant.
        """
        query = audit_query(
            by=by,
            action=action,
            target=target,
            outcome=outcome,
            after=after,
            before=before,
            now_ns=self._ports.clock.now_ns(),
        )
        return await audit(self._ports, query, limit=limit)

    async def audit(self) -> list[Audited]:
        """What runs have asked of the control plane in the last 90 days and what they were answered, oldest first."""
        found: list[Audited] = []
        for entry in await self._ports.log.read(AUDIT):
            with suppress(DecodeError):  # of a later version
                found.append(decode_audited(entry.data))
        return found

    # -- what is logged --------------------------------------------------------------------------------------

    async def logs(
        self, *, level: str = "", service: str = "", text: str = "", since: str = "", limit: int = 100
    ) -> list[LogEntry]:
        """The last lines that workers, engines and servers have logged, oldest first.

        Args:
            level: Only of this level: `ERROR`, `WARN`, `INFO`, `DEBUG`.
            service: Only of this part of the system: `worker`, `engine`, `api`.
            text: Only with this text in them, in any case.
            since: Only what came in the last `30m`, or since an instant; "" for whenever.
            limit: At most so many.
        """
        query = logs.log_query(level=level, service=service, text=text)
        return await logs.logs(self._ports, query, since=since, limit=limit)

    async def follow_logs(self, *, level: str = "", service: str = "", text: str = "") -> AsyncGenerator[LogEntry]:
        """Lines as they come. Some are passed over where they come faster than they are taken."""
        async for entry in logs.follow_logs(self._ports, logs.log_query(level=level, service=service, text=text)):
            yield entry

    # -- what comes from elsewhere ---------------------------------------------------------------------------

    async def import_runs(self, document: Document) -> list[Taken]:
        """Take in runs of another installation, to look at: nothing of them is carried out.

        Raises:
            ConflictError: A run of this installation has the id of one of them, or another import has; nothing was
                stored.
        """
        return await imported.take_in(self._ports, document)

    async def imported_runs(self) -> list[Guest]:
        """The runs that were imported, by id."""
        return await imported.guests(self._ports)

    async def remove_imported(self, run_id: str) -> None:
        """Forget an imported run. Raises NotFoundError."""
        await imported.remove(self._ports, run_id)

    # -- is it all as the log says ---------------------------------------------------------------------------

    async def verify(self, *, told: Callable[[int, int], None] | None = None) -> Verified:
        """Fold every run from its first event, and compare what was made of it.

        Args:
            told: Called now and then with how many runs are done, and how many there are.
        """
        return await verify(self._ports, told=told)

    async def repair(self, differences: Sequence[Difference]) -> list[Difference]:
        """Put right, from the log, what `verify` found; gives what had to be left.

        What is missing is made by the engine, which folds everything anew for that.
        """
        return await mend(self._ports, differences)


def _shown(stored: AccessToken) -> AccessToken:
    """A token without its hash, which nobody has a use for who may see it."""
    return msgspec.structs.replace(stored, digest="")
