"""What operators type: orders to runs, runs made of runs, dead letters, queues, the comparison with the log."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine, Result


def _waiting(served: CommandLine, run_id: str) -> str:
    """A run that does not end by itself."""
    assert served("run", "start", "waiting", "--run-id", run_id).code == 0
    return run_id


def _until(served: CommandLine, *line: str, says: str) -> Result:
    """The command's answer once it says something."""
    shown = served(*line)
    for _ in range(200):
        if says in shown.out:
            return shown
        shown = served(*line)
    raise AssertionError(f"{line} did not say {says!r}: {shown.out}")


def _failed(served: CommandLine, run_id: str) -> str:
    """A run that has failed, with a dead letter."""
    _waiting(served, run_id)
    assert served("run", "fail", run_id, "wait", "--reason", "timeout exceeded").code == 0
    _until(served, "run", "status", run_id, says="Status: failed")
    return run_id


def _seq(served: CommandLine, run_id: str) -> int:
    """The place of a run's dead letter."""
    (letter,) = served("dlq", "list", "--run", run_id, "--json").json()
    return letter["seq"]


@pytest.fixture(scope="module")
def asking(served: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered workflow with an approval."""
    workflow = Workflow("asking")
    workflow.approval("ask", subject="approvals.test", timeout="1h")
    file: Path = tmp_path_factory.mktemp("asking") / "asking.json"
    file.write_bytes(workflow.build().to_json())
    assert served("workflow", "register", str(file)).code == 0
    return "asking"


# -- one run -----------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_with_a_reason_and_a_name(served: CommandLine) -> None:
    run_id = _waiting(served, "cancel-me-1")

    assert served("run", "cancel", run_id[:9], "--by", "ann", "--reason", "lunch") == (0, f"Cancelled: {run_id}\n", "")
    again = served("run", "cancel", run_id)
    assert (again.code, again.err) == (2, f"error: run {run_id} has ended already: cancelled\n")
    assert "Error: cancelled by ann: lunch" in served("run", "status", run_id).lines


def test_the_newest_run_is_cancelled_under_json_as_the_reference_shows(served: CommandLine) -> None:
    run_id = _waiting(served, "cancel-me-2")

    assert served("run", "cancel", "--last", "--json").json() == {"run_id": run_id, "cancelled": True}


def test_a_paused_run_says_so_until_it_is_resumed(served: CommandLine) -> None:
    run_id = _waiting(served, "pause-me-1")

    assert served("run", "pause", run_id).out == f"Paused: {run_id}\n"
    assert "Status: running (paused)" in served("run", "status", run_id).lines
    assert served("run", "status", run_id, "--json").json()["paused"] is True
    assert served("run", "pause", run_id).err.splitlines() == [
        f"error: run {run_id} is paused already",
        f"hint: `dagnats run resume {run_id}` lets it go",
    ]
    assert served("run", "resume", run_id, "--json").json() == {"run_id": run_id, "paused": False}
    assert served("run", "cancel", run_id).code == 0


def test_a_step_is_skipped_and_one_that_is_not_there_is_told_with_what_is_near(served: CommandLine) -> None:
    run_id = _waiting(served, "skip-me-1")

    assert served("run", "skip", run_id, "wiat").err == "error: no step 'wiat'\nhint: did you mean 'wait'?\n"
    assert served("run", "skip", run_id).err.startswith("error: missing argument 'STEP'")
    assert served("run", "skip", "--last", "wait").out == "Skipped: wait\n"
    assert (
        _until(served, "run", "status", run_id, says="Status: completed").lines[-1] == "  wait  skipped (attempts: 1)"
    )


def test_a_signal_is_sent_as_the_reference_shows(served: CommandLine) -> None:
    run_id = _waiting(served, "signal-me-1")

    assert served("run", "signal", run_id, "approval", '{"approved": true}').out == "Signal sent: approval\n"
    sent = served("run", "signal", "--last", "done", "{}", "--json")
    assert sent.json() == {"run_id": run_id, "signal": "done", "sent": True}
    listed = served("signal", "list", run_id)
    assert [line.split()[1] for line in listed.lines] == ["NAME", "approval", "done"]
    assert listed.lines[1].endswith('  {"approved": true}')
    (sent,) = served("signal", "list", "--last", "--name", "done", "--json").json()
    assert (sent["signal"], sent["payload"], sent["run_id"]) == ("done", {}, run_id)
    told = served("run", "events", run_id, "--type=signal.received")
    assert told.lines[1].endswith('  approval {"approved": true}')
    assert served("signal", "list", run_id, "--name", "other").out == "The run was sent no signal.\n"
    assert served("run", "signal", run_id, "approval").err.startswith("error: missing argument 'PAYLOAD'")
    assert served("run", "signal", run_id, "approval", "{").err.startswith("error: the payload must be JSON")
    assert served("run", "signal", "--last", "a", "1", "2").err.startswith("error: --last and the run id 'a'")
    assert served("run", "signal", run_id, "no space", "1").err.startswith("error: 'no space' cannot name a signal")
    assert served("run", "cancel", run_id).code == 0


def test_an_approval_is_answered_once(served: CommandLine, asking: str) -> None:
    assert served("run", "start", asking, "--run-id", "asking-1").code == 0

    assert " waits for an approval until " in _until(served, "run", "status", "asking-1", says="running (").lines[-1]
    assert served("run", "approve", "asking-1", "aks").err == "error: no step 'aks'\nhint: did you mean 'ask'?\n"
    unproven = served("run", "approve", "asking-1", "--token", "made-up")
    assert (unproven.code, unproven.err.splitlines()[0]) == (
        2,
        "error: the token does not answer approval 'ask' of run asking-1",
    )
    answered = served("run", "approve", "asking-1", "--answer", '{"note": "fine"}', "--by", "ann")
    assert answered.out == "Approved: ask\n"
    assert served("run", "reject", "asking-1").code == 2
    assert _until(served, "run", "output", "asking-1", says="note").out == '{"approved": true, "note": "fine"}\n'


def test_an_approval_is_rejected(served: CommandLine, asking: str) -> None:
    assert served("run", "start", asking, "--run-id", "asking-2").code == 0

    assert served("run", "reject", "asking-2", "--json").json() == {
        "run_id": "asking-2",
        "step_id": "ask",
        "approved": False,
    }
    assert "Error: ask: approval rejected" in _until(served, "run", "status", "asking-2", says="Status: failed").lines


# -- starting ----------------------------------------------------------------------------------------------------


def test_a_scheduled_run_is_told_with_its_time_and_listed(served: CommandLine) -> None:
    scheduled = served("run", "start", "waiting", "--at=2027-01-15T09:00:00Z", "--run-id", "later-01")

    assert scheduled.out == "Scheduled later-01 (run at 2027-01-15T09:00:00Z)\n"
    listed = served("run", "list", "--scheduled").lines
    assert listed[0].split("  ")[0] == "RUN ID"
    assert [re.split(r"\s{2,}", line) for line in listed[1:]] == [
        ["later-01", "waiting", "2027-01-15T09:00:00Z", "scheduled"]
    ]
    assert "Begins: 2027-01-15 09:00:00 UTC" in served("run", "status", "later-01").lines
    assert served("run", "cancel", "later-01").code == 0


def test_a_time_that_has_passed_is_refused(served: CommandLine) -> None:
    refused = served("run", "start", "waiting", "--at", "2020-01-01")

    assert refused.code == 2
    assert refused.err.startswith("error: 2020-01-01T00:00:00Z has passed")


def test_starts_with_one_key_are_one_run(served: CommandLine) -> None:
    first = served("run", "start", "waiting", "--idempotency-key", "once", "--label", "team=x")
    second = served("run", "start", "waiting", "--idempotency-key", "once")

    assert first.out == second.out
    run_id = first.out.split()[-1]
    assert "Labels: team=x" in served("run", "status", run_id).lines
    assert served("run", "start", "waiting", "--label", "team").err.startswith("error: 'team' is no label")
    assert served("run", "cancel", run_id).code == 0


def test_an_input_comes_from_a_file(served: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"from": "file"}\n')

    started = served("run", "start", "waiting", "--input-file", str(file), "--run-id", "from-file-1")
    assert started.code == 0, started.err
    assert served("run", "status", "from-file-1", "--json").json()["input"] == {"from": "file"}
    assert served("run", "start", "waiting", "1", "--input-file", str(file)).err.endswith("leave one of them out\n")
    file.write_text("{")
    refused = served("run", "start", "waiting", "--input-file", str(file))
    assert refused.err.startswith(f"error: the input in {file} must be JSON")
    assert served("run", "cancel", "from-file-1").code == 0


def test_input_that_breaks_the_schema_is_told_whole(served: CommandLine) -> None:
    refused = served("run", "start", "order", '{"id": 3}')

    assert refused.code == 2
    assert refused.err.splitlines() == [
        "error: the input does not fit workflow 'order'",
        "invalid: 'amount_cents' is a required property",
        "  at $",
        "invalid: 3 is not of type 'string'",
        "  at $.id",
        "hint: `dagnats workflow show order --json` has its input_schema",
    ]
    error = served("run", "start", "order", '{"id": 3}', "--json").json()["error"]
    assert (error["kind"], len(error["problems"])) == ("invalid-input", 2)


def test_runs_of_a_file_are_started_once(served: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "inputs.jsonl"
    file.write_text('{"env": "staging"}\n\n{"env": "prod"}\n')
    line = ["run", "bulk", "--workflow=waiting", "--from-file", str(file)]

    assert served(*line, "--dry-run").out == "[dry-run] Would start 2 runs\n"
    started = served(*line)
    assert started.lines[0] == "Started 2 runs:"
    ids = [each.strip() for each in started.lines[1:]]
    again = served(*line, "--json").json()
    assert again == {"run_ids": ids, "total": 2, "existing": ids}
    other = served(*line, "--batch", "second", "--json").json()
    assert not set(other["run_ids"]) & set(ids)
    typed = served("run", "bulk", "--workflow=waiting", '{"env":"staging"}', '{"env":"prod"}', "--json").json()
    assert typed["total"] == 2
    file.write_text('1\n{"env"\n')
    assert served(*line).err.startswith(f"error: line 2 of {file} must be JSON")
    assert served("run", "bulk", "--workflow=waiting").err.startswith("error: there are no inputs")


# -- many runs ---------------------------------------------------------------------------------------------------


def test_all_runs_of_a_workflow_are_cancelled_once_somebody_means_it(served: CommandLine, asking: str) -> None:
    ids = [f"all-{at}-of-them" for at in range(3)]
    for run_id in ids:
        assert served("run", "start", asking, "--run-id", run_id).code == 0
    line = ["run", "cancel-all", f"--workflow={asking}"]

    shown = served(*line, "--status=running", "--dry-run")
    assert shown.lines == ["[dry-run] Would cancel 3 runs", *(f"  {run_id}" for run_id in reversed(ids))]
    refused = served(*line)
    assert refused.code == 2
    assert refused.err.splitlines() == [
        "error: nobody can be asked here: Cancel 3 runs of 'asking'?",
        "hint: --force does it unasked",
    ]
    assert served(*line, "--force").out == "Cancelled 3 runs\n"
    again = served(*line, "--force", "--json").json()
    assert (again["cancelled"], again["run_ids"], again["problems"]) == (0, [], [])


def test_failed_runs_are_tried_again_all_at_once(served: CommandLine, asking: str) -> None:
    for run_id in ("retry-all-1", "retry-all-2"):
        assert served("run", "start", asking, "--run-id", run_id).code == 0
        assert served("run", "reject", run_id).code == 0
        _until(served, "run", "status", run_id, says="Status: failed")
    line = ["run", "retry-all", f"--workflow={asking}", "--after", "2020-01-01"]

    shown = served(*line, "--mode=rerun", "--dry-run", "--json").json()
    assert {"retry-all-1", "retry-all-2"} <= set(shown["run_ids"])
    assert shown["retried"] == 0
    done = served(*line, "--mode=replay")
    assert done.lines[0] == f"Retried {shown['total']} runs"
    assert {"  retry-all-1 (replayed)", "  retry-all-2 (replayed)"} <= set(done.lines)
    assert served("run", "retry-all", "--mode=rerun").err.startswith("error: which runs?")
    assert served("run", "cancel-all", f"--workflow={asking}", "--force").code == 0


def test_runs_are_listed_newest_first_and_filtered(served: CommandLine) -> None:
    run_id = _waiting(served, "listed-1")

    header, first, *_ = served("run", "list").lines
    assert header.split() == ["RUN_ID", "WORKFLOW", "STATUS", "CREATED", "STEPS"]
    assert first.split()[:3] == [run_id, "waiting", "running"]
    assert first.split()[-1] == "1"
    assert {run["status"] for run in served("run", "list", "--status=running", "--json").json()} == {"running"}
    assert len(served("run", "list", "--limit", "1").lines) == 2
    assert served("run", "list", "--workflow=none").out == "No runs were found.\n"
    assert served("run", "list", "--status=runing").err.splitlines()[1] == "hint: did you mean 'running'?"
    assert served("run", "cancel", run_id).code == 0


def test_runs_are_counted_and_found_by_label_and_error(served: CommandLine) -> None:
    assert served("run", "start", "waiting", "--run-id", "counted-1", "--label", "team=counting").code == 0

    assert served("run", "list", "--label", "team=counting", "--json").json()[0]["run_id"] == "counted-1"
    assert served("run", "count", "--label=team=counting").lines == [
        "WORKFLOW  STATUS   RUNS",
        "waiting   running  1",
        "1 run",
    ]
    assert served("run", "count", "--label", "team=nobody").out == "0 runs\n"
    document = served("run", "count", "--label", "team=counting", "--json").json()
    assert document == {"count": 1, "by": [{"workflow_id": "waiting", "status": "running", "count": 1}]}
    assert served("run", "cancel", "counted-1", "--reason", "counted enough").code == 0
    found = served("run", "list", "--error", "COUNTED enough", "--json").json()
    assert [run["run_id"] for run in found] == ["counted-1"]
    assert served("run", "list", "--label", "team").err.startswith("error: ")


# -- again -------------------------------------------------------------------------------------------------------


def test_a_retry_is_a_new_run_with_the_same_input_unless_one_is_given(served: CommandLine) -> None:
    assert served("run", "start", "waiting", '{"a": 1}', "--run-id", "retry-me-1").code == 0

    told = served("run", "retry", "retry-me-1").out
    assert re.fullmatch(r"Retrying workflow waiting: [0-9a-f]{32}\n", told)
    new = served("run", "status", told.split()[-1], "--json").json()
    assert (new["input"], new["retry_of"]) == ({"a": 1}, "retry-me-1")
    other = served("run", "retry", "--last", '{"a": 2}', "--json").json()
    assert other["workflow"] == "waiting"
    assert served("run", "status", other["new_run_id"], "--json").json()["input"] == {"a": 2}
    replayed = served("run", "retry", "retry-me-1", "--mode", "replay")
    assert replayed.err.startswith("error: run retry-me-1 is not over: it is running")
    assert served("run", "retry", "retry-me-1", "1", "--mode=replay").code == 2
    assert served("run", "cancel-all", "--workflow=waiting", "--force").code == 0


def test_a_fork_takes_over_what_came_before_its_step(served: CommandLine) -> None:
    assert served("run", "start", "hello-pipeline", '"World"', "--watch", "--run-id", "fork-me-1").code == 0

    forked = served("run", "fork", "fork-me-1", "--from", "reverse", "--json").json()
    assert (forked["original_run_id"], forked["taken_over"]) == ("fork-me-1", ["greet", "uppercase"])
    assert served("run", "watch", forked["new_run_id"]).lines[-1].endswith("completed")
    assert served("run", "output", forked["new_run_id"]).out == '"!DLROW ,OLLEH"\n'
    assert served("run", "fork", "fork-me-1", "--from", "revers").err.splitlines()[1] == "hint: did you mean 'reverse'?"
    told = served("run", "fork", "--last", "--from", "greet").out
    assert re.fullmatch(r"Forked: [0-9a-f]{32} \(from greet, 0 outputs taken over\)\n", told)


# -- dead letters ------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_inspected_and_discarded(served: CommandLine) -> None:
    run_id = _failed(served, "dead-run-1")
    seq = _seq(served, run_id)

    header, row = served("dlq", "list", "--run", run_id).lines
    assert header.split() == ["SEQ", "SUBJECT", "RUN_ID", "STEP_ID", "TASK", "ERROR", "TIMESTAMP"]
    assert re.split(r"\s{2,}", row)[:6] == [
        str(seq),
        "dead.nobody.serves.this",
        run_id,
        "wait",
        "nobody.serves.this",
        "failed by hand: timeout exceeded",
    ]
    shown = served("dlq", "inspect", str(seq))
    assert "Error: failed by hand: timeout exceeded" in shown.lines
    body = json.loads(served("dlq", "inspect", str(seq), "--json").json()["body"])
    assert (body["run_id"], body["step_id"]) == (run_id, "wait")
    assert served("dlq", "discard", str(seq)).err.startswith("error: nobody can be asked here: Drop dead letter")
    assert served("dlq", "discard", str(seq), "--force").out == f"Discarded dead letter {seq}\n"
    assert served("dlq", "inspect", str(seq)).err.startswith(f"error: no dead letter '{seq}'")
    assert served("dlq", "list", "--run", run_id).out == "There are no dead letters.\n"


def test_a_replay_opens_the_run_again_where_it_broke(served: CommandLine) -> None:
    run_id = _failed(served, "dead-run-2")
    seq = _seq(served, run_id)

    assert served("dlq", "replay", str(seq)).out == f"Replayed dead letter {seq}\n"
    _until(served, "run", "status", run_id, says="Status: running")
    assert served("dlq", "replay", str(seq)).err.startswith(f"error: run {run_id} is not over: it is running")
    assert served("run", "fail", run_id, "wait").code == 0
    _until(served, "run", "status", run_id, says="Status: failed")
    told = served("dlq", "replay", "--run", run_id).lines
    assert told[0] == f"Replayed dead letter {seq} (nobody.serves.this)"
    assert told[-1] == f"Replayed {len(told) - 1} dead letters for run {run_id}"
    assert served("dlq", "replay").err.startswith("error: which dead letter?")
    assert served("run", "cancel", run_id).code == 0


def test_a_watch_replays_each_step_so_often_and_sums_up(served: CommandLine) -> None:
    run_id = _failed(served, "dead-run-3")
    seq = _seq(served, run_id)

    with served.start("dlq", "watch", "--interval=100ms", "--max-replays=1", "--run", run_id) as watching:
        first = watching.reads("[replay 1/1]")
        assert first[0] == "Watching DLQ every 100ms (max 1 replays per message)"
        assert first[-1] == (
            f"[replay 1/1] seq={seq} task=nobody.serves.this run={run_id} err=failed by hand: timeout exceeded"
        )
        _until(served, "run", "status", run_id, says="queued")
        assert served("run", "fail", run_id, "wait").code == 0
        (line,) = watching.reads("[skip exhausted 1/1]")
        assert line.endswith(f" task=nobody.serves.this run={run_id}")
        for _ in range(5):  # it looks again meanwhile, and has nothing more to say
            served("status")
        watching.signal(signal.SIGINT)
        ended = watching.ends()
    assert (ended.code, ended.out) == (0, "Watch summary: 1 replayed, 1 exhausted\n")


# -- queues and the whole ----------------------------------------------------------------------------------------


def test_a_queue_is_shown_paused_limited_and_resumed(served: CommandLine) -> None:
    name = "nobody.serves.this"

    header, *rows = served("queue", "list").lines
    assert header.split("  ")[0] == "QUEUE"
    assert [name, "never any", "open"] in [
        [cells[0], *cells[-2:]] for cells in (re.split(r"\s{2,}", row) for row in rows)
    ]
    assert served("queue", "pause", name, "--reason", "holiday").out == f"Paused: {name}\n"
    assert served("queue", "pause", name).code == 2
    limited = served("queue", "limit", name, "--concurrency", "3", "--rate", "10/1m")
    assert limited.out == f"Limited: {name}: at most 3 in flight, 10/1m\n"
    shown = served("queue", "show", name)
    assert {"State: paused, ≤ 3 in flight, 10/1m", "Reason: holiday", "Concurrency: 3", "Rate: 10/1m"} <= set(
        shown.lines
    )
    assert served("queue", "resume", name, "--json").json() == {"queue": name, "paused": False}
    cleared = served("queue", "limit", name, "--concurrency", "0", "--rate", "0")
    assert cleared.out == f"Limited: {name}: as the steps say\n"
    assert served("queue", "show", f"{name}s").err.splitlines()[1] == f"hint: did you mean '{name}'?"
    assert served("queue", "limit", name).err.startswith("error: which limit?")
    assert served("queue", "limit", name, "--rate", "ten").err.startswith("error: 'ten' is no rate")


def test_a_paused_workflow_begins_no_run_until_it_is_resumed(served: CommandLine, asking: str) -> None:
    assert served("workflow", "pause", asking, "--reason", "holiday").out == f"Paused: {asking}\n"
    assert served("workflow", "pause", asking).err.splitlines() == [
        f"error: workflow '{asking}' is paused already",
        f"hint: `dagnats workflow resume {asking}` lets it go on",
    ]
    assert served("run", "start", asking, "--run-id", "held-001").code == 0
    waits = "Waits: until a limit of its workflow lets it begin"
    assert waits in served("run", "status", "held-001").lines
    assert served("workflow", "resume", asking).out == f"Resumed: {asking}\n"
    _until(served, "run", "status", "held-001", says="Status: running")
    assert (
        served("workflow", "limit", asking, "--max-runs", "2").out == f"Limited: {asking}: at most 2 runs at a time\n"
    )
    assert served("workflow", "limit", asking, "--max-runs", "0").out == f"Limited: {asking}: as the definition says\n"
    assert served("run", "cancel", "held-001").code == 0


def test_an_event_is_published(served: CommandLine) -> None:
    told = served("event", "publish", "payment.completed", '{"id": 1}').out
    assert re.fullmatch(r"Published: payment\.completed \(event \d+\)\n", told)
    assert served("event", "publish", "payment.completed", "--json").json()["published"]
    assert served("event", "publish", "no space").err.startswith("error: 'no space' cannot be an event's type")
    assert served("event", "publish", "a", "{").err.startswith("error: the body must be JSON")


def test_everything_is_as_the_log_says(served: CommandLine) -> None:
    ours = [_waiting(served, f"verified-{number}") for number in (1, 2)]

    verified = served("verify", "--json").json()
    assert verified["differences"] == []
    assert verified["verified"]
    assert verified["runs"] > 1

    assert re.fullmatch(r"Verified: \d+ runs, \d+ events, no difference\n", served("verify").out)
    assert re.fullmatch(r"\d+ runs compared, 0 differences left\n", served("queue", "repair").out)
    assert [served("run", "cancel", run_id).code for run_id in ours] == [0, 0]
