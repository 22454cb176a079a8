"""Respond steps: the answer to the request that started the run."""

from __future__ import annotations

from typing import Any

import pytest
from history import History, graph, step, typed

from dagnats.model.event import Responded


def responding(**config: Any) -> History:
    history = History(graph(step("a"), typed("r", "respond", "a", config=config), step("after", "r")))
    history.start()
    history.completed("a", {"body": {"n": [1]}})
    return history


@pytest.mark.parametrize(("config", "body"), [({}, b'{"body":{"n":[1]}}'), ({"body_from": "body.n.0"}, b"1")])
def test_the_response_is_what_the_step_receives_or_a_part_of_it_and_the_run_goes_on(config: Any, body: bytes) -> None:
    history = responding(status=201, headers={"X-A": "b"}, **config)
    response = history.said(Responded)[0].payload
    assert (response.status, response.headers, bytes(response.body)) == (201, {"X-A": "b"}, body)
    assert (history.enqueued, bytes(history.task.input)) == (["after"], body)


def test_a_response_that_says_nothing_else_has_status_200_and_no_headers() -> None:
    response = responding().said(Responded)[0].payload
    assert (response.status, response.headers) == (200, {})


def test_a_body_that_is_not_there_fails_the_step_visibly() -> None:
    history = responding(body_from="body.x")
    assert history.run.outcome.error == "respond body_from 'body.x': there is no 'body.x' in the step's input"


def test_a_body_nested_beyond_all_bounds_fails_the_step_visibly() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    history = History(graph(typed("r", "respond", config={"body_from": "x"})))
    history.start({"x": deep, "text": '"[[['})
    assert "deeper than 256 levels" in history.run.outcome.error
