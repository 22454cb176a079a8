"""Many runs at once: found page by page, in a server's index where one answers and else in the log, and told a few at
a time, so that neither side is flooded.

Every command can be given again: what it has done already it finds done, and goes on with the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from dagnats.client import listing
from dagnats.client.payload import accepted
from dagnats.client.run import RunHandle
from dagnats.client.scan import pages, views
from dagnats.client.start import begin, check_input, expect_room, key_of, new_id
from dagnats.errors import DagnatsError, FullError, InputError, Problem, UnavailableError
from dagnats.model.event import Start
from dagnats.model.run import RunStatus
from dagnats.model.summary import MOST, RunQuery
from dagnats.runtime.blob import carried
from dagnats.runtime.limit import hold_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from dagnats.client.scan import Window
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Ports

T = TypeVar("T")

_AT_ONCE = 32
_MOST_PROBLEMS = 100

RETRIED: frozenset[RunStatus] = frozenset({"failed", "compensate_failed"})
"""What `retry_all` tries again; what was cancelled or undone is as somebody wanted it."""

_LIVE: frozenset[RunStatus] = frozenset({"scheduled", "pending", "running"})

Live = Literal["scheduled", "pending", "running", "all"]
Mode = Literal["rerun", "replay"]


class Done(NamedTuple):
    """What was done with one of many runs.

    Attributes:
        run_id: Which.
        new_run_id: The run that was started in its place, for a rerun.
        problem: Why nothing was done, or "".
        is_new: Whether it was done now, not by the same command earlier.
    """

    run_id: str
    new_run_id: str = ""
    problem: str = ""
    is_new: bool = True


async def found(ports: Ports, window: Window, statuses: Collection[RunStatus]) -> AsyncIterator[list[str]]:
    """The runs in a window that are in one of some statuses, newest first, some at a time.

    The log is looked through where no index answers, or not any more: from where that one had come to.
    """
    async for listed in listing.indexed(ports, _query(window, statuses)):
        if listed is None:
            break
        window = window._replace(below=listed[-1].seq)
        yield [run.run_id for run in listed]
    else:
        return
    async for started in pages(ports, window):
        run_ids = [run_id for run_id, _ in started]
        fitting = [view.run_id for view in await views(ports, run_ids) if view.status in statuses]
        if fitting:
            yield fitting


def _query(window: Window, statuses: Collection[RunStatus]) -> RunQuery:
    return RunQuery(
        workflow=window.workflow,
        statuses=tuple(sorted(statuses)),
        after_ns=window.after_ns,
        before_ns=window.before_ns,
        below=window.below,
        limit=MOST,
    )


def live(status: Live) -> frozenset[RunStatus]:
    """What can still be cancelled, as far as a status goes."""
    return _LIVE if status == "all" else frozenset({status})


async def paced(items: Iterable[T], work: Callable[[T], Awaitable[Done]]) -> list[Done]:
    """Do the same with many, a few at a time. What one of them is refused is told, and stops no other."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def do(item: T) -> Done:
        async with room:
            return await work(item)

    return list(await asyncio.gather(*map(do, items)))


async def cancel(ports: Ports, run_id: str, *, by: str, reason: str) -> Done:
    """Cancel one of many; one that has ended meanwhile is told."""
    try:
        await RunHandle(ports, run_id).cancel(reason, by=by)
    except UnavailableError:
        raise
    except DagnatsError as error:
        return Done(run_id, problem=str(error))
    return Done(run_id)


async def retry(ports: Ports, run_id: str, mode: Mode, *, by: str) -> Done:
    """Try one of many again. A rerun has an id that follows from the run's: it is started once."""
    handle = RunHandle(ports, run_id)
    try:
        if mode == "replay":
            await handle.replay(by=by)
            return Done(run_id)
        new = await handle.rerun_json(run_id=_id_of("retry-all", run_id), by=by)
    except (UnavailableError, FullError):
        raise
    except DagnatsError as error:
        return Done(run_id, problem=str(error))
    return Done(run_id, new_run_id=new.run_id, is_new=new.is_new)


def _id_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


# -- starting ----------------------------------------------------------------------------------------------------


def check_inputs(definition: WorkflowDef, inputs: Sequence[bytes]) -> None:
    """Raise InputError, with the problems of all of them, when inputs break the workflow's schema."""
    problems: list[Problem] = []
    for at, data in enumerate(inputs):
        try:
            check_input(definition, accepted(data, what="the input"))
            key_of(definition, data, "")
        except InputError as error:
            problems += [
                Problem(f"[{at}]{each.path[1:]}", each.rule, each.message, each.hint) for each in error.problems
            ]
    if problems:
        told = problems[:_MOST_PROBLEMS]
        more = f" (the first {len(told)} of {len(problems)} are listed)" if len(problems) > len(told) else ""
        raise InputError(f"the inputs do not fit workflow {definition.name!r}{more}", told, hint="nothing was started")


def expect_paired(inputs: Sequence[object], run_ids: Sequence[str]) -> None:
    """Raise DagnatsError unless each input has an id."""
    if len(inputs) != len(run_ids):
        raise DagnatsError(f"there are {len(inputs)} inputs and {len(run_ids)} run ids", hint="give one id for each")


def ids_of(workflow: str, lines: Sequence[bytes], batch: str = "") -> list[str]:
    """The ids of runs that are started from the lines of a file: they follow from what is in it, and where.

    Args:
        batch: Another one gives other ids: the same file can be started anew.
    """
    return [_id_of("bulk", workflow, batch, str(at), line.decode(errors="replace")) for at, line in enumerate(lines)]


async def start_all(
    ports: Ports, definition: WorkflowDef, inputs: Sequence[bytes], run_ids: Sequence[str], *, by: str
) -> list[Done]:
    """Start a run for each input that `check_inputs` has passed, under the id at the same place ("" for a new one)."""
    import msgspec

    await ports.definitions.add_version(definition.name, definition.identity, definition.stored)
    hold = await hold_of(ports.log, definition.name)

    async def one(pair: tuple[bytes, str]) -> Done:
        data, run_id = pair[0], new_id(pair[1])
        try:
            key = key_of(definition, data, "")
            owner = await ports.claims.claim(key, run_id) if key else run_id
            await expect_room(ports, owner, len(data))
            carries = msgspec.Raw(await carried(ports, owner, data, what="the run's input"))
            start = Start(workflow=definition.name, def_hash=definition.identity, input=carries, by=by, key=key)
            begun = await begin(ports, hold.recorded(start), run_id=owner, any_will_do=owner != run_id)
        except (UnavailableError, FullError):
            raise
        except DagnatsError as error:
            return Done(run_id, problem=str(error))
        return Done(owner, is_new=begun > 0)

    return await paced(zip(inputs, run_ids, strict=True), one)
