"""What is waited for, over a way to the server that loses answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats.runtime.core.action import AddWaiter
from dagnats.runtime.correlator import Correlator
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.memory.link import Call, Link
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.together import Errands

if TYPE_CHECKING:
    from collections.abc import Callable


class Way(Link):
    """One on which the first answer to a removal is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.removed = asyncio.Event()

    def answer(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        if call.kind == "waiters.drop" and not self.removed.is_set():
            self.removed.set()
        else:
            super().answer(call, arrive)


def test_a_waiter_that_is_asked_for_anew_stays_though_its_removal_has_to_be_said_twice() -> None:
    async def done(_: object) -> None:
        return None

    async def main() -> None:
        server, way, errands = MemoryServer(), Way(), Errands()
        memory = server.connect(way)
        lost = b'{"id":"r.9.1","run_id":"r","step_id":"s","attempt":1,"event":"e"}'
        await memory.ports.waiters.put("r", "s", 1, lost)
        correlator = Correlator(
            memory.ports, memory.feeds, errands, holder="engine", check=lambda: None, stored_when=done
        )
        await correlator.begin()
        correlator.admit(3, last=5, epoch=0)
        await way.removed.wait()
        again = AddWaiter(
            id="r.7.1",
            run_id="r",
            step_id="s",
            attempt=1,
            event="e",
            left="k",
            op="eq",
            right=msgspec.Raw(b"1"),
            since_ns=0,
            until_ns=0,
        )
        await correlator.add(again, 0)
        await asyncio.sleep(60)
        assert len(server.waiters.subjects()) == 1
        await errands.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_an_engine_that_was_relieved_meanwhile_does_not_say_again_how_far_it_is() -> None:
    async def main() -> None:
        class Deaf(Link):
            """One on which nothing of the kind arrives."""

            def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
                if call.kind == "cell.write":
                    written.append(call.subject)
                else:
                    super().carry(call, arrive)

        def check() -> None:
            if written:
                raise LeaseLost("it was not renewed")

        async def done(_: object) -> None:
            return None

        written: list[str] = []
        errands = Errands()
        memory = MemoryServer().connect(Deaf())
        correlator = Correlator(memory.ports, memory.feeds, errands, holder="engine", check=check, stored_when=done)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(correlator.begin(), 60)
        assert written == ["engine.correlated"]
        await errands.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
