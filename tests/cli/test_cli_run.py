"""Runs: start, watch, status, events, output, cancel."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from dagnats.client import connect

if TYPE_CHECKING:
    from command_line import CommandLine

_ORDER = {"id": "A-1", "amount_cents": 4990}
_DECLINED = json.dumps({**_ORDER, "card": "declined"})


@pytest.fixture(scope="module")
def hello(served: CommandLine) -> str:
    """A completed run of `hello-pipeline`."""
    started = served("run", "start", "hello-pipeline", '"World"', "--run-id", "hello-1", "--watch")
    assert started.code == 0, started
    return "hello-1"


@pytest.fixture(scope="module")
def declined(served: CommandLine) -> str:
    """A run of `order` that was compensated."""
    started = served("run", "start", "order", _DECLINED, "--run-id", "declined-1", "--watch")
    assert started.code == 1, started
    return "declined-1"


def _waiting(served: CommandLine, run_id: str) -> str:
    """A run that does not end by itself."""
    assert served("run", "start", "waiting", "--run-id", run_id).code == 0
    return run_id


# -- start -------------------------------------------------------------------------------------------------


def test_a_started_run_is_told_by_its_id(served: CommandLine) -> None:
    started = served.process("run", "start", "hello-pipeline", '"World"')

    assert started.code == 0
    (line,) = started.lines
    prefix, run_id = line.split()
    assert prefix == "Started:"
    assert len(run_id) == 32
    assert served("run", "status", run_id[:8]).lines[0] == f"Run: {run_id}"


def test_a_watched_run_prints_the_lines_of_the_first_workflow_guide(served: CommandLine) -> None:
    watched = served("run", "start", "hello-pipeline", '"World"', "--watch", "--run-id=watched-1")

    assert watched.code == 0
    # A busy machine may take longer than an attempt is kept quiet.
    assert [line for line in watched.lines if not line.endswith(": started")] == [
        "Started: watched-1",
        "Run watched-1 started",
        "step.greet: completed",
        "step.uppercase: completed",
        "step.reverse: completed",
        "Run watched-1 completed",
    ]


def test_the_output_is_printed_at_the_end(served: CommandLine) -> None:
    watched = served("run", "start", "hello-pipeline", '"World"', "--output")

    assert watched.code == 0
    assert watched.lines[1].endswith("started")  # --output implies --watch
    assert watched.lines[-2:] == ["Output:", '"!DLROW ,OLLEH"']


def test_a_watched_run_that_does_not_complete_is_a_no(served: CommandLine) -> None:
    watched = served("run", "start", "order", _DECLINED, "--output", "--run-id", "declined-2")

    assert watched.code == 1
    assert [line for line in watched.lines if not line.endswith(": started")] == [
        "Started: declined-2",
        "Run declined-2 started",
        "step.reserve: completed",
        "step.charge: failed (attempt 1): card declined",
        "Run declined-2 compensating: card declined",
        "step.release: completed",
        "step.release: undid reserve",
        "Run declined-2 compensated: card declined",
    ]


def test_a_start_under_json_is_one_object(served: CommandLine) -> None:
    started = served("run", "start", "hello-pipeline", '"x"', "--run-id", "json-1", "--json")
    assert started.json() == {"run_id": "json-1", "workflow_id": "hello-pipeline"}

    watched = served("run", "start", "hello-pipeline", '"x"', "--run-id", "json-2", "--output", "--json")
    assert watched.json() == {
        "run_id": "json-2",
        "workflow_id": "hello-pipeline",
        "status": "completed",
        "error": "",
        "outputs": {"reverse": '"!X ,OLLEH"'},
    }


def test_the_same_start_again_is_the_same_run_and_another_one_a_conflict(served: CommandLine, hello: str) -> None:
    again = served("run", "start", "hello-pipeline", '"World"', "--run-id", hello)
    assert (again.code, again.out) == (0, f"Started: {hello}\n")

    other = served("run", "start", "hello-pipeline", '"Moon"', "--run-id", hello)
    assert other.code == 2
    assert other.err.startswith(f"error: run {hello} exists already")


def test_input_that_is_not_json_is_shown_with_what_would_be_right(served: CommandLine) -> None:
    refused = served("run", "start", "hello-pipeline", "World")

    assert refused.code == 2
    sentence, hint = refused.err.splitlines()
    assert sentence.startswith("error: the input must be JSON, and World is not")
    assert hint == "hint: a string needs quotes of its own: '\"World\"'"


@pytest.mark.parametrize("text", ["NaN", "{'a': 1}", "[1,]", "1 2", "\\x"])
def test_what_looks_like_json_and_is_not_is_refused(text: str, offline: CommandLine) -> None:
    assert offline("run", "start", "hello-pipeline", text).code == 2


def test_a_negative_number_is_an_input(served: CommandLine) -> None:
    started = served("run", "start", "waiting", "-5", "--run-id", "negative-1")

    assert started.code == 0, started.err
    assert served("run", "status", "negative-1", "--json").json()["input"] == -5


def test_no_input_is_null(served: CommandLine) -> None:
    _waiting(served, "no-input-1")

    assert served("run", "status", "no-input-1", "--json").json()["input"] is None


def test_an_unknown_workflow_cannot_be_started(served: CommandLine) -> None:
    refused = served("run", "start", "hello-pipelin", '"x"', "--json")

    assert refused.code == 2
    assert refused.json() == {
        "error": {
            "kind": "not-found",
            "message": "no workflow 'hello-pipelin'",
            "hint": "did you mean 'hello-pipeline'?",
            "problems": [],
        }
    }


# -- status ------------------------------------------------------------------------------------------------


def test_a_status_has_the_layout_of_the_cli_reference(served: CommandLine, hello: str) -> None:
    shown = served("run", "status", hello)

    assert shown.code == 0
    assert shown.lines[:3] == ["Run: hello-1", "Workflow: hello-pipeline", "Status: completed"]
    assert shown.lines[3].startswith("Created: 20")
    assert shown.lines[3].endswith(" UTC")
    assert shown.lines[4:] == [
        "",
        "Steps:",
        '  greet      completed (attempts: 1)  "Hello, World!"',
        '  uppercase  completed (attempts: 1)  "HELLO, WORLD!"',
        '  reverse    completed (attempts: 1)  "!DLROW ,OLLEH"',
    ]


def test_a_compensated_run_shows_the_steps_that_ran(served: CommandLine, declined: str) -> None:
    lines = served("run", "status", declined).lines

    assert "Status: compensated" in lines
    assert "Error: charge: card declined" in lines
    assert [line.split()[:2] for line in lines[7:]] == [
        ["reserve", "completed"],
        ["charge", "failed"],
        ["ship", "pending"],
        ["record", "pending"],
        ["release", "completed"],
    ]


def test_a_status_under_json_is_the_whole_run(served: CommandLine, declined: str) -> None:
    document = served("--json", "run", "status", declined).json()

    assert document["status"] == "compensated"
    assert document["input"] == json.loads(_DECLINED)
    assert document["failed_step"] == "charge"
    assert document["steps"]["charge"]["error"] == "card declined"
    assert document["steps"]["release"]["output"] == "released shelf-3"
    assert document["steps"]["refund"]["status"] == "pending"


def test_a_waiting_retry_says_when_it_is_due(served: CommandLine) -> None:
    with served.start("run", "start", "retrying", "--watch", "--run-id", "retrying-1") as watching:
        watching.reads("failed (attempt 1): busy")

        shown = served("run", "status", "retrying-1")
        watching.process.kill()

    assert shown.lines[-1].startswith("  call  queued (attempts: 1)  next attempt at ")
    assert shown.lines[-1].endswith("; the last one: busy")


def test_the_newest_run_needs_no_id(served: CommandLine) -> None:
    _waiting(served, "newest-1")

    assert served("run", "status", "--last").lines[0] == "Run: newest-1"


@pytest.mark.parametrize("verb", ["status", "events", "output", "cancel", "watch"])
def test_an_unknown_run_is_told(verb: str, served: CommandLine) -> None:
    assert served("run", verb, "deadbeefdeadbeef") == (2, "", "error: no run 'deadbeefdeadbeef'\n")


def test_an_ambiguous_prefix_lists_its_runs(served: CommandLine) -> None:
    _waiting(served, "ambiguous-1")
    _waiting(served, "ambiguous-2")

    refused = served("run", "status", "ambiguous-")

    assert refused.code == 2
    assert "ambiguous-1, ambiguous-2" in refused.err
    assert served("run", "status", "ambi").err.startswith("error: 'ambi' is too short for a run id")


# -- events ------------------------------------------------------------------------------------------------


def test_the_history_has_the_columns_of_the_cli_reference(served: CommandLine, declined: str) -> None:
    shown = served("run", "events", declined)

    rows = [line.split(maxsplit=5) for line in shown.lines if "step.started" not in line]
    assert rows[0] == ["TIMESTAMP", "TYPE", "STEP", "TRACE", "DATA"]
    assert [(row[2], row[3]) for row in rows[1:]] == [
        ("workflow.started", "-"),
        ("step.completed", "reserve"),
        ("step.failed", "charge"),
        ("compensate.started", "-"),
        ("step.completed", "release"),
        ("compensate.step.completed", "release"),
        ("compensate.completed", "-"),
    ]
    assert all(len(row[4]) == 9 for row in rows[1:4] if row[4] != "-")  # abc123...


def test_the_history_can_be_narrowed(served: CommandLine, declined: str) -> None:
    failed = served("run", "events", declined, "--type=step.failed", "--full")
    assert len(failed.lines) == 2
    assert failed.lines[1].endswith('{"error": "card declined", "failure_type": "non_retriable"}')

    of_step = served("run", "events", declined, "--step", "release", "--json").json()
    assert {it["step_id"] for it in of_step} == {"release"}
    assert set(of_step[0]) == {"type", "run_id", "step_id", "timestamp", "data", "trace_parent", "seq", "name"}
    assert json.loads(of_step[-2]["data"]) == "released shelf-3"


def test_nothing_found_is_no_error_but_a_name_that_cannot_be_is(served: CommandLine, declined: str) -> None:
    assert len(served("run", "events", declined, "--type", "workflow.cancelled").lines) == 1
    assert served("run", "events", declined, "--step", "refund").code == 0

    assert served("run", "events", declined, "--step", "chrge").err == (
        "error: no step 'chrge'\nhint: did you mean 'charge'?\n"
    )
    assert "did you mean 'step.failed'" in served("run", "events", declined, "--type", "step.fail").err


# -- watch -------------------------------------------------------------------------------------------------


def test_watching_a_run_that_has_ended_prints_all_of_it(served: CommandLine, hello: str, declined: str) -> None:
    watched = served("run", "watch", hello)
    assert (watched.code, watched.lines[-1]) == (0, "Run hello-1 completed")

    watched = served("run", "watch", declined, "--json")
    events = [json.loads(line) for line in watched.lines]
    assert watched.code == 1
    assert (events[0]["type"], events[-1]["type"]) == ("workflow.started", "compensate.completed")


def test_ctrl_c_ends_a_watch_without_a_traceback(served: CommandLine) -> None:
    with served.start("run", "start", "waiting", "--watch", "--run-id", "interrupted-1") as watching:
        watching.reads("Run interrupted-1 started")
        watching.signal(signal.SIGINT)
        ended = watching.ends()

    assert (ended.code, ended.err) == (130, "")
    assert served("run", "status", "interrupted-1").lines[2] == "Status: running"


# -- output ------------------------------------------------------------------------------------------------


def test_the_output_of_the_last_step_is_printed_as_it_is(served: CommandLine, hello: str) -> None:
    assert served("run", "output", hello) == (0, '"!DLROW ,OLLEH"\n', "")
    assert served("run", "output", hello, "--json").json() == {
        "run_id": "hello-1",
        "status": "completed",
        "outputs": {"reverse": '"!DLROW ,OLLEH"'},
    }


def test_several_last_steps_give_an_object(served: CommandLine) -> None:
    served("run", "start", "order", json.dumps(_ORDER), "--watch", "--run-id", "good-1")

    assert json.loads(served("run", "output", "good-1").out) == {"ship": "parcel-A-1", "record": "booked 4990 cents"}


def test_a_run_that_did_not_complete_has_no_output(served: CommandLine, declined: str) -> None:
    shown = served("run", "output", declined)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "run declined-1 has no output, it ended compensated: charge: card declined\n"

    waiting = served("run", "output", _waiting(served, "unfinished-1"))
    assert waiting.code == 1
    assert waiting.err.startswith("run unfinished-1 has no output yet, it is running\nhint: ")
    assert served("run", "output", declined, "--json").json()["outputs"] == {}


# -- stream ------------------------------------------------------------------------------------------------


def test_what_a_step_streams_is_printed_as_it_is_and_as_lines_of_json(
    served: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = _waiting(served, "streaming-1")
    monkeypatch.setenv("DAGNATS_DATA_DIR", str(served.data))

    async def stream() -> None:
        async with connect() as client:
            for chunk in (b"one, ", b"two\n", b"\xff"):
                await client.connection.ports.chunks.append(run_id, "wait", chunk, attempt=1)
            await client.handle(run_id).cancel()

    asyncio.run(stream())
    assert served("run", "stream", run_id, "wait").out == "one, two\n\N{REPLACEMENT CHARACTER}"
    lines = [json.loads(line) for line in served("run", "stream", run_id, "wait", "--json").lines]
    assert [(line["offset"], line.get("text"), line.get("base64")) for line in lines] == [
        (0, "one, ", None), (1, "two\n", None), (2, None, "/w=="),
    ]  # fmt: skip
    assert served("run", "stream", run_id, "wiat").err.startswith("error: no step 'wiat'")
    assert served("run", "stream", run_id).code == 2


# -- cancel ------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_once(served: CommandLine) -> None:
    run_id = _waiting(served, "cancelled-1")

    assert served("run", "cancel", run_id) == (0, "Cancelled: cancelled-1\n", "")
    assert served("run", "status", run_id).lines[2] == "Status: cancelled"
    again = served("run", "cancel", run_id)
    assert again.code == 2
    assert again.err == "error: run cancelled-1 has ended already: cancelled\n"


def test_the_newest_run_is_cancelled_under_json(served: CommandLine) -> None:
    _waiting(served, "cancelled-2")

    assert served("run", "cancel", "--last", "--json").json() == {"run_id": "cancelled-2", "cancelled": True}


# -- status, pipes and terminals ---------------------------------------------------------------------------


def test_the_server_answers_in_the_words_of_the_cli_reference(served: CommandLine) -> None:
    nats, jetstream, active = served("status").lines

    assert nats == "NATS: connected"
    assert jetstream.startswith("JetStream: available (")
    assert jetstream.endswith(" streams)")
    assert active.startswith("Active runs: ")
    document = served("status", "--json").json()
    assert (document["nats"], document["jetstream"]) == ("connected", "available")
    assert document["stream_count"] > 0
    assert document["active_runs"] >= 0


def test_a_pipe_that_closes_is_no_error(served: CommandLine, hello: str) -> None:
    listing = served.argv("run", "events", hello, "--full")
    shell = f"set -o pipefail; {' '.join(listing)} | true; echo ${{PIPESTATUS[0]}}"
    piped = subprocess.run(
        ["bash", "-c", shell],
        cwd=served.folder,
        env=served.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert piped.stderr == ""
    assert piped.stdout in ("141\n", "0\n")  # whichever of the two was faster
