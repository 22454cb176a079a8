"""Programs that run until they are told to stop: serve and worker."""

from __future__ import annotations

import json
import re
import signal
import stat
import urllib.request
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats.runtime.retention import Keep

if TYPE_CHECKING:
    from command_line import CommandLine

_SLOW = """
import time

from dagnats import Workflow

wf = Workflow("slow")


@wf.step
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""

_BROKEN = """
from contextlib import asynccontextmanager
from dagnats import handler

async def connected(): raise ConnectionError("nobody answers")

@asynccontextmanager
async def lifespan():
    yield await connected()

@handler("broken.work")
async def work() -> None: ...
"""

_CLASH = """
from dagnats import handler


@handler("greet.tpu")
async def greet() -> None: ...
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_cleanly(number: signal.Signals, project: CommandLine) -> None:
    with project.start("serve", "--port=0") as server:
        lines = server.reads("Ctrl-C stops")
        assert (project.data / "server.json").exists()
        server.signal(number)
        ended = server.ends()

    assert lines[0].startswith("Serving on nats://127.0.0.1:")
    assert lines[1] == f"Data:      {project.data}"
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert not (project.data / "server.json").exists()


def test_the_token_stays_in_its_file(project: CommandLine) -> None:
    with project.start("serve", "--port=0") as server:
        lines = server.reads("Ctrl-C stops")
        ended = server.stop()

    token = (project.data / "token").read_text()
    assert token not in "\n".join(lines) + ended.err
    assert f"$(cat {project.data}/token)" in lines[2]
    assert stat.S_IMODE((project.data / "token").stat().st_mode) == 0o600


def test_a_second_server_on_the_same_folder_is_refused(served: CommandLine) -> None:
    refused = served.process("serve", "--port", "0")

    assert refused.code == 2
    sentence, hint = refused.err.splitlines()
    assert sentence.startswith(f"error: another server already runs on {served.data} (process ")
    assert hint == "hint: use that one, stop it, or choose another folder with DAGNATS_DATA_DIR"


def test_a_busy_port_is_refused(served: CommandLine, project: CommandLine) -> None:
    url = json.loads((served.data / "server.json").read_text())["url"]
    port = url.rpartition(":")[2]

    refused = project.process("serve", "--port", port)

    assert refused.code == 2
    assert refused.err.startswith(f"error: port {port} is in use\n")


def test_a_server_says_under_json_where_it_is(project: CommandLine) -> None:
    with project.start("serve", "--port=0", "--json") as server:
        document = json.loads("\n".join(server.reads("}")))
        assert document["data_dir"] == str(project.data)
        assert project("status", "--server", document["url"]).code == 3  # it asks for its token
        token = (project.data / "token").read_text()
        assert project("status", f"--token={token}", "--server", document["url"]).code == 0
        assert document["pid"] == server.process.pid
        server.stop()


def test_only_the_engine_is_started_on_a_server_that_is_named(project: CommandLine, offline: CommandLine) -> None:
    with project.start("serve", "--port=0", "--json") as server:
        url = json.loads("\n".join(server.reads("}")))["url"]
        token = (project.data / "token").read_text()
        with offline.start("serve", "--server", url, "--token", token) as engine:
            lines = engine.reads("Ctrl-C stops")
            assert engine.stop().code == 0
        server.stop()

    assert lines[0] == f"Serving on {url}"
    assert lines[1].startswith("HTTP:      http://127.0.0.1:")
    assert lines[2:] == ["Ctrl-C stops."]
    assert {file.name.partition("-")[0] for file in offline.data.iterdir()} <= {"index"}  # no data of a NATS server


def test_http_answers_where_the_server_says_and_nowhere_when_it_is_off(project: CommandLine) -> None:
    with project.start("serve", "--port=0", "--json") as server:
        url = json.loads("\n".join(server.reads("}")))["http"]
        with urllib.request.urlopen(f"{url}/ready") as ready:
            assert json.load(ready) == {"status": "ready"}
        taken = project.process("serve", "--port=0", "--http", url.removeprefix("http://"))
        assert server.stop().code == 0
    with project.start("serve", "--port=0", "--http=off", "--json") as server:
        assert json.loads("\n".join(server.reads("}")))["http"] is None
        server.stop()

    assert taken.code == 2
    sentence, hint = taken.err.splitlines()
    assert sentence == f"error: {url.removeprefix('http://')} is in use"
    assert hint == "hint: name another one with --http HOST:PORT, or stop what listens there"


