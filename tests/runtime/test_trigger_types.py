"""Trigger types that workers provide: registered, caught up with, activated and deactivated live, taken over."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import ConflictError, Debounce, DefinitionError, Fire, NotFoundError, Worker, Workflow, trigger_type
from dagnats.client import AsyncClient
from dagnats.handling.trigger_type import TriggerType
from dagnats.model.trigger_type import External, TriggerEntry, TriggerTypeEntry, decode, encode
from dagnats.model.worker import WorkerEntry, encode_worker
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.client import RunHandle

FOLDER = {"folder": "/in"}


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


class Folder(msgspec.Struct):
    folder: str
    every_s: float = 1.0


class Watched:
    """Folders, and who watches them: a trigger type to be tested."""

    def __init__(self) -> None:
        self.now: dict[str, list[tuple[str, Folder]]] = {}
        """By the version that watches: each trigger, and what it was told."""
        self.begun: Counter[str] = Counter()
        self.fire: dict[str, Fire] = {}
        self.break_off = asyncio.Event()

    def type(self, version: str = "1") -> TriggerType[Folder]:
        @trigger_type("files", version=version, config=Folder)
        async def files(config: Folder, fire: Fire) -> None:
            there = (fire.trigger_id, config)
            self.now.setdefault(version, []).append(there)
            self.begun[fire.trigger_id] += 1
            self.fire[fire.trigger_id] = fire
            try:
                await self.break_off.wait()
                raise OSError("the disk is gone")
            finally:
                self.now[version].remove(there)

        return files

    def of(self, version: str = "1") -> list[str]:
        return sorted(id for id, _ in self.now.get(version, []))


class Site:
    """A server in memory, an engine, a client, and workers that can be killed."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self.ports = self.client.connection.ports
        self.watched = Watched()

    def engine(self) -> None:
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run(alone=True))

    def worker(self, worker_id: str, *types: TriggerType[Any]) -> tuple[Process, Worker, asyncio.Task[None]]:
        process = Process(virtual_loop(), worker_id)
        client = AsyncClient(process.run(self.server.connect))
        worker = Worker(client, [], worker_id=worker_id, trigger_types=types)
        return process, worker, process.spawn(worker.run())

    async def register(self, name: str = "ingest", *triggers: tuple[str, dict[str, Any]]) -> None:
        workflow = Workflow(name)
        workflow.task("take", "files.take")
        for id, config in triggers:
            workflow.on_external("files", config, id=id)
        await self.client.register(workflow)

    async def kept(self) -> list[str]:
        return sorted(await self.ports.triggers.all())

    async def known(self, name: str = "files") -> TriggerTypeEntry:
        stored = await self.ports.trigger_types.get(name)
        assert stored is not None
        return decode(stored.data, TriggerTypeEntry)

    async def input(self, run_id: str) -> Any:
        handle: RunHandle = self.client.handle(run_id)
        return (await handle.view()).input


def test_triggers_that_were_there_first_are_active_once_a_worker_provides_their_type() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", FOLDER), ("other", {"folder": "/etc", "every_s": 2}))
        assert await site.kept() == ["inbox", "other"]
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        assert site.watched.now["1"] == [("inbox", Folder("/in")), ("other", Folder("/etc", 2))]
        known = await site.known()
        assert (known.owner_worker_id, known.version, known.leased) == ("w-1", "1", True)
        assert known.config_schema["$defs"]["Folder"]["required"] == ["folder"]

    run(body())


def test_a_worker_catches_up_with_more_triggers_than_a_page_holds() -> None:
    async def body() -> None:
        site = Site()
        external = External(kind="files", config=FOLDER)
        for at in range(1_100):
            entry = TriggerEntry(id=f"t-{at}", workflow_id="ingest", source="by hand", external=external)
            await site.ports.triggers.put(entry.id, encode(entry), revision=0)
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        assert len(site.watched.of()) == 1_100

    run(body())


def test_triggers_are_activated_changed_and_deactivated_while_their_worker_runs() -> None:
    async def body() -> None:
        site = Site()
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        await site.register("ingest", ("inbox", FOLDER), ("other", FOLDER))
        assert site.watched.of() == ["inbox", "other"], "registering has waited for them"
        await site.register("ingest", ("inbox", {"folder": "/new"}), ("other", FOLDER))
        assert ("inbox", Folder("/new")) in site.watched.now["1"]
        assert site.watched.begun == {"inbox": 2, "other": 1}, "what has not changed goes on"
        await site.register("ingest", ("inbox", {"folder": "/new"}))
        assert (site.watched.of(), await site.kept()) == (["inbox"], ["inbox"])
        await site.client.delete_workflow("ingest")
        assert (site.watched.of(), await site.kept()) == ([], [])

    run(body())


def test_a_trigger_that_is_not_enabled_is_not_active() -> None:
    async def body() -> None:
        site = Site()
        site.worker("w-1", site.watched.type())
        workflow = Workflow("ingest")
        workflow.task("take", "files.take")
        await site.client.register(workflow.on_external("files", FOLDER, id="inbox", enabled=False))
        await asyncio.sleep(1)
        assert (site.watched.of(), await site.kept()) == ([], ["inbox"])

    run(body())


