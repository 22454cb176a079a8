"""kill -9 of everything in turn, under load. `python -m tests.e2e.chaos` does many more rounds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.chaos import TARGETS, rounds

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1])
async def test_kills_of_each_process_and_of_all_lose_nothing(tmp_path: Path, seed: int) -> None:
    recovered = await rounds(tmp_path, TARGETS, seed, frozen_s=8.0)
    assert all(recovered.values())