def test_http_that_others_can_reach_is_refused_without_a_token(project: CommandLine) -> None:
    refused = project.process("serve", "--port=0", "--http=0.0.0.0:0")

    assert refused.code == 2
    assert refused.err.startswith(
        "error: 0.0.0.0:0 can be reached from other machines, and nothing would keep anybody out"
    )
    assert "DAGNATS_HTTP_TOKENS" in refused.err


def test_an_http_address_that_is_none_is_told_with_what_would_be_right(project: CommandLine) -> None:
    refused = project.process("serve", "--http=8080")

    assert refused.code == 2
    assert "--http" in refused.err
    assert "127.0.0.1:8080" in refused.err


def test_a_worker_says_what_it_serves_and_stops_cleanly(served: CommandLine) -> None:
    with served.start("worker", "workflows/hello.py", "--concurrency", "1") as worker:
        lines = worker.reads("Ctrl-C stops")
        worker.signal(signal.SIGINT)
        ended = worker.ends()

    assert lines[:-1] == ["Working on 3 task types, 1 task at a time:", "  greet", "  reverse", "  uppercase"]
    assert ended.code == 0
    assert ended.err == "Stopping: running tasks finish first.\n"


def test_a_worker_says_under_json_what_it_serves(served: CommandLine) -> None:
    with served.start("worker", "workflows.hello", "--json") as worker:
        document = json.loads("\n".join(worker.reads("}")))
        ended = worker.stop()

    assert document["task_types"] == ["greet", "uppercase", "reverse"]
    assert document["concurrency"] == 64
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(("said", "stored"), [("always", "always"), ("2s", "2s"), ("", "100ms")])
def test_a_server_stores_as_it_is_told(said: str, stored: str, project: CommandLine) -> None:
    with project.start("--json", "serve", "--port=0", f"--sync={said}") as server:
        announced = json.loads("".join(server.reads("}")))
        server.stop()

    assert announced["sync"] == stored
    assert f"sync_interval: {stored}\n" in (project.data / "nats.conf").read_text()


@pytest.mark.parametrize("said", ["soon", "0s", "-1s"])
def test_a_server_that_is_told_nonsense_about_storing_says_what_would_be_right(said: str, project: CommandLine) -> None:
    refused = project.process("serve", f"--sync={said}")

    assert refused.code == 2
    assert "--sync" in refused.err
    assert "always" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize("said", ["soon", "-1s", ""])
def test_a_server_that_is_told_nonsense_about_retention_says_what_would_be_right(
    said: str, project: CommandLine
) -> None:
    refused = project.process("serve", f"--retention={said}")

    assert refused.code == 2
    assert "--retention" in refused.err
    assert "'off'" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(("said", "keep"), [("off", None), ("12h", Keep(age=timedelta(hours=12))), ("30d", Keep())])
def test_a_server_keeps_ended_runs_as_long_as_it_is_told(
    said: str, keep: Keep | None, offline: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Keep | None] = []

    async def served(**settings: Any) -> None:
        told.append(settings["keep"])

    monkeypatch.setattr("dagnats.runtime.serve.serve", served)
    assert offline("serve", f"--retention={said}").code == 0
    assert told == [keep]


def test_a_worker_is_listed_with_its_group_and_its_id(served: CommandLine) -> None:
    options = ("--group", "gpu", "--worker-id", "host-7.gpu", "--limit", "greet=2", "--grace", "1m")
    with served.start("worker", "workflows/hello.py", "--concurrency", "3", *options) as worker:
        worker.reads("Ctrl-C stops")
        found: list[dict[str, Any]] = []
        while not found:
            found = [each for each in served("workers", "--json").json() if each["worker_id"] == "host-7.gpu"]
        line = next(line for line in served("workers", "list", "--wide").lines if line.startswith("host-7.gpu"))
        worker.stop()

    assert (found[0]["groups"], found[0]["max_tasks"], found[0]["language"]) == (["gpu"], 3, "python")
    assert line.split()[:5] == ["host-7.gpu", "greet,uppercase,reverse", "python", "3", "gpu"]
    assert all(each["worker_id"] != "host-7.gpu" for each in served("workers", "list", "--json").json())


_WATCHED = """
from dagnats import Fire, Workflow, trigger_type
from pydantic import BaseModel

wf = Workflow("cli-watched")


class Ticks(BaseModel):
    count: int


@wf.step
async def tell(said: dict) -> int:
    return said["data"]["tick"]


wf.on_external("cli-ticks", {"count": 2}, id="cli-watched-ticks")


@trigger_type("cli-ticks", version="3", config=Ticks)
async def ticks(config: Ticks, fire: Fire) -> None:
    for tick in range(config.count):
        await fire({"tick": tick}, key=str(tick))
"""