def test_a_trigger_that_nobody_would_debounce_is_refused_and_kept_without_it() -> None:
    async def body() -> None:
        site = Site()
        workflow = Workflow("ingest")
        workflow.task("take", "files.take")
        workflow.on_external("files", FOLDER, id="inbox", debounce=Debounce("5s"))
        with pytest.raises(DefinitionError) as raised:
            await site.client.register(workflow)
        (problem,) = raised.value.problems
        assert (problem.path, problem.rule) == ("triggers[0].debounce", "debounce")
        assert problem.message == "inbox cannot be debounced: each time its trigger type fires, a run starts"
        assert problem.hint == "leave `debounce` out, and let trigger type 'files' fire once when it is quiet"
        assert await site.kept() == []
        await site.register("ingest", ("inbox", FOLDER))
        assert await site.kept() == ["inbox"]

    run(body())


def test_what_fires_starts_a_run_with_the_envelope_once_for_each_key() -> None:
    async def body() -> None:
        site = Site()
        site.engine()
        site.worker("w-1", site.watched.type())
        await site.register("ingest", ("inbox", FOLDER))
        await asyncio.sleep(1)
        fire = site.watched.fire["inbox"]
        first = await fire({"path": "/in/a"}, key="/in/a")
        given = await site.input(first)
        assert given.pop("timestamp").endswith("Z")
        assert given == {
            "trigger": "external",
            "source": "inbox",
            "workflow_id": "ingest",
            "data": {"path": "/in/a"},
        }
        await asyncio.sleep(1)
        assert await fire({"path": "/in/a"}, key="/in/a") == first
        others = {await fire({"path": "/in/b"}, key="/in/b"), await fire(1), await fire(1)}
        assert len({first, *others}) == 4
        with pytest.raises(ValueError, match="an empty key is no key"):
            await fire(1, key="")

    run(body())


def test_a_trigger_that_is_active_no_more_does_not_fire() -> None:
    async def body() -> None:
        site = Site()
        site.worker("w-1", site.watched.type())
        await site.register("ingest", ("inbox", FOLDER))
        await asyncio.sleep(1)
        fire = site.watched.fire["inbox"]
        await site.register("ingest")
        with pytest.raises(ConflictError, match="trigger 'inbox' is not active here any more"):
            await fire(1)

    run(body())


def test_a_trigger_that_does_not_end_well_is_not_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        site, begun = Site(), Counter[str]()

        @trigger_type("files", version="1", config=Folder)
        async def files(config: Folder, fire: Fire) -> None:
            begun[fire.trigger_id] += 1
            try:
                await asyncio.Event().wait()
            finally:
                if fire.trigger_id == "stubborn":
                    await asyncio.sleep(3600)
                raise OSError("nothing can be put away")

        site.worker("w-1", files)
        await site.register("ingest", ("stubborn", FOLDER), ("clumsy", FOLDER))
        await asyncio.sleep(1)
        await site.register("ingest")
        await asyncio.sleep(7200)
        assert begun == {"stubborn": 1, "clumsy": 1}
        assert "trigger clumsy" in caplog.text
        assert "did not end within 10 s of being cancelled, and is left alone" in caplog.text

    run(body())


def test_a_trigger_that_fails_begins_anew_ever_more_rarely_and_is_shown() -> None:
    async def body() -> None:
        site = Site()
        site.worker("w-1", site.watched.type())
        await site.register("ingest", ("inbox", FOLDER))
        await asyncio.sleep(0.5)
        site.watched.break_off.set()
        await asyncio.sleep(8)  # at once, and after 1, 2 and 4 s
        assert site.watched.begun["inbox"] == 4
        assert (await site.known()).failing == {"inbox": "OSError: the disk is gone"}
        site.watched.break_off.clear()
        await asyncio.sleep(100)
        assert site.watched.begun["inbox"] == 5
        assert (await site.known()).failing == {}

    run(body())


def test_a_configuration_that_does_not_fit_is_refused_with_everything_else_and_nothing_is_stored() -> None:
    async def body() -> None:
        site = Site()
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        await site.register("taken", ("inbox", FOLDER))
        with pytest.raises(DefinitionError) as refused:
            await site.register("ingest", ("one", {}), ("two", {"folder": 5, "every_s": "x"}), ("inbox", FOLDER))
        assert [(each.path, each.rule) for each in refused.value.problems] == [
            ("triggers[0].external.config", "trigger-config"),
            ("triggers[1].external.config.every_s", "trigger-config"),
            ("triggers[1].external.config.folder", "trigger-config"),
            ("triggers[2].id", "duplicate-trigger"),
        ]
        assert "trigger type 'files' does not take this: 'folder' is a required property" in str(refused.value)
        with pytest.raises(NotFoundError):
            await site.client.workflow("ingest")
        assert await site.kept() == ["inbox"]

    run(body())


