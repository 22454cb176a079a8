"""A command as a worker: what it gets, what its end means, and that nothing of it stays. Real processes, by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import uvloop

from dagnats.config.worker import WorkerSettings
from dagnats.errors import Abort, Retry
from dagnats.handling.context import Stop, TaskContext
from dagnats.model.task import Task
from dagnats.runtime.foreign.command import CommandFailed
from dagnats.runtime.foreign.handler import AttemptTimeout, foreign_handlers
from dagnats.runtime.foreign.process import run_command
from dagnats.runtime.invocation import AttemptFailed, invoke
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CONTEXT = TaskContext("run-1", "step-1", "wf", "lint", attempt=3, worker_id="w")


async def outcome(*exec: str, data: bytes = b"null", **settings: Any) -> Any:
    """The output of one attempt, as JSON reads."""
    worker = WorkerSettings(exec=exec, **settings)
    (handler,) = foreign_handlers({"lint": worker})
    return msgspec.json.decode(await handler(msgspec.Raw(data), CONTEXT))


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def has_ended(pid: int) -> bool:
    try:
        # A killed grandchild has nobody here who takes note of its end.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def gone(pid: int) -> bool:
    return has_ended(pid)


# -- what goes in and comes out --------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_the_input_is_on_stdin_and_what_is_printed_is_the_output(
    loop: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    large = msgspec.json.encode("x" * 1_000_000)
    assert loop(outcome("cat", data=b'{"a": [1, 2.50]}')) == {"a": [1, 2.5]}
    assert loop(outcome("cat", data=large)) == "x" * 1_000_000
    assert loop(outcome("true", data=large)) is None  # it never reads


@pytest.mark.parametrize(
    ("printed", "output"),
    [
        ("", None),
        (" \n", None),
        ('{"a": 1}\n', {"a": 1}),
        ("12\n", 12),
        ("two words\n", "two words"),
        ("two\nlines\n", "two\nlines"),
        ("{not json", "{not json"),
        ("NaN", "NaN"),
        ('"text"', "text"),
    ],
)
async def test_json_stays_what_it_is_and_other_text_is_a_string(printed: str, output: Any) -> None:
    assert await outcome("printf", "%s", printed) == output


@pytest.mark.parametrize(
    ("exec", "said"),
    [
        (python("import os; os.write(1, b'\\xff')"), "neither JSON nor UTF-8 text"),
        (python("print('[' * 600 + ']' * 600)"), "nested deeper than 500 levels"),
    ],
)
async def test_what_can_be_no_output_fails_for_good(exec: tuple[str, ...], said: str) -> None:
    with pytest.raises(Abort, match=said):
        await outcome(*exec)


async def test_there_is_no_shell() -> None:
    assert await outcome("echo", "$HOME; echo *") == "$HOME; echo *"


async def test_a_command_gets_the_ids_and_of_our_environment_only_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGNATS_TOKEN", "s3cr3t")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("RUFF_CACHE_DIR", "/cache")
    seen = await outcome(
        *python("import json, os; print(json.dumps(dict(os.environ)))"), env=["RUFF_CACHE_DIR", "NOPE"]
    )
    assert "s3cr3t" not in seen.values()
    assert {name: seen[name] for name in seen if name.startswith(("DAGNATS_", "RUFF_"))} == {
        "DAGNATS_RUN_ID": "run-1",
        "DAGNATS_STEP_ID": "step-1",
        "DAGNATS_ATTEMPT": "3",
        "DAGNATS_RETRY_COUNT": "2",
        "RUFF_CACHE_DIR": "/cache",
    }
    assert seen["PATH"] == os.environ["PATH"]


async def test_a_command_runs_in_its_folder(tmp_path: Path) -> None:
    assert await outcome("pwd", cwd=str(tmp_path)) == str(tmp_path)


# -- how it ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [64, 65, 77, 78])
async def test_some_codes_say_that_trying_again_cannot_help(code: int) -> None:
    with pytest.raises(Abort, match=f"'sh' exited with {code}: no such order"):
        await outcome("sh", "-c", f"echo no such order >&2; exit {code}")


@pytest.mark.parametrize(
    ("said", "after_s"), [("", 10), ("retry-after: 30", 30), ("Retry-After: 2m", 120), ("retry-after: soon", 10)]
)
async def test_one_code_asks_to_be_tried_again_later(said: str, after_s: float) -> None:
    with pytest.raises(Retry) as asked:
        await outcome("sh", "-c", f"echo '{said}' >&2; exit 75")
    assert asked.value.after == timedelta(seconds=after_s)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "'sh' exited with 1"),
        ("echo why >&2; exit 2", "'sh' exited with 2: why"),
        ("kill -KILL $$", "'sh' was ended by SIGKILL"),
    ],
)
async def test_every_other_end_is_a_failure_like_any(script: str, said: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        await outcome("sh", "-c", script)
    assert str(failed.value) == said


async def test_a_steps_error_says_what_happened_and_not_what_we_call_it() -> None:
    (handler,) = foreign_handlers({"lint": WorkerSettings(exec=("sh", "-c", "echo why >&2; exit 2"))})
    with pytest.raises(AttemptFailed) as failed:
        await invoke(handler, Task(run_id="r", step_id="s"), Stop(), "w", ThreadPoolExecutor(1))
    assert failed.value.failure.error == "'sh' exited with 2: why"


async def test_of_what_is_said_on_stderr_the_end_is_in_the_error() -> None:
    with pytest.raises(CommandFailed) as failed:
        await outcome(*python("import sys; sys.exit('x' * 100_000 + 'the end')"))
    assert str(failed.value).endswith("the end")
    assert len(str(failed.value)) < 2_200


async def test_a_program_or_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="'no-such-program' cannot be started: No such file"):
        await outcome("no-such-program")
    with pytest.raises(CommandFailed, match=f"'true' cannot be started in '{tmp_path}/nope'"):
        await outcome("true", cwd=f"{tmp_path}/nope")


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_a_command_that_prints_without_end_is_ended(loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    with pytest.raises(Abort, match="'yes' printed more than 1000 bytes"):
        loop(outcome("yes", max_output_bytes=1_000))


# -- nothing stays ---------------------------------------------------------------------------------------------

# A command with a child, both of which say who they are and ignore SIGTERM when they are told to.
_FAMILY = """
import os, signal, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(600)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()} {os.getpgid(0)}\\n")
time.sleep(600)
"""


async def members(file: Path) -> tuple[int, list[int]]:
    """The command's pid, and those of its group."""

    async def there() -> bool:
        return file.exists() and file.read_text().endswith("\n")

    await until(there, what="the command's pid")
    pid = int(file.read_text().split()[0])
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _group(entry) == pid]
    return pid, found


