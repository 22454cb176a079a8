"""Runs that the Go system starts, on our engine: what it writes is written here by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Workflow, handler
from dagnats.runtime.record import decoded
from dagnats.testing import Harness
from tests.model.test_old_start import BARE, EMBEDDED, TRIGGERED
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.client import Difference
    from dagnats.client.view import RunView
    from dagnats.runtime.embedded import EmbeddedServer

RUN = "4f1c"


def order() -> Workflow[Any, Any]:
    """What is registered under the name that the old starts have; it follows its input with a step more."""
    workflow = Workflow("order")
    workflow.task("book", "book").after(workflow.task("pay", "pay"))
    return workflow


async def paid(given: Any) -> list[Any]:
    return ["paid", given]


async def booked(given: Any) -> list[Any]:
    return ["booked", given]


class Plant:
    """A server in memory with an engine and a worker; what the Go system writes is put into its log."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.ports = harness.client.connection.ports
        self.harness.stub("pay", paid)
        self.harness.stub("book", booked)

    def write(self, data: bytes, *, id: str = f"{RUN}.workflow.started", run_id: str = RUN) -> None:
        async def put() -> None:
            await self.ports.log.append(run_id, data, id=id)

        self.harness.drive(put())

    async def ended(self, run_id: str = RUN) -> RunView:
        await self.harness.advance(seconds=1)
        return self.harness.drive(self.harness.client.handle(run_id).wait(timeout="1h"))

    def starts(self) -> int:
        """How many starts the run's history has, old ones and ours."""

        async def read() -> int:
            return sum(b'"workflow.started"' in entry.data for entry in await self.ports.log.read(RUN))

        return self.harness.drive(read())

    def letters(self) -> list[bytes]:
        async def find() -> list[bytes]:
            return [letter.data for letter in await self.ports.dead_letters.find(">")]

        return self.harness.drive(find())

    def differences(self) -> list[Difference]:
        return list(self.harness.drive(self.harness.client.verify()).differences)


@pytest.mark.parametrize(
    ("data", "output"),
    [
        (EMBEDDED, ["paid", {"amount": 1.5}]),
        (TRIGGERED, ["booked", ["paid", json.loads(TRIGGERED)["payload"]]]),
        (BARE, ["paid", None]),
    ],
    ids=["embedded", "triggered", "bare"],
)
async def test_a_run_begins_by_each_of_the_three_old_starts(data: bytes, output: Any) -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(data)
        view = await plant.ended()
        assert (view.workflow, view.status, view.output) == ("order", "completed", output)
        assert plant.letters() == plant.differences() == []


async def test_an_old_start_that_comes_again_starts_nothing_twice() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(EMBEDDED)
        plant.write(EMBEDDED, id="again")
        await plant.ended()
        plant.write(EMBEDDED, id="later")
        await h.crash_engine()
        await h.advance(minutes=1)
        assert h.calls("pay") == 1
        assert plant.starts() == 4, "three old ones, and one of ours"
        assert plant.letters() == plant.differences() == []


async def test_an_old_start_that_no_engine_has_answered_is_answered_by_the_next() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(EMBEDDED)
        await h.crash_engine()
        assert plant.starts() == 1
        assert (await plant.ended()).status == "completed"
        assert plant.starts() == 2
        assert h.calls("pay") == 1


async def test_a_run_that_has_begun_is_not_disturbed_by_an_old_start_of_its_name() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        await h.start("order", 1, run_id=RUN)
        plant.write(EMBEDDED, id="another")
        assert (await plant.ended()).output == ["booked", ["paid", 1]]
        assert plant.letters() == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (TRIGGERED.replace(b'"order"', b'"ordr"'), "no workflow 'ordr'; did you mean 'order'?"),
        (TRIGGERED.replace(b'"order"', b'"or der"'), "no workflow 'or der'; did you mean 'order'?"),
        (EMBEDDED.replace(b'"task":"pay",', b""), "the definition it was started with is not valid: steps[0].task"),
        (BARE.replace(b'"name":"order"', b'"name":7'), "the definition it was started with is not valid: name"),
    ],
    ids=["unknown", "no-name", "no-task", "no-name-inside"],
)
async def test_an_old_start_that_nothing_can_come_of_fails_its_run_with_the_reason(data: bytes, why: str) -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(data)
        view = await plant.ended()
        assert view.status == "failed"
        assert view.error.startswith(why)
        assert plant.letters() == plant.differences() == []


async def test_an_input_that_does_not_fit_the_definition_that_came_along_fails_its_run() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(EMBEDDED.replace(b'"steps"', b'"input_schema":{"type":"string"},"steps"'))
        view = await plant.ended()
        assert (view.status, h.calls("pay")) == ("failed", 0)
        assert view.error.startswith("the input does not fit workflow 'order'")


async def test_a_run_of_an_old_start_waits_for_its_paused_workflow() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        h.drive(h.client.pause_workflow("order"))
        plant.write(TRIGGERED)
        await h.advance(seconds=1)
        assert h.drive(h.client.handle(RUN).view()).status == "pending"
        h.drive(h.client.resume_workflow("order"))
        assert (await plant.ended()).status == "completed"


async def test_a_history_that_another_engine_has_gone_on_with_is_left_as_it_is() -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(b'{"type":"step.queued","run_id":"4f1c","step_id":"pay","attempt_number":1}', id="queued")
        plant.write(EMBEDDED)
        await h.advance(seconds=1)
        assert plant.starts() == 1
        assert plant.letters() == [EMBEDDED]
        assert [each.kind for each in plant.differences()] == ["start"]


@pytest.mark.parametrize(
    ("data", "run_id"),
    [
        (EMBEDDED, "another"),
        (EMBEDDED.replace(b"4f1c", b"4f.1c"), "4f.1c"),
        (EMBEDDED.replace(b'"amount"', b'"$dagnats.blob"'), RUN),
    ],
    ids=["of-another-run", "no-run-id", "reserved-key"],
)
async def test_an_old_start_that_cannot_be_one_goes_to_the_dead_letters(data: bytes, run_id: str) -> None:
    async with Harness([order()]) as h:
        plant = Plant(h)
        plant.write(data, run_id=run_id)
        await h.advance(seconds=1)
        assert plant.letters() == [data]
        assert (await h.run("order", 1)).status == "completed"


async def test_what_the_go_system_publishes_starts_runs_on_a_real_server(nats_server: EmbeddedServer) -> None:
    @handler("pay")
    async def pay(given: Any) -> Any:
        return given

    workflow = Workflow("order")
    workflow.task("pay", pay)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        for run_id, data in (("e1", EMBEDDED), ("t1", TRIGGERED), ("b1", BARE)):
            for again in ("", "again"):
                headers = {"Nats-Msg-Id": f"{run_id}.workflow.started{again}"}
                said = data.replace(RUN.encode(), run_id.encode())
                await system.jetstream.link.publish(f"history.{run_id}", said, headers)

        async def begun() -> bool:
            read = system.jetstream.ports.log.read
            return all([decoded(await read(run_id)) for run_id in ("e1", "t1", "b1")])

        await until(begun)
        for run_id, output in (("e1", {"amount": 1.5}), ("t1", json.loads(TRIGGERED)["payload"]), ("b1", None)):
            assert await system.client.handle(run_id).result(timeout="10s") == output
        verified = await system.client.verify()
        assert (verified.runs, verified.differences) == (3, ())
        assert await system.jetstream.ports.dead_letters.find(">") == []
