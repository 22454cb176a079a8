"""`run diagnose` on a real server: the situation is made, and what is said of it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine, Result


@pytest.fixture(scope="module")
def stuck(served: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered workflow whose steps wait for a worker, a person and an event."""
    workflow = Workflow("stuck")
    workflow.task("reserve", "inventory.reserv")
    workflow.approval("ask", subject="approvals.stuck", timeout="1h")
    workflow.wait_for_event("paid", "payment.completed", match=workflow.event["id"] == 1, timeout="1h")
    file: Path = tmp_path_factory.mktemp("stuck") / "stuck.json"
    file.write_bytes(workflow.build().to_json())
    assert served("workflow", "register", str(file)).code == 0
    return "stuck"


def diagnosed(served: CommandLine, run_id: str, *words: str) -> dict[str, dict[str, str]]:
    """By kind, what is found."""
    document = served("run", "diagnose", run_id, *words, "--json").json()
    return {finding["kind"]: finding for finding in document["findings"]}


def until_found(served: CommandLine, run_id: str, kinds: set[str]) -> dict[str, dict[str, str]]:
    found = diagnosed(served, run_id)
    for _ in range(100):
        if kinds <= found.keys():
            return found
        found = diagnosed(served, run_id)
    raise AssertionError(f"not found: {kinds - found.keys()}")


def test_a_run_that_waits_is_told_what_for_and_how_to_go_on(served: CommandLine, stuck: str) -> None:
    assert served("run", "start", stuck, "--run-id", "stuck-0001").code == 0

    found = until_found(served, "stuck-0001", {"no-worker", "approval", "wait-for-event"})
    assert "'inventory.reserve'" in found["no-worker"]["seen"]  # the name that was meant
    assert found["approval"]["cure"] == "dagnats run approve stuck-0001 ask"
    assert found["wait-for-event"]["step_id"] == "paid"
    shown: Result = served("run", "diagnose", "stuck-0001")
    assert shown.code == 1
    assert "  → dagnats run approve stuck-0001 ask" in shown.lines
    assert served("run", "cancel", "stuck-0001").code == 0


def test_what_is_paused_is_resumed_by_fix(served: CommandLine, stuck: str) -> None:
    assert served("workflow", "pause", stuck, "--by", "ann").code == 0
    assert served("run", "start", stuck, "--run-id", "stuck-0002").code == 0

    found = until_found(served, "stuck-0002", {"workflow-paused"})
    assert found["workflow-paused"]["cure"] == f"dagnats workflow resume {stuck}"
    assert "  Fixed." in served("run", "diagnose", "stuck-0002", "--fix").lines
    until_found(served, "stuck-0002", {"approval"})

    assert served("run", "pause", "stuck-0002").code == 0
    assert diagnosed(served, "stuck-0002", "--fix")["run-paused"]["fixed"]
    assert "run-paused" not in diagnosed(served, "stuck-0002")
    assert served("run", "cancel", "stuck-0002").code == 0


def test_of_a_run_that_completed_nothing_is_wrong(served: CommandLine) -> None:
    assert served("run", "start", "hello-pipeline", '"World"', "--run-id", "fine-0001", "--watch").code == 0

    shown = served("run", "diagnose", "fine-0001")
    assert (shown.code, shown.lines[-1]) == (0, "It has ended: nothing holds it.")


def test_of_a_run_that_failed_the_error_is_told_and_how_to_try_again(served: CommandLine, stuck: str) -> None:
    assert served("run", "start", stuck, "--run-id", "stuck-0003").code == 0
    until_found(served, "stuck-0003", {"approval"})
    assert served("run", "fail", "stuck-0003", "reserve", "--reason", "no shelf").code == 0

    found = until_found(served, "stuck-0003", {"ended"})["ended"]
    assert "step reserve failed" in found["seen"]
    assert "no shelf" in found["seen"]
    assert found["cure"] == "dagnats run retry stuck-0003 --mode replay"
