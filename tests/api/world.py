"""A site where something of everything is there, and a good call of each operation."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats import Workflow
from dagnats.client.portable import encode_document, read_document
from dagnats.client.token import create_token
from dagnats.model.json import compact
from dagnats.model.trigger_type import TriggerTypeEntry, encode
from tests.api.site import WORK, Answer, Caller, Site, one_step, site
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dagnats.client.run import RunHandle
    from dagnats.runtime.api.operation import Operation


class World(NamedTuple):
    """What is there.

    Attributes:
        here: The site.
        web: A caller.
        names: What the braces of paths and bodies stand for.
    """

    here: Site
    web: Caller
    names: dict[str, str]

    async def call(self, operation: Operation, call: Good, **names: str) -> Answer:
        """Do it, at its first path."""
        names = {**self.names, "token": self.names[call.shows], **call.names, **names}
        for path in call.before:
            method, _, rest = path.partition(" ")
            assert (await self.web.ask(method, rest.format(**names))).status < 300, path
        path = operation.paths[0].format(**{**names, "run_id": names[call.of]}) + call.query.format(**names)
        return await self.web.ask(operation.method, path, _body(call.body, names))


class Good(NamedTuple):
    """A good call.

    Attributes:
        body: Its document; None for no body.
        query: With the `?`.
        of: Which run it is about.
        before: What has to be done first.
        names: What else the braces stand for.
        shows: Which token its path has.
    """

    body: Any = None
    query: str = ""
    of: str = "run_id"
    before: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    shows: str = "token"


PAUSED = ("POST /v1/runs/{run_id}/pause",)
GOOD: dict[str, Good] = {
    "workflow.register": Good(body=one_step("new").build().content()),
    "workflow.register_all": Good(body={"definitions": [one_step("new").build().content()], "dry_run": True}),
    "workflow.validate": Good(body=one_step("new").build().content()),
    "workflow.limit": Good(body={"max_runs": 3}),
    "workflow.resume": Good(before=("POST /v1/workflows/{workflow}/pause",)),
    "run.page": Good(query="?workflow=solo&status=running&label=a=b&limit=2"),
    "run.count": Good(query="?workflow=solo"),
    "run.output": Good(of="done"),
    "logs.of_run": Good(query="?level=warn&limit=5", of="broken"),
    "logs.spans": Good(of="done"),
    "logs.lines": Good(query="?since=5m&service=api&text=run"),
    "run.events": Good(query="?type=workflow.started"),
    "run.stream": Good(of="done"),
    "run.scheduled": Good(of="later"),
    "start.start": Good(body={"workflow": "solo", "input": {"a": 1}, "labels": {"a": "b"}}),
    "start.bulk": Good(body={"workflow_id": "solo", "inputs": [1, 2]}),
    "many.cancel_all": Good(body={"workflow_id": "solo", "dry_run": True}),
    "many.retry_all": Good(body={"workflow_id": "solo", "mode": "rerun"}),
    "order.cancel_scheduled": Good(of="later"),
    "order.cancel": Good(body={"reason": "enough"}),
    "order.resume": Good(before=PAUSED),
    "order.retry": Good(body={"mode": "rerun", "input": 2}, of="broken"),
    "order.fork": Good(body={"from_step": "work"}),
    "order.signal": Good(body={"a": 1}, names={"name": "go"}),
    "order.approve": Good(body={"by": "ann"}, of="asks"),
    "order.reject": Good(body={"reason": "no"}, of="asks"),
    "order.answer": Good(body={"comment": "no"}, query="?action=reject", of="asks", names={"step": "ask"}),
    "order.complete": Good(body={"id": 1}, of="waits", names={"step": "paid"}),
    "waitpoint.all_waitpoints": Good(query="?workflow=asking"),
    "waitpoint.show": Good(of="waits", names={"step": "paid"}),
    "waitpoint.complete": Good(body={"id": 1}, query="?reason=seen", of="waits", names={"step": "paid"}),
    "waitpoint.cancel": Good(body={"reason": "no"}, of="asks", names={"step": "ask"}),
    "waitpoint.token": Good(of="waits", names={"step": "paid"}),
    "waitpoint.bring": Good(body={"id": 1}, shows="token of waits"),
    "waitpoint.refuse": Good(body={"why": "no"}, shows="token of asks"),
    "queue.repair": Good(body={}),
    "queue.resume": Good(before=("POST /v1/queues/{queue}/pause",)),
    "queue.limit": Good(body={"concurrency": 2, "rate": 10, "period": "1m"}),
    "portable.export": Good(query="?children=true", of="done"),
    "portable.rehearsal": Good(body={"definition": one_step("solo").build().content()}, of="done"),
    "portable.take": Good(body="{portable}", before=("DELETE /v1/imports/{imported}",)),
    "letter.all_letters": Good(query="?run_id={broken}"),
    "letter.replay_all": Good(body={"run_id": "{broken}"}),
    "server.status": Good(query="?detail=true"),
    "server.mend": Good(body={"by": "ann"}),
    "server.clean": Good(body={"types": ["dlq"], "older_than": "1h", "dry_run": False}),
    "token.create": Good(body={"scope": "run", "name": "ci", "workflows": ["so*"], "expires": "+30d"}),
    "audit.deeds": Good(query="?action=cancel&after=2020-01-01&limit=3"),
    "server.publish": Good(body={"id": 1}, query="?id=x", names={"type": "order.paid"}),
}
"""What is not here needs neither body nor query."""


def key_of(operation: Operation) -> str:
    """`run.show`: what an operation is called here."""
    return f"{operation.work.__module__.rpartition('.')[2]}.{operation.work.__name__}"


def good_call(operation: Operation) -> Good:
    """The good call of an operation."""
    return GOOD.get(key_of(operation), Good())


def _body(document: Any, names: dict[str, str]) -> bytes:
    if document is None:
        return b""
    text = compact(document).decode().replace('"{portable}"', names["portable"])
    return text.replace("{broken}", names["broken"]).encode()


def workflows() -> list[Workflow[Any, Any]]:
    """A task, an approval and a wait."""
    asking = Workflow("asking")
    asking.approval("ask", subject="approvals.test", timeout="1h")
    waiting = Workflow("waiting")
    waiting.wait_for_event("paid", "order.paid", match=waiting.event["id"] == 1, timeout="1h")
    return [one_step("solo"), asking, waiting]


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    """Runs of each kind: under way, done, broken, later, one that asks and one that waits."""
    async with site(*workflows()) as here:
        web, client = await here.api(), here.client
        done, broken = await client.start("solo"), await client.start("solo")
        for run, action, said in ((done, "complete", {"output": 7}), (broken, "fail", FAILURE)):
            (task,) = await web.poll(WORK)
            assert task["run_id"] == run.run_id
            assert (await web.resolve(task, action, **said)).status == 200
            await run.wait()
        runs = {
            "run_id": await client.start("solo", labels={"a": "b"}),
            "later": await client.start("solo", at="+1h"),
            "asks": await client.start("asking"),
            "waits": await client.start("waiting"),
            "done": done,
            "broken": broken,
        }
        for name in ("run_id", "asks", "waits"):
            await _in_flight(runs[name])
        (letter,) = await client.dead_letters()
        names = {name: run.run_id for name, run in runs.items()}
        made = await create_token(here.ports, "read", name="old")
        guest = encode_document(await client.export_run(done.run_id)).replace(done.run_id.encode(), b"imported-0001")
        await client.import_runs(read_document(guest, name="a run from elsewhere"))
        watched = TriggerTypeEntry(name="files", owner_worker_id="w-1", version="1")
        await here.ports.trigger_types.put("files", encode(watched), revision=0)
        fixed = {
            "token": made.token.id,
            "trigger_type": "files",
            "token of waits": await runs["waits"].waitpoint_token("paid"),
            "token of asks": await runs["asks"].waitpoint_token("ask"),
            "workflow": "solo",
            "queue": WORK,
            "step": "work",
            "seq": str(letter.seq),
            "name": "go",
            "type": "a.b",
            "imported": "imported-0001",
            "portable": guest.decode(),
        }
        yield World(here, web, {**fixed, **names})


FAILURE = {"error": "no such card", "failure_type": "non_retriable"}


async def _in_flight(run: RunHandle) -> None:
    async def is_there() -> bool:
        return (await run.view()).steps[0].in_flight

    await until(is_there)