def _group(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:
        return 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("hearing", ["hears", "deaf"])
@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_a_cancelled_command_is_gone_with_its_children(
    loop: Callable[[Coroutine[Any, Any, Any]], Any], hearing: str, tmp_path: Path
) -> None:
    async def cancelled() -> list[int]:
        argv = [*python(_FAMILY), str(tmp_path / "pids"), hearing]
        running = asyncio.create_task(
            run_command(argv, data=b"", env=dict(os.environ), cwd="", max_output_bytes=10, stop_s=0.3)
        )
        pid, family = await members(tmp_path / "pids")
        assert pid in family
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        for member in family:
            await until(lambda member=member: gone(member), what=f"the end of {member}")
        return family

    assert len(loop(cancelled())) == 2


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_a_command_that_is_cancelled_while_it_begins_is_gone_with_its_children(
    loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path
) -> None:
    async def cancelled() -> int:
        argv = ["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait"]
        running = asyncio.create_task(
            run_command(argv, data=b"", env=dict(os.environ), cwd="", max_output_bytes=10, stop_s=0.3)
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the child is there; that its pipes are as well, the loop has not heard
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)  # noqa: ASYNC251  # so that it does not hear of it now
        running.cancel()
        async with asyncio.timeout(30):
            with contextlib.suppress(asyncio.CancelledError):
                await running
        pid = int((tmp_path / "pid").read_text())
        await until(lambda: gone(pid), what="the end of the command's child")
        return pid

    assert loop(cancelled())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_command_whose_time_is_over_is_gone(tmp_path: Path) -> None:
    attempt = asyncio.create_task(outcome(*python(_FAMILY), str(tmp_path / "pids"), "hears", timeout="3s"))
    _, family = await members(tmp_path / "pids")
    with pytest.raises(AttemptTimeout, match="no result within the worker's timeout of 3s"):
        await attempt
    for member in family:
        await until(lambda member=member: gone(member), what=f"the end of {member}")


async def test_what_a_command_leaves_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        assert await outcome("sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; echo done") == "done"
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: gone(pid), what="the end of what was left behind")
