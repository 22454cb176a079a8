"""What a server counts as it goes: events, runs, HTTP requests. Of each label only so many values.

Runs and events are counted where the index hears of them, which reads all of the log anyway: a few times a second, and
nothing of it in the engine's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.run import ENDED
from dagnats.runtime.telemetry.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dagnats.model.summary import RunSummary
    from dagnats.runtime.ports import Entry

_OURS = b'{"type":"'
_AT = len(_OURS)
_MOST = 200  # values of a label: the names of workflows, queues, routes
OTHER = "other"
"""What all further ones are called."""

_STEPS = {"step.completed": "completed", "step.failed": "failed", "step.continue": "continued", "step.paused": "paused"}

Key = tuple[str, ...]


class Meter:
    """Counters that begin with the process.

    Args:
        since_ns: What happened before is not counted: the index may read all of the log anew.
    """

    def __init__(self, since_ns: int = 0) -> None:
        self.since_ns = since_ns
        self._events: dict[bytes, int] = {}
        self._started: dict[Key, int] = {}
        self._ended: dict[Key, int] = {}
        self._run_s: dict[Key, float] = {}
        self._requests: dict[Key, int] = {}
        self._request_s: dict[Key, float] = {}

    # -- what happens ----------------------------------------------------------------------------------------

    def hear(self, entries: Sequence[Entry]) -> None:
        """Events of the log, each once."""
        if entries[-1].time_ns < self.since_ns:
            return
        events = self._events
        for entry in entries:
            data = entry.data
            kind = data[_AT : data.find(b'"', _AT)] if data[:_AT] == _OURS else b""
            events[kind] = events.get(kind, 0) + 1

    def changed(self, changes: Iterable[tuple[RunSummary | None, RunSummary | None]]) -> None:
        """Runs as they were, and as they are now."""
        for before, after in changes:
            if after is None:
                continue
            if before is None and after.created_ns >= self.since_ns:
                _count(self._started, (after.workflow,))
            is_new_end = after.status in ENDED and (before is None or before.status not in ENDED)
            if is_new_end and after.ended_ns >= self.since_ns:
                _count(self._ended, (after.workflow, after.status))
                _add(self._run_s, (after.workflow, after.status), (after.ended_ns - after.created_ns) / 1e9)

    def requested(self, method: str, route: str, status: int, took_s: float) -> None:
        """A request was answered."""
        key = (method, route, str(status))
        _count(self._requests, key)
        _add(self._request_s, key, took_s)

    # -- what is told ----------------------------------------------------------------------------------------

    def samples(self) -> list[Sample]:
        """All of it."""
        events = {kind.decode(errors="replace") or OTHER: count for kind, count in self._events.items()}
        steps = {(name,): events.get(kind, 0) for kind, name in _STEPS.items()}
        request = ("method", "route", "status")
        return [
            _counter("dagnats_events_total", "Events in the log, by type.", ("type",), _keyed(events)),
            _counter("dagnats_steps_total", "Attempts of steps that were answered, by outcome.", ("outcome",), steps),
            _counter("dagnats_runs_started_total", "Runs that were started.", ("workflow",), self._started),
            _counter("dagnats_runs_ended_total", "Runs that have ended.", ("workflow", "status"), self._ended),
            _counter(
                "dagnats_run_duration_seconds_total",
                "How long runs that have ended took, from start to end, all together.",
                ("workflow", "status"),
                self._run_s,
            ),
            _counter("dagnats_http_requests_total", "Requests that were answered.", request, self._requests),
            _counter(
                "dagnats_http_request_duration_seconds_total",
                "How long requests took, all together.",
                request,
                self._request_s,
            ),
        ]


def bounded(key: Key, known: Mapping[Key, object]) -> Key:
    """A key that there is room for: this one, or the one for all others."""
    if key in known or len(known) < _MOST:
        return key
    return (OTHER, *key[1:]) if len(key) < 3 else (key[0], OTHER, key[2])


def _count(counts: dict[Key, int], key: Key) -> None:
    key = bounded(key, counts)
    counts[key] = counts.get(key, 0) + 1


def _add(sums: dict[Key, float], key: Key, value: float) -> None:
    key = bounded(key, sums)
    sums[key] = sums.get(key, 0.0) + value


def _keyed(events: Mapping[str, int]) -> dict[Key, int]:
    return {(kind,): count for kind, count in events.items()}


def _counter(name: str, help: str, labels: Key, values: Mapping[Key, float]) -> Sample:
    rows = [(dict(zip(labels, key, strict=True)), float(value)) for key, value in sorted(values.items())]
    return Sample(name, "counter", help, rows)
