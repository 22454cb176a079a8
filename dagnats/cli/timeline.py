"""A run as a timeline: when each step was ready, when a worker had it, when it was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.output import cut, display_width, pad, plain
from dagnats.cli.tree import headline, milliseconds

if TYPE_CHECKING:
    from dagnats.cli.output import Paint
    from dagnats.client import RunView, StepView

_WAITS = "░"
_WORKS = "█"
_LEAST_BAR = 10
_LONGEST_NAME = 32
_COLOURS = {"failed": "red", "cancelled": "yellow", "recovered": "yellow"}


def timeline_lines(view: RunView, *, now_ns: int, width: int = 80, paint: Paint = plain) -> list[str]:
    """The run as lines of at most `width` cells: a headline, then a bar for each step that was handed out.

    Args:
        now_ns: Where the bars of steps under way end.
    """
    steps = sorted((step for step in view.steps if step.queued_ns), key=lambda step: step.queued_ns)
    lines = [headline(view, width=width, paint=paint)]
    if not steps:
        return lines
    end_ns = view.ended_ns or max(now_ns, *(step.ended_ns for step in steps))
    names = min(max(display_width(step.id) for step in steps), _LONGEST_NAME)
    times = [milliseconds((step.ended_ns or end_ns) - step.queued_ns) for step in steps]
    room = max(width - names - max(map(len, times)) - 4, _LEAST_BAR)
    span_ns = max(end_ns - view.created_ns, 1)

    def at(nanos: int) -> int:
        return min(max((nanos - view.created_ns) * room // span_ns, 0), room)

    for step, took in zip(steps, times, strict=True):
        bar = _bar(step, at(step.queued_ns), at(step.started_ns), at(step.ended_ns or end_ns), room)
        colour = _COLOURS.get(step.status, "green" if step.ended_ns else "cyan")
        name = pad(cut(step.id, names), names)
        lines.append(f"{name}  {paint(pad(bar, room), colour)}  {took}")
    return lines


def _bar(step: StepView, queued: int, started: int, ended: int, room: int) -> str:
    """Where it waited, and where it was worked on. Of a fast attempt nobody stores the start: it is all work."""
    queued = min(queued, room - 1)
    ended = max(ended, queued + 1)
    started = min(max(started, queued), ended) if step.started_ns else queued
    return " " * queued + _WAITS * (started - queued) + _WORKS * (ended - started)
