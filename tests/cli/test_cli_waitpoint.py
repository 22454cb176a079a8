"""`waitpoint` on a real server: what a run waits for, brought or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


@pytest.fixture(scope="module")
def buying(served: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered workflow that waits for a person and for an event."""
    workflow = Workflow("buying")
    workflow.approval("ask", subject="approvals.buying", timeout="1h")
    workflow.wait_for_event("paid", "payment.done", match=workflow.event["id"] == 7, timeout="2h")
    file: Path = tmp_path_factory.mktemp("buying") / "buying.json"
    file.write_bytes(workflow.build().to_json())
    assert served("workflow", "register", str(file)).code == 0
    return "buying"


def _waiting(served: CommandLine, workflow: str, run_id: str) -> str:
    """A run that waits at both of its steps."""
    assert served("run", "start", workflow, "--run-id", run_id).code == 0
    for _ in range(400):
        if len(served("waitpoint", "list", "--workflow", workflow, "--json").json()) == 2:
            return run_id
    raise AssertionError(f"{run_id} does not wait")


def test_every_open_wait_is_listed_with_what_would_resume_it(served: CommandLine, buying: str) -> None:
    run_id = _waiting(served, buying, "buying-0001")

    header, *rows = served("waitpoint", "list", "--workflow", buying).lines
    assert header.split() == ["RUN_ID", "WORKFLOW", "STEP", "KIND", "AGE", "UNTIL", "RESUMED", "BY"]
    assert sorted(row.split()[2:4] for row in rows) == [["ask", "approval"], ["paid", "event"]]
    shown = served("waitpoint", "show", run_id, "paid").lines
    assert "Event: payment.done" in shown
    assert "Match: id == 7" in shown
    assert (
        served("waitpoint", "show", run_id, "ask", "--json").json()["resumed_by"] == f"dagnats run approve {run_id} ask"
    )
    made = served("waitpoint", "token", run_id, "paid")
    token = made.out.strip()
    assert token.startswith("dagnats_wait_")
    assert f"POST /v1/waitpoints/{token}/complete" in made.err
    assert served("waitpoint", "token", run_id, "paid", "--json").json() == {
        "run_id": run_id,
        "step_id": "paid",
        "token": token,
        "path": f"/v1/waitpoints/{token}/complete",
        "url": None,
    }
    assert f"From outside: dagnats waitpoint token {run_id} paid" in shown
    several = served("waitpoint", "show", run_id)
    assert (several.code, several.err) == (2, f"error: run {run_id} waits at 2 steps: ask, paid\nhint: name one\n")
    assert served("run", "cancel", run_id).code == 0


def test_waits_are_completed_by_hand_with_a_body(served: CommandLine, buying: str) -> None:
    run_id = _waiting(served, buying, "buying-0002")

    assert served("waitpoint", "complete", run_id, "paid", '{"id": 7, "cents": 5}').out == "Completed: paid\n"
    assert served("waitpoint", "complete", run_id, '{"note": "fine"}', "--by", "ann", "--json").json() == {
        "run_id": run_id,
        "step_id": "ask",
        "completed": True,
    }
    assert served("run", "result", run_id, "--timeout", "30s").out == (
        '{"ask": {"approved": true, "note": "fine"}, "paid": {"id": 7, "cents": 5}}\n'
    )
    gone = served("waitpoint", "complete", run_id, "ask")
    assert (gone.code, gone.err.splitlines()[0]) == (2, "error: no waitpoint 'ask'")


def test_a_wait_that_is_given_up_fails_its_step(served: CommandLine, buying: str) -> None:
    run_id = _waiting(served, buying, "buying-0003")

    refused = served("waitpoint", "cancel", run_id, "paid")
    assert (refused.code, refused.err.splitlines()[-1]) == (2, "hint: --force does it unasked")
    assert served("waitpoint", "cancel", run_id, "paid", "--force", "--reason", "too late").out == "Cancelled: paid\n"
    assert served("run", "approve", run_id, "ask").code in (0, 2)  # it may be over by now
    ended = served("run", "result", run_id, "--timeout", "30s", "--json").json()
    assert ended["status"] == "failed"
    assert "too late" in ended["error"]
