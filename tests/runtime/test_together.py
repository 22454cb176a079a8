"""Coroutines that live and die together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dagnats.runtime.together import cancelled


def test_where_there_is_nothing_to_cancel_no_loop_is_asked_for() -> None:
    def step() -> None:
        with pytest.raises(StopIteration):
            cancelled([]).send(None)

    with ThreadPoolExecutor(1) as thread:  # a main thread would be given a loop that nobody closes
        thread.submit(step).result()
