"""Pulses: the newest that each running step says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_the_newest_pulse_of_a_step_counts_and_a_runs_go_together(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        assert await other.ports.pulses.newest("r1", "s") is None
        assert await other.ports.pulses.of("r1") == {}
        for step_id, data in (("s", b"1"), ("s", b"2"), ("m.map.0", b"3")):
            await one.ports.pulses.put("r1", step_id, data)
        await one.ports.pulses.put("r10", "s", b"4")
        assert await other.ports.pulses.newest("r1", "s") == b"2"
        assert await other.ports.pulses.of("r1") == {"s": b"2", "m.map.0": b"3"}
        await other.ports.pulses.remove("r1")
        assert await one.ports.pulses.of("r1") == {}
        assert await one.ports.pulses.of("r10") == {"s": b"4"}