def test_a_worker_watches_for_triggers_and_shows_their_type(served: CommandLine) -> None:
    (served.folder / "watched.py").write_text(_WATCHED)
    with served.start("worker", "watched.py", "--worker-id", "watcher") as worker:
        assert worker.reads("Ctrl-C stops")[-2] == "Watching for triggers of cli-ticks, while no other worker does."
        assert served("register", "watched.py").code == 0
        runs: list[dict[str, Any]] = []
        while len(runs) < 2:
            listed = served("run", "list", "--workflow", "cli-watched", "--status", "completed", "--json")
            runs = listed.json()
        outputs = {served("run", "output", each["run_id"]).out.strip() for each in runs}
        row = next(line for line in served("trigger-type", "list").lines if line.startswith("cli-ticks"))
        described = served("trigger-type", "describe", "cli-ticks")
        found = served("trigger-type", "describe", "cli-ticks", "--json").json()
        worker.stop()

    assert outputs == {"0", "1"}
    assert row.split() == ["cli-ticks", "watcher", "3", "live"]
    assert "Triggers: cli-watched-ticks" in described.lines
    assert found["config_schema"]["required"] == ["count"]
    (served.folder / "wrong.py").write_text(_WATCHED.replace('"count": 2', '"count": "two"'))
    refused = served("register", "wrong.py")
    assert refused.code == 2
    assert "trigger type 'cli-ticks' does not take this: 'two' is not of type 'integer'" in refused.err
    assert served("workflow", "delete", "cli-watched", "--force").code == 0
    assert served("trigger-type", "describe", "cli-ticks", "--json").json()["triggers"] == []
    assert served("trigger-type", "describe", "cli-tick").err.endswith("did you mean 'cli-ticks'?\n")


def test_a_worker_whose_queue_covers_another_ones_is_refused(served: CommandLine) -> None:
    (served.folder / "clash.py").write_text(_CLASH)
    with served.start("worker", "clash.py") as worker:
        worker.reads("Ctrl-C stops")
        worker.stop()

    refused = served.process("worker", "workflows/hello.py", "--group", "tpu")

    assert refused.code == 2
    assert refused.err.startswith("error: task type 'greet' in group 'tpu' shares its subjects with another one")
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--group", "a b"], "error: group 'a b' is not valid"),
        (["--worker-id", "a b"], "error: worker_id 'a b' is not valid"),
        (["--limit", "gret=4"], "error: there is a limit for 'gret', which this worker does not serve; did you mean"),
    ],
)
def test_a_worker_says_what_is_wrong_with_its_options(served: CommandLine, options: list[str], said: str) -> None:
    refused = served.process("worker", "workflows/hello.py", *options)

    assert refused.code == 2
    assert refused.err.startswith(said)


@pytest.mark.parametrize(
    ("decorator", "said"),
    [("@asynccontextmanager", "ConnectionError: nobody answers"), ("", "TypeError: lifespan gives async_generator, ")],
)
def test_a_worker_whose_lifespan_does_not_open_says_why(served: CommandLine, decorator: str, said: str) -> None:
    (served.folder / "broken.py").write_text(_BROKEN.replace("@asynccontextmanager", decorator))

    refused = served.process("worker", "broken.py")

    assert refused.code == 2
    assert re.match(rf"error: lifespan \(broken\.py:\d\) could not be opened: {said}", refused.err), refused.err


def test_a_worker_without_handlers_is_refused(served: CommandLine) -> None:
    refused = served.process("worker", "workflows/waiting.py")

    assert refused.code == 2
    assert refused.err.startswith("error: there is no handler in workflows/waiting.py\n")


def test_running_tasks_finish_before_a_worker_ends(served: CommandLine) -> None:
    (served.folder / "slow.py").write_text(_SLOW)
    served.process("register", "slow.py")
    with (
        served.start("worker", "slow.py") as worker,
        served.start("run", "start", "slow", "1.5", "--watch", "--run-id", "slow-1") as watching,
    ):
        watching.reads("step.nap: started")
        worker.signal(signal.SIGTERM)
        assert worker.ends().code == 0
        assert watching.ends().code == 0


def test_a_second_ctrl_c_stops_a_worker_at_once(served: CommandLine) -> None:
    (served.folder / "slow.py").write_text(_SLOW)
    served.process("register", "slow.py")
    with (
        served.start("worker", "slow.py") as worker,
        served.start("run", "start", "slow", "600", "--watch", "--run-id", "slow-2") as watching,
    ):
        watching.reads("step.nap: started")
        worker.signal(signal.SIGINT)
        worker.says_on_stderr("Stopping")
        worker.signal(signal.SIGINT)
        ended = worker.ends()
        watching.process.kill()

    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert served("run", "cancel", "slow-2").code == 0
