"""What handlers ask of the control plane, under the real worker, engine and office, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from dagnats import Fixed, SyncTaskContext, TaskContext, Workflow, handler
from dagnats.config.policy import ControlPlane, Quotas
from dagnats.errors import (
    ControlPlaneError,
    ControlPlaneKind,
    DefinitionError,
    TransportError,
    UnresolvableNameError,
)
from dagnats.model.check import load_definition
from dagnats.runtime.plane.nonce import KEY, dispatch_nonce, is_dispatch_nonce
from dagnats.runtime.plane.office import Office
from dagnats.runtime.plane.request import BUDGET, REGISTER, START, Answer, read_answer
from dagnats.testing import Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagnats.client.view import RunView
    from dagnats.model.audit import Audited

GRANTED = ControlPlane(grant=("agent",))


@handler("made.work")
async def work(number: int) -> int:
    return number + 1


def made(name: str = "made", **settings: Any) -> Workflow:
    """A workflow that a handler might register."""
    workflow = Workflow(name, **settings)
    workflow.task("it", work)
    return workflow


def agent(act: Callable[..., Any], name: str = "agent", *, capable: bool = True) -> Workflow:
    """A workflow of one step, which may do this with a control plane."""
    workflow = Workflow(name)
    step = workflow.task("it", handler(f"{name}.act")(act))
    if capable:
        step.with_capabilities("control-plane")
    return workflow


def harness(act: Callable[..., Any], policy: ControlPlane = GRANTED, *more: Any) -> Harness:
    return Harness([agent(act), work, *more], control_plane=policy)


async def ran(act: Callable[..., Any], policy: ControlPlane = GRANTED, *more: Any) -> RunView:
    async with harness(act, policy, *more) as h:
        return await h.run("agent")


def audit(h: Harness) -> list[Audited]:
    return h.drive(h.client.audit())


def kinds(h: Harness) -> list[tuple[str, bool, str]]:
    return [(each.action, each.granted, each.kind) for each in audit(h)]


# -- what it does ----------------------------------------------------------------------------------------------


async def test_a_granted_step_registers_a_workflow_and_starts_a_run_of_it() -> None:
    async def act(ctx: TaskContext) -> dict[str, Any]:
        assert ctx.control_plane is not None
        name = await ctx.control_plane.register(made())
        run_id = await ctx.control_plane.start("made", 41)
        budget = await ctx.control_plane.budget()
        return {"name": name, "run": run_id, "defs": budget.registered_defs}

    async with harness(act) as h:
        run = await h.run("agent")
        said = run.output
        assert said["name"] == f"agent.{run.run_id}.made"
        assert said["defs"] == 1
        child = h.drive(h.client.handle(said["run"]).wait())
        assert (child.workflow, child.status, child.output) == (said["name"], "completed", 42)
        assert said["name"] in h.drive(h.client.connection.ports.definitions.names())
        registered, started, asked = audit(h)
        assert (registered.action, registered.granted, registered.name) == ("register", True, said["name"])
        assert (registered.run_id, registered.step_id, registered.workflow) == (run.run_id, "it", "agent")
        assert (started.action, started.child_run_id, started.root) == ("start", said["run"], run.run_id)
        assert (asked.action, asked.granted) == ("budget", True)


async def test_a_sync_handler_has_the_same() -> None:
    def act(ctx: SyncTaskContext) -> list[Any]:
        plane = ctx.control_plane
        assert plane is not None
        return [plane.register(made().build()), plane.start(made(), 1), plane.budget().max_active_runs]

    run = await ran(act)
    assert run.output[0] == f"agent.{run.run_id}.made"
    assert run.output[2] == 100


async def test_what_a_run_may_promote_stays_under_a_name_of_all() -> None:
    async def act(ctx: TaskContext) -> list[str]:
        assert ctx.control_plane is not None
        name = await ctx.control_plane.register(made())
        return [name, await ctx.control_plane.start(name, 1)]

    run = await ran(act, ControlPlane(grant=("agent",), promote=("agent",)))
    assert run.output[0] == "promoted.made"


async def test_the_run_that_was_started_belongs_to_the_tree_and_nobody_waits_for_it() -> None:
    async def act(ctx: TaskContext) -> str:
        assert ctx.control_plane is not None
        return await ctx.control_plane.start("made", 1)

    async with harness(act, GRANTED, made()) as h:
        run = await h.run("agent")
        child = h.drive(h.client.handle(run.output).wait())
        assert child.status == "completed"
        types = [event.type for event in h.drive(h.client.handle(run.run_id).history())]
        assert not [kind for kind in types if "child" in kind]
        page = h.drive(h.client.connection.ports.log.read(child.run_id))
        start = msgspec.json.decode(page[0].data)["payload"]
        assert start["parent"] == {
            "run_id": run.run_id,
            "step_id": "it",
            "attempt": 1,
            "root": run.run_id,
            "detached": True,
        }
        assert start["by"] == f"step it of run {run.run_id}"


async def test_an_attempt_that_is_repeated_finds_what_the_first_one_did() -> None:
    async def act(ctx: TaskContext) -> list[str]:
        assert ctx.control_plane is not None
        done = [await ctx.control_plane.register(made()), await ctx.control_plane.start("made", ctx.attempt)]
        if ctx.attempt == 1:
            raise OSError("once more")
        return done

    async with Harness([_retried(act), work], control_plane=GRANTED) as h:
        run = await h.run("agent")
        assert run.status == "completed"
        assert kinds(h) == [("register", True, ""), ("start", True, "")]
        assert h.drive(h.client.handle(run.output[1]).wait()).output == 2


def _retried(act: Callable[..., Any]) -> Workflow:
    workflow = Workflow("agent")
    step = workflow.task("it", handler("agent.act")(act))
    step.with_capabilities("control-plane").with_retry(Fixed(max_attempts=3, initial_delay="1s"))
    return workflow


async def test_a_definition_that_changes_is_the_newest_from_then_on_and_the_same_one_is_not_counted_again() -> None:
    async def act(ctx: TaskContext) -> int:
        plane = ctx.control_plane
        assert plane is not None
        for version in ("1", "1", "2"):
            await plane.register(made(version=version))
        return (await plane.budget()).registered_defs

    async with harness(act) as h:
        assert (await h.run("agent")).output == 1
        assert kinds(h) == [("register", True, ""), ("register", True, ""), ("budget", True, "")]


async def test_children_that_a_definition_calls_by_plain_names_are_the_trees_own() -> None:
    async def act(ctx: TaskContext) -> str:
        assert ctx.control_plane is not None
        await ctx.control_plane.register(made())
        above = Workflow("above")
        above.sub_workflow("inner", "made")
        await ctx.control_plane.register(above)
        return await ctx.control_plane.start("above", 1)

    async with harness(act) as h:
        run = await h.run("agent")
        assert run.status == "completed", run.error
        child = h.drive(h.client.handle(run.output).wait())
        assert child.status == "completed"


# -- who may -------------------------------------------------------------------------------------------------


async def test_nobody_is_granted_anything_unless_the_step_and_the_policy_say_so() -> None:
    seen: list[object] = []

    async def act(ctx: TaskContext) -> None:
        seen.append(ctx.control_plane)

    none = ControlPlane()
    async with Harness([agent(act)], control_plane=none) as h:
        await h.run("agent")
    async with Harness([agent(act, capable=False)], control_plane=GRANTED) as h:
        await h.run("agent")
    async with Harness([agent(act, "other")], control_plane=GRANTED) as h:
        await h.run("other")
    assert seen == [None, None, None]
    async with Harness([agent(act)], control_plane=GRANTED) as h:
        await h.run("agent")
    assert seen[3] is not None


async def waits(ctx: TaskContext) -> None:
    await ctx.wait_for_signal("go")


class Attempt:
    """The running attempt of a step, as somebody who knows its nonce speaks for it."""

    def __init__(self, h: Harness, run_id: str, *, attempt: int = 1) -> None:
        self._h = h
        self._ports = h.client.connection.ports
        key = h.drive(self._ports.secrets.key(KEY))
        self.who: dict[str, Any] = {
            "run_id": run_id,
            "step_id": "it",
            "attempt": attempt,
            "nonce": dispatch_nonce(key, run_id, "it", attempt),
        }
        self._count = 0

    def ask(self, question: str, **more: Any) -> Answer:
        self._count += 1
        request = {"id": f"{self._count:032x}", **self.who, **more}
        data = self._h.drive(self._ports.inquiries.ask(question, msgspec.json.encode(request)))
        assert data is not None
        return msgspec.json.decode(data, type=Answer)

    def register(self, definition: Any, **more: Any) -> Answer:
        return self.ask(REGISTER, definition=definition, **more)

    def start(self, workflow: str, input: Any = None, *, call: str = "1", **more: Any) -> Answer:
        return self.ask(START, workflow=workflow, input=input, call=call, **more)


def document(name: str = "made", **more: Any) -> dict[str, Any]:
    return {"name": name, "steps": [{"id": "it", "task": "made.work"}], **more}


def child_of(workflow: str) -> dict[str, Any]:
    return {"name": "above", "steps": [{"id": "c", "type": "sub_workflow", "config": {"workflow": workflow}}]}


async def waiting(h: Harness, name: str = "agent") -> Attempt:
    run = await h.start(name)
    await h.advance(seconds=1)
    return Attempt(h, run.run_id)


FORGED: dict[str, Mapping[str, Any]] = {
    "no nonce": {"nonce": ""},
    "a made up one": {"nonce": "f" * 64},
    "one that is no ASCII": {"nonce": "\u00e4\ud7ff"},
    "another step": {"step_id": "other"},
    "another attempt": {"attempt": 2},
    "another run": {"run_id": "0" * 32},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
async def test_a_nonce_is_good_for_the_attempt_that_it_was_made_for_and_for_nothing_else(
    forged: Mapping[str, Any],
) -> None:
    async with harness(waits) as h:
        attempt = await waiting(h)
        assert attempt.ask(BUDGET).kind is None
        assert attempt.ask(BUDGET, **forged).kind == "denied"
        assert attempt.register(document(), **forged).kind == "denied"
        assert attempt.start("agent", **forged).kind == "denied"
        assert kinds(h) == [
            ("budget", True, ""),
            ("budget", False, "denied"),
            ("register", False, "denied"),
            ("start", False, "denied"),
        ]
        assert [each.name for each in audit(h)] == ["", "", "made", "agent"]
        assert {each.root for each in audit(h)[1:]} == {""}


async def test_the_nonce_of_one_run_is_none_for_another_one() -> None:
    async with harness(waits) as h:
        one, other = await waiting(h), await waiting(h)
        assert other.ask(BUDGET, nonce=one.who["nonce"]).kind == "denied"


async def test_an_attempt_that_is_over_cannot_act() -> None:
    async with harness(waits) as h:
        attempt = await waiting(h)
        await h.signal(attempt.who["run_id"], "go")
        await h.advance(seconds=1)
        answer = attempt.ask(BUDGET)
        assert answer.kind == "denied"
        assert "has ended: it is completed" in answer.error


async def test_an_attempt_that_was_given_up_cannot_act_for_the_one_that_follows() -> None:
    async def act(ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise OSError("once more")
        await ctx.wait_for_signal("go")

    async with Harness([_retried(act), work], control_plane=GRANTED) as h:
        run = await h.start("agent")
        await h.advance(seconds=5)
        first = Attempt(h, run.run_id).ask(BUDGET)
        assert (first.kind, "attempt 1 of step 'it'" in first.error) == ("denied", True)
        assert Attempt(h, run.run_id, attempt=2).ask(BUDGET).kind is None


async def test_an_attempt_of_a_run_that_is_not_there_cannot_act() -> None:
    async with harness(waits) as h:
        assert Attempt(h, "0" * 32).ask(BUDGET).error == f"no run {'0' * 32!r}"


async def test_a_grant_that_was_taken_back_ends_at_once_for_what_runs() -> None:
    async with harness(waits, GRANTED, agent(waits, "other")) as h:
        answer = (await waiting(h, "other")).ask(BUDGET)
        assert (answer.kind, answer.error) == ("denied", "workflow 'other' is not granted the control plane")
        assert "policy.control_plane.grant" in answer.hint


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"id":1}', b"\xff"])
async def test_what_is_no_request_is_denied_and_not_audited(data: bytes) -> None:
    async with harness(waits) as h:
        for question in (REGISTER, START, BUDGET):
            said = h.drive(h.client.connection.ports.inquiries.ask(question, data))
            assert said is not None
            assert msgspec.json.decode(said, type=Answer).kind == "denied"
        assert audit(h) == []


# -- what is refused -------------------------------------------------------------------------------------------

SECRET = "hunter2-hunter2"
WRONG: list[tuple[str, Any, str]] = [
    ("invalid_def", {"name": "made"}, "workflow 'made' has 1 problem"),
    ("invalid_def", 7, "problem"),
    ("invalid_def", document(metadata={"key": SECRET}), "problem"),
    ("invalid_def", document(triggers=[{"id": "t", "event": "a.b"}]), "triggers"),
    ("namespace", document("agent.other.made"), "cannot be called 'agent.other.made'"),
    ("namespace", document("promoted.made"), "cannot be called 'promoted.made'"),
    ("unresolvable_name", child_of("nobody"), "no workflow 'nobody'"),
    ("unresolvable_name", child_of("promoted.nobody"), "no workflow 'promoted.nobody'"),
    ("namespace", child_of("agent.other.made"), "leaves with a run that it does not belong to"),
]


@pytest.mark.parametrize(("kind", "definition", "why"), WRONG)
async def test_a_definition_that_cannot_be_is_not_registered(kind: str, definition: Any, why: str) -> None:
    async with harness(waits) as h:
        attempt = await waiting(h)
        before = h.drive(h.client.connection.ports.definitions.names())
        answer = attempt.register(definition)
        assert answer.kind == kind
        assert why in answer.error
        assert h.drive(h.client.connection.ports.definitions.names()) == before
        (denied,) = audit(h)
        assert (denied.granted, denied.kind) == (False, kind)
        assert SECRET not in str(denied)


async def test_what_is_promoted_cannot_run_what_leaves() -> None:
    async with harness(waits, ControlPlane(grant=("agent",), promote=("agent",))) as h:
        attempt = await waiting(h)
        answer = attempt.register(child_of(f"agent.{attempt.who['run_id']}.made"))
        assert answer.kind == "namespace"


async def test_a_start_says_why_it_cannot_be() -> None:
    schema = {"type": "object", "required": ["key"], "properties": {"key": {"type": "integer"}}}
    async with harness(waits) as h:
        attempt = await waiting(h)
        name = attempt.register(document(input_schema=schema)).name
        attempt.register(document("keyed", idempotency_key="key"))
        answers = [
            attempt.start("agnet"),
            attempt.start("agent.other.made"),
            attempt.start("promoted.made"),
            attempt.start(name, {"key": SECRET}),
            attempt.start("keyed", {"other": SECRET}),
            attempt.start(name, {"$dagnats.blob": {"run": "r", "sha256": "0" * 64, "bytes": 1}}),
        ]
        assert [answer.kind for answer in answers] == [
            "unresolvable_name",
            "namespace",
            "unresolvable_name",
            "invalid_input",
            "invalid_input",
            "invalid_input",
        ]
        assert answers[0].hint == "did you mean 'agent'?"
        denied = [each.kind for each in audit(h) if not each.granted]
        assert denied == [answer.kind for answer in answers]
        assert SECRET not in str(audit(h))


# -- how much --------------------------------------------------------------------------------------------------


def limited(**quotas: int) -> ControlPlane:
    return ControlPlane(grant=("agent",), quotas=Quotas(**quotas))


async def test_a_tree_registers_no_more_workflows_than_it_may_and_may_replace_those_it_has() -> None:
    async with harness(waits, limited(max_registered_defs=2)) as h:
        attempt = await waiting(h)
        answers = [attempt.register(document(name)) for name in ("a", "b", "c")]
        assert [answer.kind for answer in answers] == [None, None, "quota_exceeded"]
        assert attempt.register(document("a", version="2")).kind is None
        other = await waiting(h)
        assert other.register(document("c")).kind is None


async def test_a_tree_registers_no_faster_than_it_may() -> None:
    async with harness(waits, limited(registers_per_minute=2)) as h:
        attempt = await waiting(h)
        assert [attempt.register(document(name)).kind for name in ("a", "b", "c")] == [None, None, "rate_limited"]
        assert attempt.register(document("a")).kind is None  # as it was: nothing to do
        await h.advance(seconds=61)
        assert attempt.register(document("c")).kind is None


async def test_requests_that_share_an_id_are_counted_and_audited_one_by_one() -> None:
    async with harness(waits, limited(max_registered_defs=2)) as h:
        attempt = await waiting(h)
        answers = [attempt.register(document(name), id="a" * 32) for name in ("a", "b", "c", "d")]
        assert [answer.kind for answer in answers] == [None, None, "quota_exceeded", "quota_exceeded"]
        assert [(each.name[-1:], each.granted) for each in audit(h)] == [
            ("a", True),
            ("b", True),
            ("c", False),
            ("d", False),
        ]


async def test_a_tree_has_no_more_runs_at_a_time_than_it_may() -> None:
    rest = {"name": "rest", "steps": [{"id": "s", "type": "sleep", "config": {"duration": "1h"}}]}
    async with harness(waits, limited(max_active_runs=2)) as h:
        attempt = await waiting(h)
        attempt.register(rest)
        first = attempt.start("rest", call="1")
        assert attempt.start("rest", call="2").kind is None
        assert attempt.start("rest", call="3").kind == "quota_exceeded"
        assert attempt.start("rest", call="1").run_id == first.run_id  # the same call: the same run
        assert attempt.ask(BUDGET).active_runs == 2
        h.drive(h.client.handle(first.run_id).cancel())
        await h.advance(seconds=1)
        assert attempt.start("rest", call="3").kind is None
        assert attempt.ask(BUDGET).active_runs == 2


async def test_a_run_starts_others_only_so_far_below_the_first() -> None:
    async def act(ctx: TaskContext) -> str:
        assert ctx.control_plane is not None
        try:
            return await ctx.control_plane.start("agent")
        except ControlPlaneError as error:
            return error.kind

    async with harness(act, limited(max_depth=2)) as h:
        first = await h.run("agent")
        second = h.drive(h.client.handle(first.output).wait())
        third = h.drive(h.client.handle(second.output).wait())
        assert third.output == "depth_exceeded"
        assert {each.root for each in audit(h)} == {first.run_id}


async def test_two_servers_never_grant_more_than_one_could() -> None:
    async with harness(waits, limited(max_registered_defs=5)) as h:
        attempt = await waiting(h)
        ports = h.client.connection.ports
        offices = [Office(ports, h.client, limited(max_registered_defs=5)) for _ in range(2)]

        async def ask(at: int) -> Answer:
            request = {"id": f"{at:032x}", **attempt.who, "definition": document(f"w{at}")}
            return msgspec.json.decode(await offices[at % 2].register(msgspec.json.encode(request)), type=Answer)

        async def all_at_once() -> list[Answer]:
            return await asyncio.gather(*(ask(at) for at in range(12)))

        answers = h.drive(all_at_once())
        assert [answer.kind for answer in answers].count(None) == 5
        assert [each.granted for each in audit(h)].count(True) == 5
        assert len([name for name in h.drive(ports.definitions.names()) if name.startswith("agent.")]) == 5


async def test_two_servers_that_answer_the_same_request_do_it_once() -> None:
    async with harness(waits) as h:
        attempt = await waiting(h)
        attempt.register(document())
        offices = [Office(h.client.connection.ports, h.client, GRANTED) for _ in range(2)]
        request = {"id": "e" * 32, **attempt.who, "workflow": "made", "call": "1", "input": 1}

        async def both() -> list[bytes]:
            return await asyncio.gather(*(office.start(msgspec.json.encode(request)) for office in offices))

        one, other = h.drive(both())
        assert one == other
        assert kinds(h) == [("register", True, ""), ("start", True, "")]


# -- the worker's side -----------------------------------------------------------------------------------------


async def test_a_no_reaches_the_handler_with_its_kind() -> None:
    async def act(ctx: TaskContext) -> list[str]:
        assert ctx.control_plane is not None
        with pytest.raises(UnresolvableNameError, match="no workflow 'nobody'") as no:
            await ctx.control_plane.start("nobody")
        return [no.value.kind]

    assert (await ran(act)).output == ["unresolvable_name"]


@pytest.mark.parametrize("kind", get_args(ControlPlaneKind))
def test_each_reason_for_a_no_is_a_class_that_a_worker_can_catch(kind: str) -> None:
    with pytest.raises(ControlPlaneError, match="not this") as no:
        read_answer(msgspec.json.encode(Answer(kind=kind, error="not this", hint="but that")))  # pyright: ignore[reportArgumentType]  # it is one
    assert (no.value.kind, no.value.hint, type(no.value).__base__) == (kind, "but that", ControlPlaneError)
    assert read_answer(msgspec.json.encode(Answer(name="made"))).name == "made"


async def nobody(_: bytes) -> bytes:
    raise AssertionError("nobody asks it")


async def test_a_handler_waits_for_a_server_and_hears_after_a_minute_that_there_is_none() -> None:
    async def act(ctx: TaskContext) -> list[str]:
        assert ctx.control_plane is not None
        with pytest.raises(TransportError, match="no server has answered within 60 s") as no:
            await ctx.control_plane.budget()
        return [no.value.kind]

    async with harness(act) as h:
        h.client.connection.ports.inquiries.answer(BUDGET, nobody)()
        assert (await h.run("agent")).output == ["transport"]


async def test_a_task_carries_its_proof_whatever_its_input_weighs() -> None:
    async def act(ctx: TaskContext) -> bool:
        assert ctx.control_plane is not None
        return (await ctx.control_plane.budget()).active_runs == 0

    async with harness(act) as h:
        assert (await h.run("agent", "x" * 300_000)).output is True


def test_a_nonce_tells_its_attempt_from_every_other_one() -> None:
    key = b"k" * 32
    nonce = dispatch_nonce(key, "r", "s", 1)
    assert is_dispatch_nonce(key, "r", "s", 1, nonce)
    others = [(b"l" * 32, "r", "s", 1), (key, "r\0s", "", 1), (key, "r", "s", 11), (key, "", "r\0s", 1)]
    assert not any(is_dispatch_nonce(*other, nonce) for other in others)


# -- names -----------------------------------------------------------------------------------------------------


async def test_people_cannot_register_names_that_runs_are_given() -> None:
    async with harness(waits) as h:
        with pytest.raises(DefinitionError, match="is a name that runs are given"):
            h.drive(h.client.register(msgspec.json.encode(document("agent.r.made"))))
    assert load_definition(msgspec.json.encode(document("agent.r.made"))).name == "agent.r.made"
