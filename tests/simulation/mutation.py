"""Ten ways to break the real code, each of which the simulation has to find."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from dagnats.model.event import WaitMatched, encode_event
from dagnats.runtime.core import advance, attempt, completion, saga, turn
from dagnats.runtime.core.gate.task import TaskGates
from dagnats.runtime.correlator import Correlator
from dagnats.runtime.leader import Leader
from dagnats.runtime.lease import Leadership
from dagnats.runtime.memory.history import MemoryLog
from dagnats.runtime.outbox import Outbox
from dagnats.runtime.position import PositionKeeper
from dagnats.runtime.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from dagnats.runtime.attempt import Attempt
    from dagnats.runtime.watch import Watch
    from tests.simulation.scenario import Report


class Mutation(NamedTuple):
    """A fault put into the code.

    Attributes:
        name: What is wrong then.
        targets: Owner, attribute, and what makes the broken one of the sound one.
        lately: The seed that found it last.
    """

    name: str
    targets: tuple[tuple[Any, str, Callable[[Any], Any]], ...]
    lately: int = 0

    @contextmanager
    def applied(self) -> Generator[None]:
        """The code is broken."""
        with ExitStack() as stack:
            for owner, attribute, broken in self.targets:
                stack.enter_context(patch.object(owner, attribute, broken(getattr(owner, attribute))))
            yield


def caught(mutation: Mutation, seeds: Iterable[int], execute: Callable[[int], Report]) -> tuple[int | None, str]:
    """The first seed that finds it, and what it says."""
    with mutation.applied():
        for seed in seeds:
            report = execute(seed)
            if report.wrong:
                return seed, report.wrong[0]
    return None, ""


def _any_attempt(_: Any) -> Any:
    def is_current(state: Any, event: Any) -> bool:
        return event.step_id != "" and state.status in ("queued", "running") and not state.retry_at_ns

    return is_current


def _in_definition_order(_: Any) -> Any:
    def undo_all(made: turn.Turn, undoing: Any) -> None:
        nodes, steps = made.graph.nodes, made.run.steps
        names = [name for name, node in nodes.items() if name in steps and node.compensate]
        undoing.order = [name for name in names if steps[name].status == "completed"]
        undoing.queue = list(undoing.order)
        saga._undo_next(made, undoing)  # pyright: ignore[reportPrivateUsage]  # the rest is sound

    return undo_all


def _acknowledging_first(sound: Any) -> Any:
    async def answer(self: Workbench, attempt: Attempt) -> None:
        attempt.delivery.acknowledge()
        await sound(self, attempt)

    return answer


def _early(sound: Any) -> Any:
    def arm(self: Leader, seat: Any, delay_ns: int) -> None:
        sound(self, seat, delay_ns - 300_000_000)

    return arm


def _holding_on(sound: Any) -> Any:
    def release(self: TaskGates, name: str) -> str:
        ticket = self._tickets.entries.get(name)  # pyright: ignore[reportPrivateUsage]  # the same way
        return "" if ticket is not None and ticket.state == "out" else sound(self, name)

    return release


def _ending_twice(sound: Any) -> Any:
    def sent(self: Outbox, actions: Any) -> Any:
        actions = list(actions)
        for action in actions:
            if type(action).__name__ == "EndRun":
                log = self._ports.log  # pyright: ignore[reportPrivateUsage]  # the same way
                log.append(action.run_id, encode_event(action.event), id=f"{action.id}.again")
        return sound(self, actions)

    return sent


def _starting_anew(sound: Any) -> Any:
    async def append_after(self: MemoryLog, run_id: str, data: bytes, *, id: str, last: int) -> Any:
        if b'"workflow.started"' in data[:40]:
            return await sound(self, run_id, data, id=f"{id}.{secrets.token_hex(4)}", last=await _newest(self, run_id))
        return await sound(self, run_id, data, id=id, last=last)

    return append_after


async def _newest(log: MemoryLog, run_id: str) -> int:
    entries = await log.read(run_id)
    return entries[-1].seq if entries else 0


def _skipping_on(sound: Any) -> Any:
    def skipped(made: turn.Turn, node: Any, step_id: str, state: Any) -> None:
        sound(made, node, step_id, state)
        for dependent in node.dependents:
            below = made.run.steps.get(dependent)
            if below is not None and below.status == "pending" and dependent in made.ready:
                made.ready.remove(dependent)
                skipped(made, made.node_of(dependent), dependent, below)

    return skipped


def _never_losing(_: Any) -> Any:
    def check(self: Leadership) -> None:
        """Whatever the clock says: we lead."""

    return check


def _never_giving_in(_: Any) -> Any:
    async def settle(self: Leadership) -> None:
        """Whoever has the lease: we go on."""

    return settle


def _overwriting(sound: Any) -> Any:
    async def write(self: PositionKeeper, position: Any) -> None:
        while True:
            stored = await self.peek()
            del stored
            try:
                await sound(self, position)
            except Exception as error:  # whoever it was: ours counts
                if type(error).__name__ != "LeaseLost":
                    raise
            else:
                return

    return write


def _matching_again(sound: Any) -> Any:
    def current(made: turn.Turn, event: Any) -> Any:
        if isinstance(event, WaitMatched):
            state = made.run.steps.get(event.step_id)
            if state is not None and state.status == "completed":
                state.output = event.payload
        return sound(made, event)

    return current


def _telling_of_all(_: Any) -> Any:
    async def match(self: Correlator, watch: Watch, event: Any) -> None:
        await watch.looked.wait()
        await self._tell(watch, event)  # pyright: ignore[reportPrivateUsage]  # whatever was found before

    return match


MUTATIONS = (
    Mutation("attempt fence dropped", ((attempt, "is_current", _any_attempt),), lately=6),
    Mutation("saga in definition order", ((saga, "_undo_all", _in_definition_order),), lately=29),
    Mutation("ack before publish", ((Workbench, "_answer", _acknowledging_first),), lately=16),
    Mutation("early timer", ((Leader, "_arm", _early),), lately=1),
    Mutation("holder not freed", ((TaskGates, "release", _holding_on),), lately=6),
    Mutation("second terminal event", ((Outbox, "_sent", _ending_twice),)),
    Mutation("duplicate start accepted", ((MemoryLog, "append_after", _starting_anew),)),
    Mutation("skip propagated", ((completion, "skipped", _skipping_on),), lately=18),
    Mutation(
        "stale leader acts",
        (
            (PositionKeeper, "_write", _overwriting),
            (Leadership, "check", _never_losing),
            (Leadership, "_settle", _never_giving_in),
        ),
        lately=22,
    ),
    Mutation(
        "wait matched twice",
        ((advance, "_current", _matching_again), (Correlator, "_match", _telling_of_all)),
        lately=20,
    ),
)
