"""The loop that long commands run in."""

from __future__ import annotations

import gc

from dagnats.cli.connection import run_long


async def collector() -> tuple[int, int]:
    return gc.get_threshold()[0], gc.get_freeze_count()


def test_a_long_command_does_not_search_its_modules_for_garbage_after_every_few_messages() -> None:
    before = gc.get_threshold()
    try:
        threshold, frozen = run_long(collector())
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert threshold > 10_000
    assert frozen > 10_000
