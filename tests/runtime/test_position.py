"""The engine's position: written behind, one write at a time, lost to whoever writes it meanwhile."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dagnats.errors import ConflictError, UnavailableError
from dagnats.model.json import encode
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.ports import Stored
from dagnats.runtime.position import REACH, Position, PositionKeeper
from dagnats.runtime.together import cancelled, together


class Paper:
    """A cell in memory. `lose` makes the next answers go missing, after or before the write."""

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self.lose: list[str] = []
        self.writes = 0
        self.under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def read(self) -> Stored | None:
        return self.stored

    async def write(self, data: bytes, *, revision: int) -> int:
        assert not self.under_way, "two writes at a time"
        self.under_way += 1
        if not self.gate.is_set():
            self.begun.set()
        await self.gate.wait()
        self.under_way -= 1
        how = self.lose.pop(0) if self.lose else ""
        if how == "before":
            raise UnavailableError("lost before")
        if revision != (self.stored.revision if self.stored is not None else 0):
            raise ConflictError("another revision is there")
        self.writes += 1
        self.stored = Stored(revision + 1, data)
        if how == "after":
            raise UnavailableError("lost after")
        return self.stored.revision

    async def changed(self, most_s: float) -> None:
        await asyncio.sleep(0)


class NoDial:
    async def show(self, seq: int) -> None:
        pass


def at(seq: int) -> Position:
    return Position(seq=seq, time_ns=seq * 1_000, low=seq + 1)


async def begun(paper: Paper, seq: int = 0, holder: str = "first") -> PositionKeeper:
    keeper = PositionKeeper(paper, NoDial(), holder=holder)
    await keeper.peek()
    await keeper.begin(at(seq))
    return keeper


async def seq_of(keeper: PositionKeeper) -> int:
    position = await keeper.peek()
    assert position is not None
    return position.seq


async def test_acting_waits_when_the_stored_position_is_too_far_behind() -> None:
    paper = Paper()
    keeper = await begun(paper)
    reached = False

    async def act() -> None:
        nonlocal reached
        await keeper.room(REACH)  # still within reach
        keeper.move(at(REACH))
        await keeper.room(REACH + 1)
        reached = True

    paper.gate.clear()
    acting = asyncio.create_task(together(act(), keeper.keep()))
    await paper.begun.wait()
    assert not reached
    paper.gate.set()
    await acting
    assert reached
    assert await seq_of(keeper) == REACH


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_write_whose_answer_is_lost_is_no_lost_leadership(how: str) -> None:
    paper = Paper()
    keeper = await begun(paper, 7)
    paper.lose = [how]
    await keeper.begin(at(8))
    await keeper.begin(at(9))
    assert await seq_of(keeper) == 9
    assert paper.writes == 3


async def test_another_engines_position_ends_the_leadership() -> None:
    paper = Paper()
    keeper = await begun(paper, 7)
    await begun(paper, 7, "second")
    keeper.move(at(8))
    with pytest.raises(LeaseLost):
        await keeper.keep()
    assert await seq_of(keeper) == 7


async def test_the_same_position_written_by_another_engine_is_not_taken_for_ones_own() -> None:
    paper = Paper()
    keeper = await begun(paper, 7)
    await begun(paper, 8, "second")
    keeper.move(at(8))
    with pytest.raises(LeaseLost):
        await keeper.keep()


async def test_a_position_nobody_can_read_is_none() -> None:
    paper = Paper()
    paper.stored = Stored(3, b"\xff{")
    keeper = PositionKeeper(paper, NoDial(), holder="first")
    assert await keeper.peek() is None
    await keeper.begin(at(1))
    assert await seq_of(keeper) == 1


async def test_a_write_that_nobody_waited_for_is_no_lost_leadership() -> None:
    paper = Paper()
    keeper = await begun(paper, 7)
    paper.gate.clear()
    keeper.move(at(8))
    keeping = asyncio.create_task(keeper.keep())
    await paper.begun.wait()
    await cancelled([keeping])
    paper.gate.set()
    paper.under_way = 0
    await paper.write(bytes(encode(msgspec.structs.replace(at(8), by="first"))), revision=1)
    await keeper.begin(at(9))
    assert await seq_of(keeper) == 9
    assert paper.writes == 3


async def test_an_engine_that_is_relieved_while_it_takes_over_leaves_its_successors_position_alone() -> None:
    paper = Paper()
    leads = True

    def check() -> None:
        if not leads:
            raise LeaseLost("another engine leads now")

    keeper = PositionKeeper(paper, NoDial(), holder="first", check=check)
    await begun(paper, 7, "second")
    await keeper.peek()  # the one it could replace now is its successor's
    leads = False
    with pytest.raises(LeaseLost):
        await keeper.begin(at(3))
    assert await seq_of(keeper) == 7


async def test_a_position_whose_answer_was_lost_is_not_sent_again_by_an_engine_that_was_relieved_meanwhile() -> None:
    paper = Paper()
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks > 2:
            raise LeaseLost("another engine leads now")

    keeper = PositionKeeper(paper, NoDial(), holder="first", check=check)
    await keeper.peek()
    await keeper.begin(at(7))
    paper.lose = ["before", "before"]
    with pytest.raises(LeaseLost):
        await keeper.begin(at(8))
    assert await seq_of(keeper) == 7
