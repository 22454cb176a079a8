"""Inputs in the envelope of a trigger, and handlers that want what is within."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from dagnats import Workflow
from dagnats.handling.codec import CodecError
from dagnats.handling.handler import handler
from dagnats.model.envelope import data_within, enveloped
from dagnats.testing import Harness


class Order(BaseModel):
    n: int


@handler("take", unwrap_trigger=True)
async def take(order: Order) -> int:
    return order.n


@handler("take.whole")
async def take_whole(order: Any) -> Any:
    return order


@handler("take.any", unwrap_trigger=True)
async def take_any(value: Any) -> Any:
    return value


ENVELOPE = b'{"trigger": "cron", "source": "nightly", "workflow_id": "w", "timestamp": "t", "data": {"n": 7}}'


def test_a_handler_that_asks_for_it_gets_what_is_in_the_envelope() -> None:
    assert take.read(ENVELOPE) == Order(n=7)
    assert take.read(b'{"data": {"n": 8}, "trigger": "http"}') == Order(n=8), "keys come in any order"


def test_an_input_without_an_envelope_is_read_as_it_is() -> None:
    assert take.read(b'{"n": 7}') == Order(n=7)


def test_a_handler_that_does_not_ask_gets_all_of_it() -> None:
    assert take_whole.read(ENVELOPE)["source"] == "nightly"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"trigger": 7, "data": 1}',
        b'{"trigger": null, "data": 1}',
        b'{"trigger": "", "data": 1}',
        b'{"trigger": "cron"}',
        b'{"data": 1}',
        b'["trigger", "data"]',
        b'"trigger"',
        b"null",
    ],
)
def test_what_only_resembles_an_envelope_stays_as_it_is(payload: bytes) -> None:
    assert take_any.read(payload) == take_whole.read(payload)


def test_an_envelope_may_hold_nothing() -> None:
    assert take_any.read(b'{"trigger": "cron", "data": null}') is None


@pytest.mark.parametrize("payload", [b"", b'{"trigger": "cron", "data": ', b'{"trigger": "cron", "data": {"n": "x"}}'])
def test_what_does_not_fit_is_told_as_of_any_input(payload: bytes) -> None:
    with pytest.raises(CodecError):
        take.read(payload)


SAID = {"trigger": "external", "source": "inbox", "workflow": "mail", "timestamp": "2026-11-22T05:00:00Z"}


@pytest.mark.parametrize("data", [b"null", b'{"data":1,"trigger":"cron"}', b'"\\u00e9"', b"[1e3,9007199254740993]"])
def test_what_is_in_an_envelope_is_what_was_put_into_it(data: bytes) -> None:
    assert data_within(enveloped(data, **SAID)) == data


def test_an_envelope_says_who_started_what_and_when() -> None:
    said = {"trigger": "external", "source": "inbox", "workflow_id": "mail", "timestamp": SAID["timestamp"]}
    assert json.loads(enveloped(b"7", **SAID)) == {**said, "data": 7}


async def test_runs_of_a_trigger_and_by_hand_look_alike_to_it() -> None:
    wf = Workflow("w")
    wf.task("take", take)
    async with Harness([wf]) as harness:
        assert (await harness.run(wf, {"trigger": "cron", "data": {"n": 1}})).output == 1
        assert (await harness.run(wf, {"n": 2})).output == 2
        assert "does not fit Order" in (await harness.run(wf, {"trigger": "cron"})).error