def test_an_id_belongs_to_one_workflow_of_those_that_are_registered_together() -> None:
    async def body() -> None:
        site = Site()
        await site.register("first", ("inbox", FOLDER))
        both = [Workflow("second"), Workflow("third")]
        for workflow in both:
            workflow.task("take", "files.take")
        moved, twice = both[0].on_external("files", FOLDER, id="inbox"), both[1].on_external("files", FOLDER, id="new")
        with pytest.raises(DefinitionError, match="inbox is a trigger of workflow 'first'"):
            await site.client.register_all([moved.build(), twice.build()])
        other = Workflow("fourth").on_external("files", FOLDER, id="new")
        other.task("take", "files.take")
        with pytest.raises(DefinitionError, match="new is a trigger of workflow 'third'"):
            await site.client.register_all([twice.build(), other.build()])
        assert await site.kept() == ["inbox"]

    run(body())


def test_a_configuration_that_was_registered_before_its_type_and_does_not_fit_is_shown() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", {}), ("other", FOLDER))
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        assert site.watched.of() == ["other"]
        assert "folder" in (await site.known()).failing["inbox"]

    run(body())


def test_another_version_is_refused_while_triggers_of_the_type_are_registered() -> None:
    async def body() -> None:
        site = Site()
        _, first, done = site.worker("w-1", site.watched.type())
        await site.register("ingest", ("inbox", FOLDER))
        await asyncio.sleep(1)
        first.stop()
        await done
        _, _, refused = site.worker("w-2", site.watched.type("2"))
        with pytest.raises(ConflictError, match=r"cannot become '2' .*: 'inbox' of workflow 'ingest'"):
            await refused
        await site.register("ingest")
        site.worker("w-3", site.watched.type("2"))
        await asyncio.sleep(1)
        assert (await site.known()).version == "2"

    run(body())


def test_one_worker_at_a_time_runs_the_triggers_and_another_takes_over_from_one_that_is_killed() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", FOLDER))
        lost, spare = site.watched, Watched()
        killed, _, _ = site.worker("w-1", lost.type())
        await asyncio.sleep(1)
        site.worker("w-2", spare.type())
        await asyncio.sleep(60)
        assert (lost.of(), spare.of()) == (["inbox"], [])
        first = await lost.fire["inbox"]("a", key="a")
        killed.kill()
        await asyncio.sleep(20)
        assert spare.of() == ["inbox"]
        assert (await site.known()).owner_worker_id == "w-2"
        assert await spare.fire["inbox"]("a", key="a") == first, "the key was fired by the other one"

    run(body())


def test_a_worker_that_stops_hands_its_triggers_over_at_once() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", FOLDER))
        spare = Watched()
        _, first, _ = site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        site.worker("w-2", spare.type())
        await asyncio.sleep(1)
        first.stop()
        await asyncio.sleep(0.5)
        assert (site.watched.of(), spare.of()) == ([], ["inbox"])

    run(body())


def test_a_worker_that_was_frozen_fires_nothing_that_another_one_watches() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", FOLDER))
        spare = Watched()
        frozen, _, _ = site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        second, _, _ = site.worker("w-2", spare.type())
        frozen.freeze()
        await asyncio.sleep(30)
        assert spare.of() == ["inbox"]
        late = frozen.spawn(site.watched.fire["inbox"]("late"))
        frozen.thaw()
        await asyncio.sleep(30)
        assert site.watched.of() == []
        assert not late.done() or late.exception() is not None
        assert await site.ports.log.last() == 0
        second.kill()
        await asyncio.sleep(30)
        assert site.watched.of() == ["inbox"], "it stands by from then on"

    run(body())


def test_triggers_whose_registration_was_broken_off_are_mended_by_whoever_takes_over() -> None:
    async def body() -> None:
        site = Site()
        await site.register("ingest", ("inbox", FOLDER))
        stored = await site.ports.triggers.get("inbox")
        assert stored is not None
        await site.ports.triggers.remove("inbox", revision=stored.revision)
        await site.ports.triggers.put("gone", stored.data.replace(b'"inbox"', b'"gone"'), revision=0)
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(1)
        assert (site.watched.of(), await site.kept()) == (["inbox"], ["inbox"])

    run(body())


def test_a_worker_waits_for_an_owner_that_holds_no_lease_until_it_is_gone_from_the_directory() -> None:
    async def body() -> None:
        site = Site()
        entry = TriggerTypeEntry(name="files", owner_worker_id="go-1", version="1")
        await site.ports.trigger_types.put("files", encode(entry), revision=0)
        await site.ports.directory.put("go-1", encode_worker(WorkerEntry(worker_id="go-1")))
        await site.register("ingest", ("inbox", FOLDER))
        site.worker("w-1", site.watched.type())
        await asyncio.sleep(60)
        assert site.watched.of() == []
        await site.ports.directory.remove("go-1")
        await asyncio.sleep(10)
        assert site.watched.of() == ["inbox"]

    run(body())
