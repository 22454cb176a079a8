"""A run's history out of one installation and into another, where it can be looked at and nothing is carried out."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import ConflictError, DagnatsError, NotFoundError, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.client.imported import imported_ids, imported_run, remove, take_in
from dagnats.client.portable import Document, encode_document, exported, read_document
from dagnats.client.rehearsal import rehearse
from dagnats.errors import RefusedError
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker
from tests.support import mortal as mortality
from tests.support.mortal import Fate, Killed, mortal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LARGE = "x" * 300_000


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@handler("portable.swell")
async def swell(_: Any) -> str:
    return LARGE


class House:
    """An installation."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self.ports = self.client.connection.ports

    def open(self) -> House:
        """With an engine and a worker."""
        for name in ("engine", "worker"):
            process = Process(virtual_loop(), name)
            memory = process.run(self.server.connect)
            engine = Engine(memory.ports, memory.feeds)
            process.spawn(engine.run() if name == "engine" else Worker(AsyncClient(memory), [swell]).run())
        return self

    async def begin(self) -> House:
        """Runs of every kind: one that completes, with a child and large outputs; one that waits."""
        below, above, waits = Workflow("below"), Workflow("above"), Workflow("waits")
        below.task("only", swell)
        above.sub_workflow("child", "below").after(above.task("first", swell))
        waits.task("work", "nobody.serves.this")
        await self.client.register_all([below.build(), above.build(), waits.build()])
        await (await self.client.start("above", run_id="above-1")).result(timeout="1m")
        await self.client.start("waits", run_id="waiting-1")
        await asyncio.sleep(1)
        return self

    async def document(self, run_id: str, *, children: bool = False) -> Document:
        document = await exported(self.ports, run_id, children=children)
        return read_document(encode_document(document), name="file")


def test_an_imported_run_is_seen_as_it_was_seen_where_it_ran() -> None:
    async def main() -> None:
        there, here = await House().open().begin(), House().open()
        document = await there.document("above-1", children=True)
        assert document.runs[0].run_id == "above-1"
        assert len(document.runs) == 2

        taken = await take_in(here.ports, document)

        assert [each.action for each in taken] == ["imported", "imported"]
        for run_id in (each.run_id for each in document.runs):
            mine, theirs = await here.client.find(run_id), there.client.handle(run_id)
            assert await mine.view() == await theirs.view()
            assert await mine.history() == await theirs.history()
            assert await mine.result() == LARGE
            assert (await rehearse(mine.ports, run_id)).is_same

    run(main())


def test_nothing_of_an_imported_run_is_carried_out() -> None:
    async def main() -> None:
        there, here = await House().open().begin(), House().open()
        await take_in(here.ports, await there.document("waiting-1"))
        await asyncio.sleep(60)

        handle = await here.client.find("waiting-1")
        assert (await handle.view()).status == "running"
        assert (await here.ports.log.run_ids(), await here.client.runs(), len(here.server.tasks)) == ([], [], 0)
        for order in (handle.cancel, lambda: handle.signal("go"), handle.retry, lambda: handle.fork("work")):
            with pytest.raises(RefusedError, match="was imported"):
                await order()
        with pytest.raises(ConflictError, match="before it had ended"):
            await handle.result()
        assert [event.type async for event in handle.events()] == ["workflow.started"]
        assert await here.ports.log.run_ids() == []

    run(main())


def test_a_run_is_imported_once_and_never_over_another_one() -> None:
    async def main() -> None:
        there, here = await House().open().begin(), House()
        document = await there.document("waiting-1")
        with pytest.raises(ConflictError, match="one of this installation's"):
            await take_in(there.ports, document)
        await take_in(here.ports, document)
        assert [each.action for each in await take_in(here.ports, document)] == ["unchanged"]

        await there.client.handle("waiting-1").cancel()
        await asyncio.sleep(1)
        later = await there.document("waiting-1")
        with pytest.raises(ConflictError, match="another run waiting-1 was imported"):
            await take_in(here.ports, later)
        with pytest.raises(NotFoundError):
            await remove(here.ports, ">")
        await remove(here.ports, "waiting-1")
        with pytest.raises(NotFoundError):
            await here.client.find("waiting-1")
        await take_in(here.ports, later)
        assert (await (await here.client.find("waiting-1")).view()).status == "cancelled"

    run(main())


def test_an_import_that_was_killed_anywhere_is_completed_by_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mortality, "WRITES", {"imports": {"put"}})

    async def main() -> None:
        there = await House().open().begin()
        document = await there.document("above-1", children=True)
        for boundary in [(f"imports.put:{when}", at) for when in ("sent", "stored") for at in range(1, 5)]:
            here = House()
            doomed = mortal(here.ports, Fate(boundary))
            with pytest.raises(Killed):
                await take_in(doomed, document)
            for run_id in await imported_ids(here.ports):
                half = await imported_run(here.ports, run_id)
                assert half is None or (await half.view()).status == "completed", boundary
            await take_in(here.ports, document)
            assert (await (await here.client.find("above-1")).view()).status == "completed"

    run(main())


def _seen(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["runs"][0].update(changes)


def _swap(document: dict[str, Any]) -> None:
    document["runs"][0]["history"].reverse()


def _strange_event(document: dict[str, Any]) -> None:
    document["runs"][0]["history"][1]["event"] = {"type": "no.such"}


def _other_definition(document: dict[str, Any]) -> None:
    document["runs"][0]["definition"]["steps"][0]["task"] = "another.one"


def _other_blob(document: dict[str, Any]) -> None:
    document["runs"][0]["blobs"][0]["base64"] = "AAAA"


def _of(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(changes)


def _twice(document: dict[str, Any]) -> None:
    document["runs"] *= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_seen(run_id="a b"), "cannot name a run"),
        (_seen(run_id="another"), "its history is not its own"),
        (_seen(def_hash="0"), "its start is of above@"),
        (_seen(history=[]), "its history is not its own"),
        (_seen(history=1), "is damaged: "),
        (_swap, "its events are not in order"),
        (_strange_event, "it has what is no event"),
        (_other_definition, "its definition is another one"),
        (_other_blob, "has another hash"),
        (_twice, "it holds a run twice"),
        (_of(format="dagnats.run/2"), "is of format 'dagnats.run/2'; this version reads"),
        (_of(format=None), "holds no exported run"),
        (_of(runs=[]), "holds no run"),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, whole: bytes
) -> None:
    document = json.loads(whole)
    change(document)
    with pytest.raises(DagnatsError, match=said):
        read_document(json.dumps(document).encode(), name="file")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(DagnatsError, match=r"file (is not JSON|holds no exported run)"):
        read_document(data, name="file")


def test_a_document_that_another_program_has_written_anew_is_the_same(whole: bytes) -> None:
    first, second = (
        read_document(data, name="file") for data in (whole, json.dumps(json.loads(whole), indent=2).encode())
    )
    assert first == second


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A document."""
    found: list[bytes] = []

    async def main() -> None:
        found.append(encode_document(await exported((await House().open().begin()).ports, "above-1")))

    run(main())
    return found[0]
