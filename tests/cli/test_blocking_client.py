"""The client whose calls wait, over NATS and over HTTP, from one thread and from several."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dagnats import Client, ConflictError, DagnatsError, NotFoundError, ResultTimeout, UnavailableError
from examples import script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine


@pytest.fixture(scope="module", params=["nats", "http"])
def client(request: pytest.FixtureRequest, served: CommandLine) -> Iterator[Client]:
    url = served.http if request.param == "http" else ""
    with Client(url, data_dir=served.data) as client:
        yield client


def test_a_run_is_started_followed_and_waited_for(client: Client) -> None:
    run = client.start("hello-pipeline", "Ann", labels={"by": "script"})
    assert run.result(str, timeout="50s") == "!NNA ,OLLEH"
    assert [event.type for event in run.events()] == [event.type for event in run.history()]
    assert run.wait().status == client.find(run.run_id).view().status == "completed"
    assert list(run.stream("greet")) == []
    assert repr(run) == f"<run {run.run_id}>"
    for event in run.events():  # whoever stops early leaves nothing behind
        assert event.type == "workflow.started"
        break
    assert client.run("hello-pipeline", "Bob") == "!BOB ,OLLEH"


def test_the_script_of_the_page_prints_what_came_of_its_run(
    served: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGNATS_DATA_DIR", str(served.data))
    monkeypatch.delenv("DAGNATS_URL", raising=False)
    script.main("Ada")
    told = capsys.readouterr().out.splitlines()
    assert (told[0], told[-2:]) == ("workflow.started ", ["workflow.completed ", "!ADA ,OLLEH"])


def test_its_errors_are_those_of_the_client_it_is_made_of(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no workflow 'hello-pipelin'") as unknown:
        client.start("hello-pipelin")
    assert unknown.value.hint == "did you mean 'hello-pipeline'?"
    with pytest.raises(NotFoundError):
        client.handle("a b")
    run = client.start("waiting")
    with pytest.raises(ResultTimeout):
        run.result(timeout="1ms")
    run.cancel("enough")
    with pytest.raises(ConflictError):
        run.cancel()
    again = run.retry()
    assert again.view().retry_of == run.run_id
    again.cancel()


def test_many_threads_may_use_it_at_once(client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(client.run, ["hello-pipeline"] * 8, [f"n{at}" for at in range(8)]))
    assert sorted(names) == sorted(f"!{at}N ,OLLEH" for at in range(8))


def test_its_calls_say_what_the_others_say_of_them() -> None:
    assert (Client.runs.__doc__ or "").startswith("The newest runs that fit, newest first.")
    assert (Client.start.__doc__ or "").startswith("Start a run.")


async def test_where_an_event_loop_runs_it_refuses_to_stop_it(client: Client) -> None:
    with pytest.raises(DagnatsError, match="would stop the event loop that runs here") as refused:
        client.status()
    assert refused.value.hint == "in `async` code use dagnats.connect or dagnats.connect_http"
    assert (await asyncio.to_thread(client.status)).streams > 0


def test_closing_ends_what_another_thread_waits_for(served: CommandLine) -> None:
    client, told = Client(data_dir=served.data), list[BaseException]()
    run, begun = client.start("waiting"), threading.Event()

    def wait() -> None:
        try:
            for _ in run.events():
                begun.set()
        except DagnatsError as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(50)
    client.close()
    thread.join(50)
    assert str(told[0]) in ("the client was closed meanwhile", "the client is closed")
    client.close()
    with pytest.raises(DagnatsError, match="the client is closed"):
        client.status()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_another_process_opens_its_own(served: CommandLine) -> None:
    with Client(served.http) as client:
        child = os.fork()
        if not child:
            try:
                client.status()
            except DagnatsError as error:
                os._exit(0 if "opened by another process" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nobody_there_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(UnavailableError):
        Client("http://127.0.0.1:1")
    assert threading.active_count() <= before
