"""Dead letters: kept with their reasons, found by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_dead_letters_are_found_by_subject_and_removed(backend: Backend) -> None:
    async with backend.connected() as connection:
        letters = connection.ports.dead_letters
        data = bytes(range(256))
        await letters.put("a.r1.s1", data, headers={"Why": "because\nof it", "Run": "r1"}, id="1")
        await letters.put("a.r2.s1", b"2", headers={}, id="2")
        await letters.put("b.r1.s1", b"3", headers={}, id="3")
        await letters.put("b.r1.s1", b"3", headers={}, id="3")
        assert await letters.find("nothing.>") == []
        assert [letter.data for letter in await letters.find("a.*.s1")] == [data, b"2"]
        assert [letter.data for letter in await letters.find("*.r1.>")] == [data, b"3"]
        assert await letters.find("a.r1") == await letters.find("a.r1.s1.>") == []
        letter = (await letters.find("a.r1.s1"))[0]
        assert (letter.subject, letter.headers) == ("a.r1.s1", {"Why": "because of it", "Run": "r1"})
        await letters.remove(letter.seq)
        await letters.remove(letter.seq)
        await letters.remove(99)
        assert [letter.data for letter in await letters.find(">")] == [b"2", b"3"]


async def test_a_dead_letter_says_why_in_whatever_language(backend: Backend) -> None:
    async with backend.connected() as connection:
        letters = connection.ports.dead_letters
        why = "«größe»\n世界 ☠ \ud800" + "ß" * 2_000
        await letters.put("a.r1.s1", b"1", headers={"Why": why}, id="1")
        (found,) = await letters.find(">")
        assert found.headers == {"Why": ("«größe» 世界 ☠ ?" + "ß" * 2_000)[:1_000]}


async def test_a_dead_letter_is_found_by_its_place_with_the_time_it_came(backend: Backend) -> None:
    async with backend.connected() as connection:
        letters = connection.ports.dead_letters
        before = backend.now_ns()
        await letters.put("a.r1.s1", b"1", headers={}, id="1")
        (found,) = await letters.find(">")
        assert await letters.at(found.seq) == found
        assert before - 1_000_000_000 <= found.time_ns <= backend.now_ns() + 1_000_000_000
        await letters.remove(found.seq)
        assert await letters.at(found.seq) is None
