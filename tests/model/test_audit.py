"""What the control plane was asked, as it is in the log."""

from __future__ import annotations

import pytest

from dagnats.errors import DecodeError
from dagnats.model.audit import (
    AUDIT,
    Audited,
    Requested,
    decode_audited,
    decode_requested,
    encode_audited,
    encode_requested,
)
from dagnats.model.identifier import is_reserved


@pytest.mark.parametrize(
    "audited",
    [
        Audited(action="register", granted=True, run_id="r", step_id="s", attempt=1, name="agent.r.made", identity="i"),
        Audited(action="start", granted=True, workflow="agent", root="r", child_run_id="c"),
        Audited(action="budget", granted=False, kind="denied", reason="it is over"),
    ],
)
def test_an_answer_survives_the_log(audited: Audited) -> None:
    assert decode_audited(encode_audited(audited)) == audited


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[" * 5000, b'{"type":"task.limited","task":"t"}', b'{"action":"sudo"}']
)
def test_what_is_no_answer_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not an audited answer") as refused:
        decode_audited(data)
    assert refused.value.data == data


def test_an_order_survives_its_stream() -> None:
    said = Requested(action="POST /v1/runs", target="order", status=403, kind="forbidden", skipped=3, by="token ci")
    assert decode_requested(encode_requested(said)) == said


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 5000, b'{"type":"request.recorded"}'])
def test_what_is_no_order_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a recorded order") as refused:
        decode_requested(data)
    assert refused.value.data == data


def test_the_history_is_no_runs() -> None:
    assert is_reserved(AUDIT)
