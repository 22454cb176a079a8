"""Metrics: what is counted, and the page that Prometheus reads."""

from __future__ import annotations

import math
import re
from typing import Any

from dagnats.model.event import StepCompleted, encode_event
from dagnats.model.summary import RunSummary
from dagnats.runtime.ports import Entry
from dagnats.runtime.telemetry.meter import OTHER, Meter
from dagnats.runtime.telemetry.sample import Sample, exposition

_LINE = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)')


def parsed(page: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """A page as a scraper reads it: every line has to be one of the format's, every metric be described before."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    assert page.endswith("\n")
    for line in page.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped, line
            assert name not in kinds, f"twice: {line}"
            assert kind in ("counter", "gauge"), line
            kinds[name] = kind
        else:
            match = _LINE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match[1], match[2] or "", float(match[3])
            assert name in kinds, line
            assert _LABEL.sub("", labels) == "", line
            assert (kinds[name] == "counter") is name.endswith("_total"), line
            key = tuple((each[1], _unescaped(each[2])) for each in _LABEL.finditer(labels))
            assert key not in found.setdefault(name, {}), f"twice: {line}"
            found[name][key] = value
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


def line(status: Any = "running", *, workflow: str = "order", created_ns: int = 10, ended_ns: int = 0) -> RunSummary:
    return RunSummary(
        run_id="r1", workflow=workflow, def_hash="h", status=status, created_ns=created_ns, seq=1, ended_ns=ended_ns
    )


def test_what_stands_in_a_label_comes_out_as_it_went_in() -> None:
    odd = 'a "quoted" \\ back\\nslash\nand a {brace}, größe ☠ x="y",'
    page = exposition([Sample("m_total", "counter", "Says\\this\nand that.", [({"l": odd, "k": ""}, 1.0)])])
    assert parsed(page) == {"m_total": {(("l", odd), ("k", "")): 1.0}}
    assert page.splitlines()[0] == "# HELP m_total Says\\\\this\\nand that."


def test_numbers_are_written_so_that_none_of_them_is_lost() -> None:
    values = [0.0, 1.0, -2.5, 1e300, 2**53 + 0.0, 0.1, math.inf, -math.inf]
    page = exposition([Sample("m", "gauge", "h", [({"at": str(at)}, value) for at, value in enumerate(values)])])
    assert [*parsed(page)["m"].values()] == values
    assert "m NaN" in exposition([Sample("m", "gauge", "h", [({}, math.nan)])])
    assert "m 1795304647\n" in exposition([Sample("m", "gauge", "h", [({}, 1795304647)])])


def test_events_are_counted_by_type_whoever_wrote_them() -> None:
    counting = Meter(since_ns=5)
    ours = encode_event(StepCompleted(run_id="r", step_id="s"))
    counting.hear([Entry(1, 10, "r", data) for data in [ours, ours, b'{"run_id":"r","type":"step.failed"}']])
    counting.hear([Entry(2, 4, "r", ours)])  # read anew by an index that is made anew
    found = parsed(exposition(counting.samples()))
    assert found["dagnats_events_total"] == {(("type", OTHER),): 1, (("type", "step.completed"),): 2}
    assert found["dagnats_steps_total"][("outcome", "completed"),] == 2
    assert found["dagnats_steps_total"][("outcome", "failed"),] == 0


def test_runs_are_counted_once_when_they_start_and_once_when_they_end() -> None:
    counting = Meter(since_ns=5)
    ended = line("failed", ended_ns=2_000_000_010)
    counting.changed([(None, line()), (line(), line()), (line(), ended), (ended, ended), (ended, None)])
    counting.changed([(None, line("completed", created_ns=20, ended_ns=40))])  # started and ended between two looks
    counting.changed([(None, line("completed", created_ns=1, ended_ns=2))])  # before we began
    found = parsed(exposition(counting.samples()))
    assert found["dagnats_runs_started_total"] == {(("workflow", "order"),): 2}
    failed, completed = (("workflow", "order"), ("status", "failed")), (("workflow", "order"), ("status", "completed"))
    assert found["dagnats_runs_ended_total"] == {failed: 1, completed: 1}
    assert found["dagnats_run_duration_seconds_total"] == {failed: 2.0, completed: 2e-08}


def test_however_many_names_there_are_a_metric_has_so_many_values() -> None:
    counting = Meter()
    counting.changed([(None, line(workflow=f"w{number}")) for number in range(1_000)])
    for number in range(1_000):
        counting.requested("GET", f"/v{number}", 200, 0.5)
    found = parsed(exposition(counting.samples()))
    started, requests = found["dagnats_runs_started_total"], found["dagnats_http_requests_total"]
    assert len(started) == len(requests) == 201
    assert started[("workflow", OTHER),] == requests[("method", "GET"), ("route", OTHER), ("status", "200")] == 800
    assert sum(started.values()) == sum(requests.values()) == 1_000
