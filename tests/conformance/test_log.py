"""The log: one order, each event once, read and followed from any place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError, RefusedError
from dagnats.runtime.ports import Entry, Receipt

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_an_event_is_appended_once_however_often_its_id_is_sent(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        first = (await log.append("r1", b"1", id="a")).seq
        assert await log.append("r1", b"1", id="a") == Receipt(first, duplicate=True)
        second = (await log.append("r1", b"2", id="b")).seq
        assert [(entry.seq, entry.run_id, entry.data) for entry in await log.read("r1")] == [
            (first, "r1", b"1"),
            (second, "r1", b"2"),
        ]
        assert [entry.data for entry in await log.read("r1", after=first)] == [b"2"]
        assert (await log.first("r1"), await log.first("r2")) == (first, 0)


async def test_appends_are_stored_in_the_order_in_which_they_were_begun(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        under_way = [log.append(f"r{n % 3}", b"%d" % n, id=str(n)) for n in range(100)]
        seqs = [(await each).seq for each in under_way]
        assert seqs == sorted(seqs)
        assert [entry.data for entry in await log.tail(count=100)] == [b"%d" % n for n in range(100)]


async def test_an_append_that_expects_another_last_event_is_a_conflict(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        seq = (await log.append_after("r1", b"1", id="a", last=0)).seq
        for wrong in (0, seq + 1):
            with pytest.raises(ConflictError):
                await log.append_after("r1", b"2", id="b", last=wrong)
        await log.append("r2", b"other", id="c")  # another run's events do not count
        assert (await log.append_after("r1", b"2", id="b", last=seq)).seq == seq + 2


async def test_an_expected_append_that_is_repeated_meets_itself_as_a_conflict(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        await log.append_after("r1", b"1", id="a", last=0)
        with pytest.raises(ConflictError):
            await log.append_after("r1", b"1", id="a", last=0)


async def test_of_many_who_expect_the_same_last_event_one_wins(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        tries = [
            connection.ports.log.append_after("r1", b"%d" % n, id=str(n), last=0)
            for n, connection in enumerate([one, other] * 10)
        ]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(result, Receipt) for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 19
        assert len(await one.ports.log.read("r1")) == 1


async def test_a_first_event_is_stored_while_another_history_is_as_its_sender_knows_it(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        last = 0
        for n in range(2):
            await log.append_new(f"r{n}", b"known", id=f"k{n}", of="_ops.x", last=last)
            said = (await log.append("_ops.x", b"news", id=f"n{n}")).seq
            with pytest.raises(ConflictError):
                await log.append_new(f"late{n}", b"unknown", id=f"u{n}", of="_ops.x", last=last)
            last = said
        assert sorted(await log.run_ids("r")) == ["r0", "r1"]
        assert await log.run_ids("late") == []


async def test_a_history_longer_than_a_page_is_read_whole_and_in_order(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        await asyncio.gather(*(log.append("long", b"%d" % n, id=f"l{n}") for n in range(2_500)))
        await log.append("short", b"x", id="s")
        entries = await log.read("long")
        assert len(entries) == 2_500
        assert [entry.seq for entry in entries] == sorted(entry.seq for entry in entries)
        assert {entry.data for entry in entries} == {b"%d" % n for n in range(2_500)}
        tail = await log.tail(count=10)
        assert tail[-1].run_id == "short"
        assert len(tail) == 10
        assert [entry.seq for entry in await log.tail(before=tail[0].seq, count=3)][-1] == tail[0].seq - 1


async def test_the_end_of_the_log_and_each_place_in_it_can_be_read(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        assert (await log.last(), await log.at(1), await log.tail()) == (0, None, [])
        before_ns = backend.now_ns()
        await log.append("r1", b"1", id="a")
        await log.append("r2", b"2", id="b")
        assert await log.last() == 2
        entry = await log.at(1)
        assert entry is not None
        assert entry == Entry(1, entry.time_ns, "r1", b"1")
        assert before_ns <= entry.time_ns <= backend.now_ns()
        assert await log.at(3) is None
        await backend.remove_history("r1")
        assert (await log.last(), await log.at(1)) == (2, None)
        await log.append("r3", b"3", id="c")
        assert [entry.data for entry in await log.tail()] == [b"2", b"3"]
        assert [entry.data for entry in await log.tail(before=3, count=2)] == [b"2"]


async def test_runs_are_found_by_the_beginning_of_their_ids(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        assert await log.run_ids() == []
        for run_id in ("abc-1", "abc-2", "abd-1"):
            await log.append(run_id, b"1", id=run_id)
            await log.append(run_id, b"2", id=f"{run_id}.2")
        assert sorted(await log.run_ids("abc")) == ["abc-1", "abc-2"]
        assert sorted(await log.run_ids()) == ["abc-1", "abc-2", "abd-1"]
        assert await log.run_ids("x") == []
        assert (await connection.ports.server.overview()).runs == 3


async def test_a_watcher_sees_what_was_there_and_what_comes(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        await log.append("r1", b"0", id="0")
        watching = log.watch("r1")
        assert (await anext(watching)).data == b"0"
        for n in range(1, 4):
            await log.append("other", b"x", id=f"x{n}")
            await log.append("r1", b"%d" % n, id=str(n))
            assert (await anext(watching)).data == b"%d" % n


async def test_a_watcher_begins_behind_the_place_it_names(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        seqs = [(await log.append("r1", b"%d" % n, id=str(n))).seq for n in range(3)]
        watching = log.watch("r1", after=seqs[1])
        assert (await anext(watching)).data == b"2"


async def test_an_awaited_event_is_found_whether_it_was_there_or_comes(backend: Backend) -> None:
    async with backend.connected() as connection, backend.connected() as other:
        log = connection.ports.log
        begun = (await log.append("r1", b"begin", id="1")).seq
        waiting = asyncio.create_task(log.wait_for("r1", (b"end", b"stop"), after=begun))
        await other.ports.log.append("r2", b"end", id="2")
        await other.ports.log.append("r1", b"middle", id="3")
        end = (await other.ports.log.append("r1", b"stop now", id="4")).seq
        await other.ports.log.append("r1", b"late news", id="5")
        for entry in (await waiting, await log.wait_for("r1", (b"end", b"stop"))):
            assert (entry.seq, entry.run_id, entry.data) == (end, "r1", b"stop now")


async def test_a_message_that_is_too_large_is_refused_with_both_sizes(backend: Backend) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError, match=r"has 9000000 bytes; the server takes at most \d+, headers included"):
            await connection.ports.log.append("r1", b"x" * 9_000_000, id="big")


@pytest.mark.parametrize("run_id", ["a b", "a..b", "", "a\nb"])
async def test_what_cannot_be_a_subject_is_refused(backend: Backend, run_id: str) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError, match="cannot be the subject"):
            await connection.ports.log.append(run_id, b"", id="1")


async def test_ids_are_remembered_for_a_while_that_can_be_asked_for(backend: Backend) -> None:
    async with backend.connected() as connection:
        assert await connection.ports.log.id_window_s() == 30.0


async def test_a_watcher_goes_on_after_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        await log.append("r1", b"0", id="0")
        watching = log.watch("r1")
        await anext(watching)
        following = asyncio.ensure_future(anext(watching))
        await backend.restart()
        await log.append("r1", b"1", id="1")
        async with asyncio.timeout(10):
            assert (await following).data == b"1"
        assert [entry.data for entry in await log.read("r1")] == [b"0", b"1"]
