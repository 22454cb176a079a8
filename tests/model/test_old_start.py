"""Starts as the Go system writes them, byte by byte."""

from __future__ import annotations

import json

import pytest

from dagnats.errors import DecodeError
from dagnats.model.event import decode_event
from dagnats.model.old_start import OldStart, old_start_of

EMBEDDED = (
    b'{"type":"workflow.started","run_id":"4f1c","timestamp":"2026-02-11T09:30:00.123456789Z",'
    b'"payload":{"workflow_def":{"name":"order","version":"1","steps":[{"id":"pay","task":"pay","type":"normal"}]},'
    b'"input":{"amount": 1.50}},"trace_parent":"00-aa-bb-01","trace_state":"v=1"}'
)
TRIGGERED = (
    b'{"type":"workflow.started","run_id":"4f1c","timestamp":"2026-02-11T09:30:00Z","payload":{"trigger":"cron",'
    b'"source":"nightly","workflow_id":"order","timestamp":"2026-02-11T09:30:00Z","data":{"n": 1}}}'
)
BARE = (
    b'{"type":"workflow.started","run_id":"4f1c","timestamp":"2026-02-11T09:30:00Z",'
    b'"payload":{"name":"order","version":"1","steps":[{"id":"pay","task":"pay"}],"timeout":30000000000}}'
)


def read(data: bytes) -> OldStart:
    old = old_start_of(data)
    assert old is not None, "it is one"
    return old


def test_an_old_api_start_brings_its_definition_and_the_input_as_it_was_written() -> None:
    old = read(EMBEDDED)
    assert (old.run_id, old.workflow, old.by) == ("4f1c", "", "")
    assert json.loads(bytes(old.definition)) == json.loads(EMBEDDED)["payload"]["workflow_def"]
    assert bytes(old.input) == b'{"amount": 1.50}'
    assert old.timestamp == "2026-02-11T09:30:00.123456789Z"
    assert (old.trace_parent, old.trace_state) == ("00-aa-bb-01", "v=1")


def test_an_old_api_start_may_have_no_input() -> None:
    assert bytes(read(b'{"type":"workflow.started","run_id":"r","payload":{"workflow_def":{}}}').input) == b""


def test_an_old_triggers_start_names_its_workflow_and_all_of_it_is_the_input() -> None:
    old = read(TRIGGERED)
    assert (old.workflow, old.by, bytes(old.definition)) == ("order", "nightly", b"")
    assert json.loads(bytes(old.input)) == json.loads(TRIGGERED)["payload"]


def test_the_oldest_start_is_a_definition_and_nothing_else() -> None:
    old = read(BARE)
    assert json.loads(bytes(old.definition)) == json.loads(BARE)["payload"]
    assert (old.workflow, bytes(old.input)) == ("", b"")


def test_a_payload_that_could_be_several_shapes_is_the_first_of_them() -> None:
    members = b'"workflow_def":{"name":"embedded"},"trigger":"cron","workflow_id":"named","name":"bare","steps":[]'
    payload = b'{"type":"workflow.started","run_id":"r","payload":{%b}}'
    assert bytes(read(payload % members).definition) == b'{"name":"embedded"}'
    _, _, rest = members.partition(b",")
    assert read(payload % rest).workflow == "named"


@pytest.mark.parametrize(
    "data",
    [
        EMBEDDED.replace(b"workflow.started", b"workflow.spawn"),
        EMBEDDED.replace(b'"run_id":"4f1c",', b""),
        EMBEDDED[:-1],
        EMBEDDED.replace(b"1.50", b'"\xff"'),
        b'{"type":"workflow.started","run_id":"r","payload":{"workflow_def":%b}}' % (b"[" * 600 + b"]" * 600),
        TRIGGERED.replace(b'"cron"', b'""'),
        TRIGGERED.replace(b'"cron"', b"7"),
        TRIGGERED.replace(b'"workflow_id":"order",', b""),
        BARE.replace(b'"steps"', b'"stages"'),
        b'{"type":"workflow.started","run_id":"r","payload":{"workflow":"order","input":1}}',
        b'{"type":"workflow.started","run_id":"r","payload":[]}',
        b'{"type":"workflow.started","run_id":"r"}',
        b"\xff",
    ],
    ids=[
        "another-event", "no-run", "cut-off", "no-utf-8", "too-deep", "empty-trigger", "trigger-no-text",
        "no-workflow", "no-steps", "half-of-ours", "a-list", "no-payload", "no-json",
    ],
)  # fmt: skip
def test_anything_else_is_no_old_start(data: bytes) -> None:
    assert old_start_of(data) is None


@pytest.mark.parametrize("data", [EMBEDDED, TRIGGERED, BARE])
def test_none_of_them_reads_as_an_event_of_ours(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_event(data)


def test_a_start_of_ours_is_no_old_one() -> None:
    ours = b'{"type":"workflow.started","run_id":"r","payload":{"workflow":"order","def_hash":"ab","input":1}}'
    assert decode_event(ours).run_id == "r"
    assert old_start_of(ours) is None
