"""Approvals: a question to a person, answered once, in time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history import BEGIN, SECOND, History, graph, step, typed

from dagnats.model.event import ApprovalExpired, ApprovalGranted, ApprovalRequested
from dagnats.runtime.core.action import AskApproval


def asked() -> History:
    config = {"subject": "ask.boss", "timeout": "1h", "description": "Really?", "metadata": {"k": "v"}}
    history = History(graph(typed("q", "approval", config=config, retry={"max_attempts": 5}), step("after", "q")))
    history.start()
    return history


def test_a_person_is_asked_and_the_question_is_in_the_history() -> None:
    history = asked()
    (ask,) = history.of(AskApproval)
    question = ask.question
    assert (ask.step_id, ask.attempt, question.subject, question.description) == ("q", 1, "ask.boss", "Really?")
    assert (question.metadata, question.expires_ns) == ({"k": "v"}, BEGIN + 3600 * SECOND)
    assert history.said(ApprovalRequested)[0].payload == question


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (None, {"approved": True}),
        ({"who": "me", "approved": False}, {"approved": True, "who": "me"}),
        ([1], {"approved": True, "answer": [1]}),
    ],
)
def test_yes_completes_the_step_with_what_was_answered(answer: Any, output: Any) -> None:
    history = asked()
    history.granted("q", answer)
    assert msgspec.json.decode(history.task.input) == output


def test_an_answer_nested_beyond_all_bounds_stands_for_itself() -> None:
    history = asked()
    history.say(ApprovalGranted, "q", payload=msgspec.Raw(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"))
    assert bytes(history.task.input).startswith(b'{"approved":true,"answer":{"a":[[[')


@pytest.mark.parametrize(
    ("answer", "by", "error"),
    [(None, "", "approval rejected"), ({"why": "no"}, "ann", 'approval rejected by ann: {"why":"no"}')],
)
def test_no_fails_the_step_for_good(answer: Any, by: str, error: str) -> None:
    history = asked()
    history.rejected("q", answer, by)
    assert (history.run.status, history.run.outcome.error) == ("failed", error)


def test_a_question_that_nobody_answers_in_time_fails_the_step() -> None:
    history = asked()
    history.tick()
    assert (history.run.outcome.error, len(history.said(ApprovalExpired))) == ("approval timed out", 1)


def test_the_first_answer_counts_and_only_an_answer_to_this_question() -> None:
    history = asked()
    assert history.matched("q", {}) == []
    history.granted("q")
    assert history.rejected("q") == []
    assert history.status("q") == "completed"
