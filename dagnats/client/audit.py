"""The audit, read as one: what was asked over HTTP, and what runs have asked of the control plane."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, get_args

from dagnats.client.moment import instant_of
from dagnats.errors import ControlPlaneKind, DagnatsError, DecodeError
from dagnats.model.audit import AUDIT, Requested, decode_audited, decode_requested, encode_requested
from dagnats.model.identifier import near
from dagnats.model.instant import rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagnats.client.moment import Moment
    from dagnats.model.audit import Audited
    from dagnats.runtime.ports import Ports

_PAGE = 256


class Deed(NamedTuple):
    """Something that somebody did, or was not let do.

    Attributes:
        time_ns: When, by the server's clock.
        by: Who.
        action: What: `POST /v1/runs/{run_id}/cancel`, `token create`, `control plane register`.
        target: What it was about.
        outcome: `done`; else what kind of no it was.
        run_id: The run that it was about, or that it started.
        request_id: Of a request.
        address: Where that came from.
        skipped: How many before it were turned away and are not recorded.
    """

    time_ns: int
    by: str
    action: str
    target: str
    outcome: str
    run_id: str = ""
    request_id: str = ""
    address: str = ""
    skipped: int = 0


DONE = "done"
REFUSED = "refused"

# fmt: off
OUTCOMES: tuple[str, ...] = (
    DONE, REFUSED,
    "unauthorized", "forbidden", "too-many-tries",
    "not-found", "method-not-allowed", "conflict", "run-ended", "attempt-over", "too-early", "gone", "timeout",
    "invalid", "unfit", "too-large", "full", "unavailable", "not-ready", "unreadable", "internal",
    *get_args(ControlPlaneKind),
)
# fmt: on
"""What can be asked for: `done`, `refused` for every no, and each kind of no, of a request and of the control plane."""

_STATUS = re.compile(r"[45][0-9][0-9]")  # of a no that no part of ours has said


class AuditQuery(NamedTuple):
    """Which deeds are meant: those that everything here fits.

    Attributes:
        by: Of somebody whose name has this text in it.
        action: With this text in the action, in any case.
        target: About this: a run, a workflow, a queue.
        outcome: With this outcome; `refused` for all but those that were done.
        after_ns: Done at this instant or later; 0 for no limit.
        before_ns: Done before this instant; 0 for no limit.
    """

    by: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    after_ns: int = 0
    before_ns: int = 0

    def fits(self, deed: Deed) -> bool:
        """Whether a deed is one of them."""
        return (
            self.by.lower() in deed.by.lower()
            and self.action.lower() in deed.action.lower()
            and self.target in ("", deed.run_id, *deed.target.split(" "))
            and (self.outcome in ("", deed.outcome) or (self.outcome == REFUSED and deed.outcome != DONE))
            and self.after_ns <= deed.time_ns
            and (not self.before_ns or deed.time_ns < self.before_ns)
        )


def audit_query(
    *,
    by: str = "",
    action: str = "",
    target: str = "",
    outcome: str = "",
    after: Moment | None = None,
    before: Moment | None = None,
    now_ns: int,
) -> AuditQuery:
    """A question, from what somebody typed. Raises DagnatsError for an outcome or an instant that there is not."""
    if outcome and outcome not in OUTCOMES and not _STATUS.fullmatch(outcome):
        close = near(outcome.lower(), OUTCOMES)
        like = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(OUTCOMES)}"
        raise DagnatsError(f"there is no outcome {outcome!r}", hint=like)
    return AuditQuery(
        by=by,
        action=action,
        target=target,
        outcome=outcome,
        after_ns=instant_of(after, now_ns=now_ns) if after is not None else 0,
        before_ns=max(instant_of(before, now_ns=now_ns), 1) if before is not None else 0,
    )


async def audit(ports: Ports, query: AuditQuery = AuditQuery(), *, limit: int = 50) -> list[Deed]:  # noqa: B008  # a value
    """The newest `limit` deeds that fit, newest first. What is behind them was done before the last one's `time_ns`."""
    found = [deed for deed in await _of_runs(ports) if query.fits(deed)]
    requests = 0
    async for deed in _requests(ports):
        if deed.time_ns < query.after_ns or requests == limit:
            break
        if query.fits(deed):
            found.append(deed)
            requests += 1
    return sorted(found, key=lambda deed: -deed.time_ns)[:limit]


async def record(ports: Ports, action: str, target: str, *, by: str) -> None:
    """Record what a command did that is not asked for over HTTP."""
    said = Requested(action=action, target=target, by=by, timestamp=rfc3339(ports.clock.now_ns()))
    await ports.audit.append(encode_requested(said), id=secrets.token_hex(8))


async def _requests(ports: Ports) -> AsyncIterator[Deed]:
    """What was asked over HTTP, newest first."""
    before = 0
    while page := await ports.audit.tail(before=before, count=_PAGE):
        for stored in reversed(page):
            with suppress(DecodeError):  # of a later version
                yield _asked(decode_requested(stored.data), stored.time_ns)
        before = page[0].revision


async def _of_runs(ports: Ports) -> list[Deed]:
    """What runs have asked of the control plane."""
    found: list[Deed] = []
    for entry in await ports.log.read(AUDIT):
        with suppress(DecodeError):  # of a later version
            found.append(_granted(decode_audited(entry.data), entry.time_ns))
    return found


def _asked(said: Requested, time_ns: int) -> Deed:
    return Deed(
        time_ns=time_ns,
        by=said.by,
        action=said.action,
        target=said.target,
        outcome=said.kind or DONE,
        run_id=said.run_id,
        request_id=said.request_id,
        address=said.address,
        skipped=said.skipped,
    )


def _granted(said: Audited, time_ns: int) -> Deed:
    return Deed(
        time_ns=time_ns,
        by=f"step {said.step_id} of run {said.run_id}",
        action=f"control plane {said.action}",
        target=said.name,
        outcome=DONE if said.granted else said.kind,
        run_id=said.child_run_id or said.run_id,
    )
