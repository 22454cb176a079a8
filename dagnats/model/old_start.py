"""Starts as the Go system writes them: events `workflow.started` whose payload is none of ours.

There are three shapes of payload, tried in this order. Each says the same in another way: which definition, which
input.

    {"workflow_def": {…}, "input": …}                                        an API start brings its definition
    {"trigger": "cron", "source": …, "workflow_id": …, "timestamp": …, …}    a trigger's: all of it is the input
    {"name": …, "steps": […], …}                                             the oldest: a definition, and no input
"""

from __future__ import annotations

from typing import Any

import msgspec

from dagnats.model.event import NOTHING
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, shallow


class OldStart(msgspec.Struct, frozen=True, kw_only=True):
    """What such a start says.

    Attributes:
        run_id: The run it starts.
        workflow: The workflow whose newest definition the run follows; "" when it brings its own.
        definition: The one it brings.
        input: The run input, JSON.
        by: The trigger it is from; "" for none.
        timestamp, trace_parent, trace_state: As in `Event`.
    """

    run_id: str
    workflow: str = ""
    definition: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING
    by: str = ""
    timestamp: str = ""
    trace_parent: str = ""
    trace_state: str = ""


class _Envelope(msgspec.Struct, tag_field="type", tag="workflow.started"):
    run_id: str
    payload: dict[str, msgspec.Raw]
    timestamp: str = ""
    trace_parent: str = ""
    trace_state: str = ""


_decoder = msgspec.json.Decoder(_Envelope)
_text = msgspec.json.Decoder(str)


def old_start_of(data: bytes) -> OldStart | None:
    """The start in `data`; None when it is none of the Go system's."""
    try:
        data.decode()  # raw payloads are taken over unread: this is where bad UTF-8 is found
        event = _decoder.decode(shallow(data, DEEPEST_PAYLOAD))
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        return None
    said = _said(event.payload)
    if said is None:
        return None
    return OldStart(
        run_id=event.run_id,
        timestamp=event.timestamp,
        trace_parent=event.trace_parent,
        trace_state=event.trace_state,
        **said,
    )


def _said(payload: dict[str, msgspec.Raw]) -> dict[str, Any] | None:
    """Which definition, and which input; None for a payload of another shape."""
    if "workflow_def" in payload:
        return {"definition": payload["workflow_def"], "input": payload.get("input", NOTHING)}
    workflow = _text_of(payload, "workflow_id")
    if workflow and _text_of(payload, "trigger"):
        return {"workflow": workflow, "input": msgspec.Raw(_encode(payload)), "by": _text_of(payload, "source")}
    if "name" in payload and "steps" in payload:
        return {"definition": msgspec.Raw(_encode(payload))}
    return None


_encode = msgspec.json.Encoder().encode


def _text_of(payload: dict[str, msgspec.Raw], name: str) -> str:
    """A member that is a text; "" when it is absent, or something else."""
    try:
        return _text.decode(payload.get(name, NOTHING))
    except msgspec.DecodeError:
        return ""
