"""W3C trace context, without an SDK: the trace of a run, and the spans in it that nobody has to be asked for.

The ids of spans follow from the names of what they are about. So whoever looks at a run, now or later, a worker or an
engine, gives the same span the same id, and nothing has to be carried or stored for it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Trace(NamedTuple):
    """Where a run belongs.

    Attributes:
        trace_id: 32 hexadecimal digits.
        above: The span that its starter was in; "" when there was none.
        flags: Of the starter; `01`: somebody wants to see it.
    """

    trace_id: str
    above: str = ""
    flags: str = "01"

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace wants it to be kept."""
        return bool(int(self.flags, 16) & 1)


def new_trace_parent() -> str:
    """The context of a trace that begins here, outside of any span: `trace_of` knows it by its span."""
    trace_id = secrets.token_hex(16)
    return f"00-{trace_id}-{trace_id[:16]}-01"


def trace_of(trace_parent: str, run_id: str) -> Trace:
    """The trace of a run that was started with this context. Without one that can be read, it has a trace of its own,
    always the same."""
    found = _TRACE_PARENT.fullmatch(trace_parent)
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return Trace(hashlib.blake2b(run_id.encode(), digest_size=16).hexdigest())
    trace_id, above, flags = found[1], found[2], found[3]
    return Trace(trace_id, "" if above == trace_id[:16] else above, flags)


def run_span(run_id: str) -> str:
    """The id of the span of a run."""
    return _id(run_id)


def step_span(run_id: str, step_id: str, attempt: int) -> str:
    """The id of the span of one attempt of a step."""
    return _id(f"{run_id}/{step_id}/{attempt}")


def run_trace_parent(trace_parent: str, run_id: str) -> str:
    """What the events of a run belong to that nobody has given a context of their own: its span."""
    trace = trace_of(trace_parent, run_id)
    return f"00-{trace.trace_id}-{run_span(run_id)}-{trace.flags}"


def step_trace_parent(trace_parent: str, run_id: str, step_id: str, attempt: int) -> str:
    """What an attempt's handler belongs to: its span, in the trace of its run."""
    span_id = step_span(run_id, step_id, attempt)
    if len(trace_parent) == _PLAIN and trace_parent.startswith("00-"):  # ours, and that of every SDK
        return f"{trace_parent[:36]}{span_id}{trace_parent[52:]}"
    trace = trace_of(trace_parent, run_id)
    return f"00-{trace.trace_id}-{span_id}-{trace.flags}"


_PLAIN = len(f"00-{_NO_TRACE}-{_NO_SPAN}-01")


def _id(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
