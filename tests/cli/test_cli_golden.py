"""Every example of the command reference prints what the reference shows, or has a reason in the index."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from command_line import SELDOM, CommandLine
from golden import FOLDER, Example, differs, examples

from dagnats.client import WorkerEntry, connect
from dagnats.model.worker import encode_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_COUNT = 68  # what the reference has

_WORKFLOWS = """
import asyncio
from typing import Any

from dagnats import Abort, Workflow, handler

REVIEW = {"issues_found": 3, "summary": "All checks passed"}


@handler("git.fetch-diff")
async def fetch_diff(pr: dict[str, Any]) -> dict[str, Any]:
    return pr


@handler("lint.run")
async def lint(pr: dict[str, Any]) -> None:
    match pr.get("lint"):
        case None:
            pass
        case "hangs":
            await asyncio.Event().wait()
        case why:
            raise Abort(why)


@handler("llm.chat")
async def chat() -> None: ...


@handler("agent.code-review")
async def review_loop(pr: dict[str, Any]) -> None: ...


@handler("review.summarize")
async def summarize() -> None: ...


@handler("review.post")
async def post_results() -> dict[str, Any]:
    return REVIEW


@handler("deploy.build")
async def build_it(order: Any) -> None:
    if order == {"env": "broken"}:
        raise Abort("no such host")


@handler("deploy.ship")
async def ship() -> None: ...


@handler("deploy.tell")
async def tell() -> None: ...


review = Workflow("code-review", version="1.0.0", timeout="30m")
diff = review.task("fetch-diff", fetch_diff)
linted = review.task("lint", lint).after(diff)
looped = review.task("review-loop", review_loop).after(diff)
summed = review.task("summarize", summarize).after(linted, looped)
review.task("post-results", post_results).after(summed)


def _deploy(name: str) -> Workflow:
    workflow = Workflow(name)
    workflow.task("tell", tell).after(workflow.task("ship", ship).after(workflow.task("build", build_it)))
    return workflow


deploy = _deploy("deploy")
pipeline = _deploy("deploy-pipeline")
"""


class Stage:
    """A server of the examples' own, on which their situations are made."""

    def __init__(self, line: CommandLine, http: str = "") -> None:
        self.line = line
        self.http = http

    def started(self, workflow: str, input: object, status: str) -> str:
        """A run that is in a status."""
        run_id: str = self.line("run", "start", workflow, json.dumps(input), "--json").json()["run_id"]
        return self.until(run_id, f"Status: {status}")

    def until(self, run_id: str, says: str) -> str:
        """The run, once `run status` says something of it."""
        shown = self.line("run", "status", run_id)
        for _ in range(400):
            if says in shown.out:
                return run_id
            shown = self.line("run", "status", run_id)
        raise AssertionError(f"{run_id} does not say {says!r}: {shown.out}")

    def review(self, status: str = "completed", **pr: str) -> str:
        return self.started("code-review", {"pr": 42, **pr}, status)

    def failed_deploy(self) -> str:
        return self.started("deploy", {"env": "broken"}, "failed")

    def linting(self) -> str:
        """A review whose lint has begun and goes on."""
        run_id = self.review("running", lint="hangs")
        self.until(run_id, "review-loop   completed")
        return self.until(run_id, "lint          running")

    def letter(self, run_id: str) -> str:
        (letter,) = self.line("dlq", "list", "--run", run_id, "--json").json()
        return str(letter["seq"])

    def pending_deploys(self) -> Iterator[Mapping[str, str]]:
        """Three runs that wait for their workflow to go on."""
        assert self.line("workflow", "pause", "deploy").code == 0
        for _ in range(3):
            self.started("deploy", {}, "pending")
        yield {}
        self.line("run", "cancel-all", "--workflow=deploy", "--force")
        assert self.line("workflow", "resume", "deploy").code == 0

    def show_workers(self) -> None:
        """Two workers that say they are there."""
        entries = [
            WorkerEntry(worker_id="worker-1", task_types=("llm", "http"), language="go", max_tasks=4),
            WorkerEntry(worker_id="worker-2", task_types=("lint.run",), language="python", max_tasks=2),
        ]

        async def show() -> None:
            async with connect(data_dir=self.line.data) as client:
                for entry in entries:
                    await client.connection.ports.directory.put(entry.worker_id, encode_worker(entry))

        asyncio.run(show())


Made = dict[str, str] | None


def _scheduled(stage: Stage) -> Made:
    assert stage.line("run", "start", "deploy", "--at=+1h").code == 0


def _inputs(stage: Stage) -> Made:
    (stage.line.folder / "inputs.jsonl").write_text('{"env": "staging"}\n{"env": "prod"}\n')


def _two_failed(stage: Stage) -> Made:
    stage.failed_deploy()
    stage.failed_deploy()


def _dead(stage: Stage) -> Made:
    run_id = stage.review("failed", lint="timeout exceeded")
    return {"42": stage.letter(run_id), "a1b2c3d4": run_id}


