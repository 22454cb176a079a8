"""What people are shown: values by bucket and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_what_is_shown_is_there_until_it_is_dropped_or_replaced(backend: Backend) -> None:
    async with backend.connected() as connection:
        board = connection.ports.board
        assert await board.all() == {}
        await board.put("concurrency_tasks", "task.mail.send", b'{"in_flight":1}')
        await board.put("concurrency_tasks", "task.mail.send", b'{"in_flight":2}')
        await board.put("singleton_locks", "order.eu", b'{"run_id":"r1"}')
        assert await board.all() == {
            ("concurrency_tasks", "task.mail.send"): b'{"in_flight":2}',
            ("singleton_locks", "order.eu"): b'{"run_id":"r1"}',
        }
        await board.drop("concurrency_tasks", "task.mail.send")
        await board.drop("concurrency_tasks", "task.mail.send")
        assert await board.all() == {("singleton_locks", "order.eu"): b'{"run_id":"r1"}'}


async def test_another_connection_shows_in_the_same_place(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        await one.ports.board.put("rate_limits", "mail._global", b"1")
        await other.ports.board.put("rate_limits", "mail._global", b"2")
        assert await one.ports.board.all() == {("rate_limits", "mail._global"): b"2"}
