"""A run in one line, and what a list of such lines asks for."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from dagnats.model.run import RunStatus
from dagnats.model.summary import MOST, RunPage, RunQuery, RunSummary, Tally


@pytest.mark.parametrize("status", get_args(RunStatus))
def test_a_line_says_whether_its_run_has_ended(status: RunStatus) -> None:
    line = RunSummary(run_id="r", workflow="w", status=status, created_ns=1, seq=2)
    assert line.ended is (status not in ("scheduled", "pending", "running"))


def test_a_page_and_a_tally_survive_the_wire() -> None:
    line = RunSummary(run_id="r", workflow="w", status="failed", created_ns=1, seq=2, error="no", labels={"a": "b"})
    page = RunPage(runs=(line,), more=True)
    assert msgspec.json.decode(msgspec.json.encode(page), type=RunPage) == page
    tally = Tally(workflow="w", status="failed", count=3)
    assert msgspec.json.encode(tally) == b'{"workflow":"w","status":"failed","count":3}'


@pytest.mark.parametrize("limit", [0, -1, MOST + 1])
def test_nobody_can_ask_for_no_run_or_for_more_than_fit_a_page(limit: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.limit"):
        msgspec.json.decode(b'{"limit":%d}' % limit, type=RunQuery)