def _tomorrow(stage: Stage) -> Made:
    at = datetime.now(UTC) + timedelta(days=1)
    return {"2025-01-15T09:00:00Z": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _workers(stage: Stage) -> Made:
    stage.show_workers()


def _nothing(stage: Stage) -> Made: ...


# By example, what has to be there first, and what its words stand for then.
_SCENES: dict[str, Callable[[Stage], Made]] = {
    "workflow-list": _nothing,
    "workflow-list-json": _nothing,
    "workflow-show": _nothing,
    "workflow-validate": _nothing,
    "workflow-validate-bad": _nothing,
    "workflow-validate-json": _nothing,
    "run-start": _nothing,
    "run-start-at": _tomorrow,
    "run-start-watch": _nothing,
    "run-status": lambda stage: {"a1b2c3d4": stage.linting()[:8]},
    "run-status-json": lambda stage: {"": stage.review()},
    "run-inspect": lambda stage: {"a1b2c3d4": stage.review("failed", lint="timeout exceeded")[:8]},
    "run-cancel": lambda stage: {"a1b2c3d4": stage.linting()[:8]},
    "run-cancel-json": lambda stage: {"": stage.linting()},
    "run-bulk": _nothing,
    "run-bulk-file": _inputs,
    "run-retry-all-dry-run": _two_failed,
    "run-retry-all": _two_failed,
    "run-signal": lambda stage: {"a1b2c3d4": stage.linting()[:8]},
    "run-signal-json": lambda stage: {"": stage.linting()},
    "run-list": lambda stage: {"": stage.failed_deploy()},
    "run-list-scheduled": _scheduled,
    "run-events": lambda stage: {"a1b2c3d4": stage.review("failed", lint="lint timeout")[:8]},
    "run-watch": lambda stage: {"a1b2c3d4": stage.review()[:8]},
    "run-output": lambda stage: {"a1b2c3d4": stage.review()[:8]},
    "run-output-json": lambda stage: {"": stage.review()},
    "run-retry": lambda stage: {"a1b2c3d4": stage.failed_deploy()[:8]},
    "run-retry-json": lambda stage: {"": stage.failed_deploy()},
    "dlq-list": _dead,
    "dlq-replay": _dead,
    "dlq-replay-run": _dead,
    "workers-list": _workers,
    "status": _nothing,
    "status-detail": _dead,
    "status-json": _nothing,
    "clean-dry-run": _dead,
    "clean-older-than": _nothing,
    "clean-otel": _nothing,
    "clean-otel-dlq": _nothing,
    "clean-json": _nothing,
    "run-status-whole": lambda stage: {"a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6": stage.review()},
    "run-status-prefix": lambda stage: {"a1b2c3d4": stage.review()[:8]},
}

_ALONE = {
    "workflow-register",
    "workflow-register-json",
    "run-cancel-all-dry-run",
    "run-cancel-all",
    "dlq-watch",
    "clean-all",
    "config-show",
    "config-show-json",
    "dev",
    "dev-dir",
    "logs-level",
    "logs-tail",
}
"""Examples with a test of their own, those of `dev` in test_cli_dev.py."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "workflows").mkdir()
    (folder / "workflows" / "reference.py").write_text(_WORKFLOWS)
    bad = {"name": "bad", "steps": [{"id": "x", "task": "t", "depends_on": ["y"]}]}
    (folder / "bad.json").write_text(json.dumps(bad))
    line = CommandLine(folder, tmp_path_factory.mktemp("reference-data"))
    with line.start("serve", "--port", "0", *SELDOM) as server:
        (http,) = [each.split()[-1] for each in server.reads("Ctrl-C stops") if each.startswith("HTTP:")]
        assert line.process("register").code == 0
        (folder / "workflow.json").write_text(line("workflow", "show", "code-review", "--json").out)
        with line.start("worker", "--grace", "100ms") as worker:
            worker.reads("Ctrl-C stops")
            yield Stage(line, http)
            worker.stop()
        server.stop()


def _example(name: str) -> Example:
    return next(each for each in examples() if each.name == name)


def _holds(line: CommandLine, example: Example, made: Mapping[str, str] | None = None, **env: str) -> None:
    words = example.words
    for stands, real in (made or {}).items():
        words = [word.replace(stands, real) if stands else word for word in words]
    answered = line(*words, *example.adds, **env)
    assert answered.code == example.exit, answered
    assert differs(example, answered.out) == "", answered.out


@pytest.mark.parametrize("name", _SCENES)
def test_an_example_of_the_reference_prints_what_it_shows(stage: Stage, name: str) -> None:
    _holds(stage.line, _example(name), _SCENES[name](stage))


def test_a_workflow_is_registered_as_the_reference_shows(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = json.loads((stage.line.folder / "workflow.json").read_text())
    for name in ("workflow-register", "workflow-register-json"):
        definition["name"] = f"code-review-{name.removeprefix('workflow-')}"
        (stage.line.folder / "workflow.json").write_text(json.dumps(definition))
        example = _example(name)
        answered = stage.line(*example.words)
        assert differs(example, answered.out.replace(definition["name"], "code-review")) == "", answered


@pytest.mark.parametrize("name", ["run-cancel-all-dry-run", "run-cancel-all"])
def test_runs_are_cancelled_as_the_reference_shows(stage: Stage, name: str) -> None:
    for made in stage.pending_deploys():
        _holds(stage.line, _example(name), made)


def test_dead_letters_are_watched_as_the_reference_shows(stage: Stage) -> None:
    example = _example("dlq-watch")
    run_id = stage.review("failed", lint="timeout")
    words = [word.replace("10s", "0.1s") for word in example.words]
    with stage.line.start(*words, "--run", run_id) as watching:
        lines = watching.reads("skip exhausted")
        watching.signal(signal.SIGINT)
        lines += watching.ends().out.splitlines()
    assert differs(example, "\n".join(lines)) == ""


def test_errors_are_tailed_as_the_reference_shows(stage: Stage) -> None:
    example = _example("logs-level")
    with stage.line.start(*example.words) as tailing:
        lines = tailing.reads("Tailing logs")
        run_id = stage.review("failed", lint="lint timeout")
        lines += tailing.reads(f"step failed [run_id={run_id[:8]}")  # another one's may come late
        tailing.signal(signal.SIGINT)
        assert tailing.ends().code == 0
    assert differs(example, "\n".join([lines[0], lines[-1]])) == ""


def test_starts_over_http_are_shown_as_the_reference_shows(stage: Stage) -> None:
    example = _example("logs-tail")
    for workflow in ("deploy", "code-review"):
        httpx.post(f"{stage.http}/v1/runs", json={"workflow": workflow, "input": {"pr": 1}}).raise_for_status()
    shown = stage.line(*example.words).out
    for _ in range(400):
        if shown.count("started run") == 2:
            break
        shown = stage.line(*example.words).out
    assert differs(example, shown) == ""


@pytest.mark.parametrize("name", ["config-show", "config-show-json"])
def test_the_configuration_is_shown_as_the_reference_shows(offline: CommandLine, name: str) -> None:
    _holds(
        offline,
        _example(name),
        DAGNATS_DATA_DIR="/tmp/dagnats",
        DAGNATS_HTTP_ADDR=":8080",
        DAGNATS_MAX_STORE_BYTES="1073741824",
    )


def test_everything_is_cleaned_as_the_reference_shows_except_what_goes_on(stage: Stage) -> None:
    live, over = stage.linting(), stage.review()
    known: list[dict[str, object]] = stage.line("workflow", "list", "--json").json()
    counted = stage.line("run", "count", "--json").json()["by"]
    going_on = {each["workflow_id"] for each in counted if each["status"] in ("running", "pending", "scheduled")}

    _holds(stage.line, _example("clean-all"))
    assert stage.line("run", "status", over).code == 2
    assert "Status: running" in stage.line("run", "status", live).lines
    names = [each["name"] for each in stage.line("workflow", "list", "--json").json()]
    assert "code-review" in names  # a run of it goes on, and of others that tests before this one have left
    assert set(names) == going_on
    assert stage.line("dlq", "list").out == "There are no dead letters.\n"
    cleaned = stage.line("clean", "--include-running", "--force", "--json").json()
    assert (cleaned["left"], stage.line("run", "count", "--json").json()["count"]) == ([], 0)
    for definition in known:  # for the other tests
        (stage.line.folder / "again.json").write_text(json.dumps(definition))
        assert stage.line("workflow", "register", "again.json").code == 0


# -- the index ---------------------------------------------------------------------------------------------


def test_every_example_of_the_reference_has_a_text_or_a_reason() -> None:
    listed = examples()

    assert len(listed) == _COUNT
    assert [each.line for each in listed if bool(each.name) is bool(each.why)] == []


def test_every_text_is_of_one_example_and_begins_with_its_command() -> None:
    texts = {file.stem: file.read_text().splitlines()[0] for file in FOLDER.glob("*.txt")}

    assert texts == {each.name: f"$ {each.line}" for each in examples() if each.name}


def test_every_text_is_held_against_what_is_printed() -> None:
    assert {*_SCENES} | _ALONE == {each.name for each in examples() if each.name}
    assert {*_SCENES} & _ALONE == set()


def test_a_line_that_is_missing_wrong_or_too_many_is_told() -> None:
    example = _example("workers-list")
    header, *rows = example.lines
    assert differs(example, "\n".join([header, *rows])) == ""
    assert differs(example, "\n".join([header, rows[0]])) == f"missing: {rows[1]!r}"
    exact = _example("run-cancel-all-dry-run")
    assert differs(exact, "[dry-run] Would cancel 1 runs\n  00aa11bb\n") != ""
    assert differs(exact, "\n".join([*exact.lines, "and more"])) == "not in the example: 'and more'"
    assert differs(_example("run-cancel-json"), '{"run_id": "a", "cancelled": false}') != ""
