"""`dagnats dev`: the project as it is now, at each change."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from command_line import ROOT, CommandLine
from golden import differs, examples

from dagnats.cli.crew import Processes, environment
from dagnats.cli.dev import replaced
from dagnats.cli.source import Sources
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

_SAY = """
import os

from dagnats import Workflow

wf = Workflow("dev-say")


@wf.step(task="dev.say")
async def say(name: str) -> list[str]:
    return [f"Hello, {name}!", os.environ["DAGNATS_DEV_MODE"]]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one workflow, and much that is none of its code."""
    for file in ("workflows/test_say.py", "workflows/say_test.py", "conftest.py", ".hidden/a.py", "vendor/a.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("raise AssertionError\n")
    (tmp_path / "env" / "lib").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "env" / "lib" / "a.py").write_text("")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "say.py").write_text(_SAY)
    return tmp_path


def say(folder: Path, old: str, new: str) -> None:
    """Change the project's code."""
    (folder / "flows" / "say.py").write_text(_SAY.replace(old, new))


# -- what is watched -------------------------------------------------------------------------------------------


def test_only_code_counts_that_is_neither_a_test_nor_somebody_elses(folder: Path) -> None:
    sources = Sources(folder)
    assert len(sources) == 1
    (folder / "workflows" / "test_say.py").write_text("")
    (folder / "env" / "lib" / "a.py").write_text("x = 1\n")
    assert not sources.have_changed()


def test_a_file_that_changes_comes_or_goes_is_a_change_once(folder: Path) -> None:
    sources = Sources(folder)
    say(folder, "Hello", "Hi")
    assert [sources.have_changed(), sources.have_changed()] == [True, False]
    (folder / "flows" / "more.py").write_text("")
    assert [sources.have_changed(), len(sources)] == [True, 2]
    (folder / "flows" / "more.py").unlink()
    assert [sources.have_changed(), len(sources)] == [True, 1]


# -- with a server ---------------------------------------------------------------------------------------------


def test_code_that_works_takes_the_place_of_what_ran_and_code_that_does_not_leaves_it(
    served: CommandLine, folder: Path
) -> None:
    line = CommandLine(folder, served.data)

    def said() -> Any:
        return line("run", "start", "dev-say", '"Ann"', "--output", "--json").json()["outputs"]["say"]

    with line.start("dev", "flows", "--delay", "100") as dev:
        lines = dev.reads("[dev] started")
        assert "Workflow created: dev-say (1 step)" in lines
        assert said() == '["Hello, Ann!", "true"]'
        told = [each for each in dev.reads("workflow.completed") if "step.completed" in each and " say " in each]
        assert told[0].split(maxsplit=4)[4] == '["Hello, Ann!", "true"]'

        say(folder, "import os", "imprt os")
        dev.reads("[dev] not restarted: what ran before goes on")
        assert dev.says_on_stderr("error").startswith(
            "error: importing flows.say failed: SyntaxError: invalid syntax ("
        )
        assert said() == '["Hello, Ann!", "true"]'

        say(folder, "@wf.step(", '@wf.step(timeout="7s", ')
        changed = dev.reads("[dev] restarted")
        assert "  + say.timeout 7s" in changed
        dev.signal(signal.SIGINT)
        ended = dev.ends()

    lines += [*changed, *ended.out.splitlines()]
    assert (ended.code, lines[-1]) == (0, "[dev] shutting down...")
    assert "Traceback" not in ended.err
    assert not list(folder.rglob("__pycache__"))
    entries: list[dict[str, Any]] = served("workers", "list", "--json").json()
    assert [each for each in entries if "dev.say" in each["task_types"]] == []
    plain, elsewhere = (each for each in examples() if each.line.startswith("dagnats dev"))
    assert differs(plain, "\n".join(lines)) == ""
    assert differs(elsewhere, "\n".join(lines).replace("in .", "in ./cmd/worker")) == ""


def test_a_server_is_started_where_none_answers_and_ends_with_the_rest(folder: Path) -> None:
    line = CommandLine(folder.parent, folder / "data", DAGNATS_NATS_PORT="0")
    with line.start("dev", "flows", "--dir", str(folder)) as dev:
        lines = dev.reads("[dev] building...")
        assert lines[0].startswith("[dev] server started: nats://127.0.0.1:")
        assert lines[1] == f"[dev] watching 1 file in {folder}"
        assert line("status").code == 0
        dev.signal(signal.SIGINT)
        assert dev.ends().code == 0
    assert line("status").code == 3


async def test_code_that_never_ends_to_be_imported_is_killed_and_given_up_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "stuck.py").write_text(
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    crew = Processes(["stuck.py"], environment("nats://127.0.0.1:1", "", ""), [], lambda code: None, stop_s=0.1)
    sources = Sources(tmp_path)
    replacing = asyncio.create_task(replaced(crew, sources, 0.05))

    async def is_stuck() -> bool:
        return (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text())

    await until(is_stuck)
    (tmp_path / "stuck.py").write_text("no = 1 +\n")
    assert await replacing is False
    await crew.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_process_ends_with_the_one_that_has_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "empty.py").write_text("")
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagnats.cli.recruit", str(theirs.fileno()), "--", "empty.py"),
            pass_fds=(theirs.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
    ours.close()
    _, said = await asyncio.wait_for(child.communicate(), 60)
    assert b"Traceback" not in said


# -- in memory -------------------------------------------------------------------------------------------------


def test_all_of_it_can_be_in_memory(folder: Path) -> None:
    line = CommandLine(folder, folder / "data", DAGNATS_HTTP_TOKENS="true")

    def said(url: str) -> Any:
        body = json.dumps({"workflow": "dev-say", "input": "Ann"}).encode()
        asked = urllib.request.Request(f"{url}/v1/runs?wait=30s", body, {"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["output"]

    with line.start("dev", "flows/say.py", "--memory", "--delay=100", "--json") as dev:
        begun = [json.loads(each) for each in dev.reads('"started"')]
        url = begun[0]["dev"].rpartition(" ")[2]
        (token,) = re.findall("Bearer (dagnats_[0-9a-f_]+)'", begun[1]["dev"])  # nobody else could make one
        assert said(url) == ["Hello, Ann!", "true"]
        assert [json.loads(each)["type"] for each in dev.reads("workflow.completed")] == [
            "workflow.started", "step.completed", "workflow.completed"
        ]  # fmt: skip
        say(folder, "wf = ", "wf = None.no\nwf = ")
        dev.reads("not restarted")
        assert said(url) == ["Hello, Ann!", "true"]
        say(folder, "Hello", "Hi")
        dev.reads("restarted")
        assert said(url) == ["Hi, Ann!", "true"]
        dev.signal(signal.SIGINT)
        assert dev.ends().code == 0
    assert not (folder / "data").exists()
    assert not list(folder.rglob("__pycache__"))


def test_a_folder_that_is_none_is_refused(offline: CommandLine) -> None:
    refused = offline("dev", "--dir", "nowhere")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: --dir 'nowhere' is no folder")
    assert offline("dev", "--delay=50").code == 2
    assert offline("dev", "--server", "nats://127.0.0.1:1").code == 3
    two = offline("dev", "--memory", "--server", "nats://127.0.0.1:1")
    assert (two.code, two.err.splitlines()[0]) == (2, "error: --memory and --server say two things")
