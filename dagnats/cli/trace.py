"""`trace`: a run's spans as a tree, with how long each took."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import Paint, cut, emit, one_line, paint, plain, room, say
from dagnats.cli.target import LAST, RUN_ID, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagnats.runtime.telemetry.span import Span

_COLOURS = {"ok": "green", "error": "red"}
_LONG_MS = 10_000  # from then on, nobody reads milliseconds
_DEEPEST = 64  # levels: what is below is drawn at this one


def trace(run_id: str = RUN_ID, last: bool = LAST) -> None:
    """Show how long a run and each attempt of its steps took, as the spans of its trace."""
    found = run(_spans(run_id, last))
    if current().json:
        from msgspec import to_builtins

        from dagnats.client.trace import span_document

        emit([to_builtins(span_document(span)) for span in found])
        return
    for line in trace_lines(found, width=room(), paint=paint):
        say(line)


async def _spans(run_id: str, last: bool) -> list[Span]:
    async with open_client() as client:
        return await client.trace((await find(client, run_id, last)).run_id)


def trace_lines(spans: Sequence[Span], *, width: int | None = None, paint: Paint = plain) -> list[str]:
    """The spans as a tree, each under the one that it belongs to."""
    there = {span.span_id for span in spans}
    below: dict[str, list[Span]] = {}
    for span in spans:
        below.setdefault(span.above if span.above in there and span.above != span.span_id else "", []).append(span)
    lines = [f"Trace: {trace_id}" for trace_id in dict.fromkeys(span.trace_id for span in spans)]
    for root in below.get("", ()):
        lines.append(_line(root, "", width, paint))
        lines += _branches(root, below, width, paint)
    return lines


def _branches(root: Span, below: dict[str, list[Span]], width: int | None, paint: Paint) -> Iterator[str]:
    # Not by recursion: a trace may be deeper than Python's stack, and somebody else's may go in circles.
    shown = {root.span_id}
    waiting = _children(root, below, ())
    while waiting:
        span, ancestors, is_last = waiting.pop()
        if span.span_id in shown:
            continue
        shown.add(span.span_id)
        indent = "".join("   " if last else "│  " for last in ancestors[-_DEEPEST:])
        yield _line(span, f"{indent}{'└─ ' if is_last else '├─ '}", width, paint)
        waiting += _children(span, below, (*ancestors, is_last))


def _children(
    span: Span, below: dict[str, list[Span]], ancestors: tuple[bool, ...]
) -> list[tuple[Span, tuple[bool, ...], bool]]:
    """What belongs to a span, the last first: it is taken from the end."""
    found = below.get(span.span_id, [])
    return [(each, ancestors, at == len(found) - 1) for at, each in enumerate(found)][::-1]


def _line(span: Span, indent: str, width: int | None, paint: Paint) -> str:
    attempt = span.attributes.get("attempt", 1)
    again = f" (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else ""
    took = f"({_span_text(span.end_ns - span.start_ns)})" if span.end_ns else "(not over)"
    end = _end(span)
    words = (f"{indent}{one_line(span.name)}{again}", took, end, one_line(span.error))
    text = cut(" ".join(word for word in words if word), width)
    colour = _COLOURS.get(span.status)
    return text.replace(end, paint(end, colour), 1) if colour else text


def _end(span: Span) -> str:
    """How it ended: a run in the word for its status, what is neither good nor bad in the event's."""
    from dagnats.model.run import RunStatus

    status, event = str(span.attributes.get("status", "")), str(span.attributes.get("event", ""))
    if status in get_args(RunStatus):
        return f"[{status}]"
    if span.status == "unset":
        return f"[{one_line(event.rpartition('.')[2])}]" if span.end_ns and event else ""
    return f"[{span.status}]"


def _span_text(nanos: int) -> str:
    """How long something took: `5.4ms`, `157ms`, `3m32s`."""
    from datetime import timedelta

    from dagnats.model.duration import format_duration

    millis = max(nanos, 0) / 1e6
    if millis < _LONG_MS:
        return f"{millis:.0f}ms" if millis >= 10 else f"{millis:.1f}ms"
    return format_duration(timedelta(seconds=round(millis / 1e3)))
