"""How full the store is: measured by one for all, once a second, and never a reason to refuse where it is not known."""

from __future__ import annotations

import asyncio

import pytest

from dagnats.errors import FullError, RefusedError, UnavailableError
from dagnats.runtime.memory.adapter import MemoryServerPort
from dagnats.runtime.memory.link import Link
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import Holding
from dagnats.runtime.room import MeasuredRoom
from tests.api.site import in_virtual_time


class Scales(MemoryServerPort):
    """Weighs as the test says, in half a second, and counts how often it was asked."""

    def __init__(self, *found: Holding | Exception) -> None:
        super().__init__(MemoryServer(), Link())
        self.found = [*found]
        self.looks = 0

    async def holding(self) -> Holding:
        self.looks += 1
        await asyncio.sleep(0.5)
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found


@in_virtual_time
async def test_what_is_refused_is_told_with_the_fill_the_limit_and_what_helps() -> None:
    room = MeasuredRoom(Scales(Holding(8_600, 10_000, "server")))
    with pytest.raises(FullError) as refused:
        await room.expect("a signal")
    assert str(refused.value) == (
        "there is no room for a signal: 8,600 of 10,000 bytes are used (86%), and from 85% on the rest is for runs"
        " under way"
    )
    for cure in ("`dagnats clean --older-than=7d`", "`retention`", "`max_store_bytes`"):
        assert cure in refused.value.hint


@pytest.mark.parametrize("holding", [Holding(8_499, 10_000, "log"), Holding(10**15, 0)], ids=["below", "no limit"])
@in_virtual_time
async def test_below_the_share_and_without_any_limit_nothing_is_refused(holding: Holding) -> None:
    await MeasuredRoom(Scales(holding)).expect("a run")


@in_virtual_time
async def test_many_who_ask_at_the_same_time_measure_once_and_nobody_sooner_than_in_a_second() -> None:
    scales = Scales(Holding(0, 10**9))
    room = MeasuredRoom(scales)
    await asyncio.gather(*(room.expect("a run") for _ in range(100)))
    await asyncio.sleep(0.9)
    await room.expect("a run")
    assert scales.looks == 1
    await asyncio.sleep(0.2)
    await room.expect("a run")
    assert scales.looks == 2


@in_virtual_time
async def test_while_one_measures_the_others_go_by_what_was_seen_unless_that_is_long_ago() -> None:
    scales = Scales(Holding(0, 10**9), Holding(0, 10**9), Holding(10**9, 10**9))
    room = MeasuredRoom(scales)
    await room.expect("a run")
    await asyncio.sleep(5)
    measuring = asyncio.create_task(room.expect("a run"))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(0.1):
        await room.expect("a run")
    await measuring
    await asyncio.sleep(60)  # what is so old says nothing
    measuring = asyncio.create_task(room.expect("a run"))
    await asyncio.sleep(0.1)
    with pytest.raises(FullError):
        await room.expect("a run")
    with pytest.raises(FullError):
        await measuring
    assert scales.looks == 3


@in_virtual_time
async def test_what_may_fill_the_store_within_the_second_is_measured_sooner() -> None:
    scales = Scales(Holding(0, 10_000_000))
    room = MeasuredRoom(scales)
    await room.expect("a run", 500_000)
    await room.expect("a run", 1_000_000)
    assert scales.looks == 1
    await asyncio.sleep(0.06)
    await asyncio.gather(*(room.expect("a run", 1) for _ in range(10)))
    assert scales.looks == 2


@in_virtual_time
async def test_what_was_let_in_lately_counts_as_stored_until_it_is() -> None:
    """As when many start at once, each with a large input: none of it is stored when the others are let in."""
    room = MeasuredRoom(Scales(Holding(0, 10_000_000), Holding(3_000_000, 10_000_000)))
    asked = await asyncio.gather(*(room.expect("a run", 1_000_000) for _ in range(50)), return_exceptions=True)
    assert [type(each) for each in asked] == [type(None)] * 4 + [FullError] * 46
    assert "0 of 10,000,000 bytes are used (0%) or about to be" in str(asked[-1])
    await asyncio.sleep(1)
    await room.expect("a run", 1_000_000)


@in_virtual_time
async def test_what_is_larger_than_the_rest_is_refused_before_a_part_of_it_is_stored() -> None:
    room = MeasuredRoom(Scales(Holding(5_000_000, 10_000_000)))
    with pytest.raises(FullError):
        await room.expect("a run", 3_600_000)
    await room.expect("a run", 3_400_000)


@pytest.mark.parametrize("error", [UnavailableError("no answer"), RefusedError("not for this account")])
@in_virtual_time
async def test_where_nobody_can_say_how_full_it_is_nothing_is_refused(error: Exception) -> None:
    await MeasuredRoom(Scales(error)).expect("a run")


@in_virtual_time
async def test_what_was_seen_last_holds_until_it_can_be_measured_again() -> None:
    room = MeasuredRoom(Scales(Holding(90, 100), UnavailableError("no answer"), Holding(80, 100)))
    for _ in range(2):
        with pytest.raises(FullError):
            await room.expect("a run")
        await asyncio.sleep(2)
    await room.expect("a run")
