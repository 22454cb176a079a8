"""The embedded server: its lock, its token, its port, and that it never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dagnats.errors import ConflictError, DagnatsError, UnavailableError
from dagnats.runtime import embedded
from dagnats.runtime.embedded import EmbeddedServer, ServerOptions
from dagnats.runtime.jetstream.adapter import JetStream
from tests.support.processes import ROOT, until


async def test_it_says_how_much_it_stores_which_is_three_quarters_of_the_disk_unless_somebody_says(
    tmp_path: Path,
) -> None:
    async with EmbeddedServer(tmp_path, port=0) as server:
        assert 0 < server.most_bytes <= shutil.disk_usage(tmp_path).total * 3 // 4
        assert f"max_file_store: {server.most_bytes}\n" in (tmp_path / "nats.conf").read_text()
    async with EmbeddedServer(tmp_path, port=0, options=ServerOptions(max_store_bytes=2_000_000)) as server:
        assert server.most_bytes == 2_000_000


async def test_it_takes_clients_that_have_the_token_and_refuses_others(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, port=0) as server:
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            await jetstream.ports.server.prepare()
            assert (await jetstream.ports.server.overview()).jetstream
        with pytest.raises(UnavailableError, match="Authorization Violation"):
            await JetStream.connect(server.url, token="wrong")


async def test_a_second_server_on_the_same_folder_is_refused_and_says_where(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, port=0):
        with pytest.raises(ConflictError) as refused:
            await EmbeddedServer(tmp_path, port=0).start()
        assert f"another server already runs on {tmp_path}" in str(refused.value)
        assert "DAGNATS_DATA_DIR" in refused.value.hint


async def test_the_folder_is_free_again_after_a_stop(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, port=0):
        pass
    async with EmbeddedServer(tmp_path, port=0) as again:
        assert again.pid


async def test_what_was_written_is_there_after_a_restart_under_the_same_token_and_port(tmp_path: Path) -> None:
    # Port 4222 may be free on this machine, in which case both take it: the same port either way.
    async with EmbeddedServer(tmp_path) as server:
        first = server.url, server.token
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            await jetstream.ports.server.prepare()
            await jetstream.ports.snapshots.save("r1", b"{}", revision=0)
    async with EmbeddedServer(tmp_path) as server:
        assert (server.url, server.token) == first
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            stored = await jetstream.ports.snapshots.load("r1")
            assert stored is not None
            assert stored.data == b"{}"


async def test_an_explicit_port_that_is_busy_is_refused(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "one", port=0) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConflictError, match=f"port {port} is in use"):
            await EmbeddedServer(tmp_path / "two", port=port).start()


async def test_its_secrets_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, port=0) as server:
        assert server.token
        for name in ("token", "nats.conf"):
            mode = stat.S_IMODE((tmp_path / name).stat().st_mode)
            assert mode == 0o600, f"{name} has mode {mode:o}"


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("a file where the store should be")
    with pytest.raises(UnavailableError, match="nats-server ended at once"):
        await EmbeddedServer(tmp_path, port=0).start()


def test_without_a_binary_the_message_says_how_to_name_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded.sysconfig, "get_path", str.upper)  # a folder that does not exist
    monkeypatch.setattr(embedded.sys, "executable", "/nonexistent/python")
    with pytest.raises(DagnatsError) as missing:
        embedded.find_binary()
    assert "no nats-server" in str(missing.value)
    assert "DAGNATS_URL" in missing.value.hint


_PARENT = """
import asyncio, sys
from pathlib import Path
from dagnats.runtime.embedded import EmbeddedServer, ServerOptions

async def main():
    async with EmbeddedServer(Path(sys.argv[1]), port=0) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220  # what is tested needs a plain parent
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()

        async def gone() -> bool:
            return not Path(f"/proc/{child}").exists()

        await until(gone, within_s=10, what="the server's end")
    async with EmbeddedServer(tmp_path, port=0) as again:  # the lock went with it
        assert again.pid != child


async def test_the_guard_stops_the_server_where_the_kernel_does_not(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220  # something to stop
    guard = embedded._guard(sleeper.pid)  # pyright: ignore[reportPrivateUsage]  # only other systems start one
    assert guard.stdin is not None
    guard.stdin.close()
    assert await asyncio.to_thread(sleeper.wait, 10) == -signal.SIGTERM
    assert await asyncio.to_thread(guard.wait, 10) == 0
