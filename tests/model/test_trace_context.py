"""W3C contexts of runs and steps, without an SDK."""

from __future__ import annotations

import pytest

from dagnats.model.trace import (
    Trace,
    new_trace_parent,
    run_span,
    run_trace_parent,
    step_span,
    step_trace_parent,
    trace_of,
)

SOMEBODYS = f"00-{'a' * 32}-{'b' * 16}-01"


def test_a_run_that_somebody_started_within_a_span_belongs_under_it() -> None:
    assert trace_of(SOMEBODYS, "r1") == Trace("a" * 32, "b" * 16, "01")
    assert trace_of(SOMEBODYS[:-2] + "00", "r1").is_sampled is False


def test_a_context_that_was_made_up_has_no_span_above() -> None:
    made = new_trace_parent()
    trace = trace_of(made, "r1")
    assert (trace.above, trace.is_sampled) == ("", True)
    assert trace.trace_id == made.split("-")[1]
    assert made != new_trace_parent()


@pytest.mark.parametrize("said", ["", "00-zz-1", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01"])
def test_a_run_without_a_context_has_a_trace_of_its_own_always_the_same(said: str) -> None:
    trace = trace_of(said, "r1")
    assert trace == trace_of("", "r1") != trace_of("", "r2")
    assert (len(trace.trace_id), trace.above) == (32, "")


@pytest.mark.parametrize("said", [SOMEBODYS, "", f"cc-{'a' * 32}-{'b' * 16}-01-more"])
def test_an_attempt_has_a_span_in_the_trace_of_its_run(said: str) -> None:
    version, trace_id, span_id, flags = step_trace_parent(said, "r1", "load", 2).split("-")
    assert (version, trace_id, flags) == ("00", trace_of(said, "r1").trace_id, "01")
    assert span_id == step_span("r1", "load", 2)
    assert run_trace_parent(said, "r1") == f"00-{trace_id}-{run_span('r1')}-01"
    spans = {run_span("r1"), run_span("r2"), *(step_span("r1", "load", attempt) for attempt in (1, 2))}
    assert len(spans) == 4
