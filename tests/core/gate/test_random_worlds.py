"""Random starts, results, cancels, limits, pauses and clocks: what holds at every place of every log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagnats.model.event import StepCompleted, StepFailed, StepQueued, WorkflowAdmitted, WorkflowCancelled
from dagnats.model.ops import GateTicked, TaskLimited, WorkflowLimited
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.action import AppendEvent, EnqueueTask
from dagnats.runtime.core.path import decoded
from tests.core.gate.world import SECOND, World, graph, step, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.gate.book import TaskTicket
    from dagnats.runtime.core.graph import Graph

RETRY = {"max_attempts": 1, "strategy": "fixed", "initial_delay": "1s"}
RATE = {"limit": 2, "period": "1s"}
KEYED = {"key": "user", "limit": 1, "period": "1s"}
USERS = ["ann", "bob"]


def shared(step_id: str, *needs: str, **limits: Any) -> dict[str, Any]:
    """A step of the one task type that all of them use."""
    return {**step(step_id, *needs, **limits), "task": "shared"}


GRAPHS: dict[str, Graph] = {
    "slots": graph(
        shared("a", max_task_concurrency=2, retry=RETRY),
        shared("b", max_task_concurrency=2, priority=3),
        step("c", "a", "b"),
    ),
    "strict": graph(shared("a", max_task_concurrency=1), concurrency={"max_runs": 2, "key": "user"}),
    "paced": graph(step("a", rate_limit=RATE), step("b", "a", keyed_rate_limit=KEYED, max_task_concurrency=2)),
    "skip": graph(step("a"), singleton={"mode": "skip", "key": "user"}, concurrency={"max_runs": 1}),
    "cancel": graph(step("a"), singleton={"mode": "cancel"}),
    "line": graph(step("x"), concurrency={"max_runs": 1}, priority={"key": "user", "rules": {"bob": 5}}),
    "free": graph(shared("a"), step("b", "a")),
}
SLOTS = {"shared": 2, "b.task": 2}

Deed = tuple[Any, ...]

deeds = st.one_of(
    *[st.tuples(st.just("start"), st.integers(0, 1), st.sampled_from(USERS))] * 3,
    *[st.tuples(st.just("complete"), st.integers(0, 20))] * 2,
    st.tuples(st.just("fail"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    *[st.tuples(st.just("own"), st.integers(1, 4))] * 4,
    st.tuples(st.just("wait"), st.sampled_from([-3600, 0.1, 0.5, 1, 3600])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 1])),
    st.tuples(st.just("tick")),
    st.tuples(st.just("wake"), st.integers(0, 20)),
    st.tuples(st.just("limit"), st.sampled_from(["shared", "a.task", "b.task"]), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("limit runs"), st.integers(0, 1), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("another engine")),
)


class _Watched(World):
    """A world in which every fold is followed by the questions that have to be answered with yes."""

    def __init__(self, *workflows: str) -> None:
        super().__init__(**GRAPHS)
        self.workflows = workflows
        self.allowed: dict[str, int] = {}
        self.clock_ns = self.before_ns = 0
        self.starts: dict[str, list[int]] = {}

    def _act(self, actions: tuple[AnyAction, ...], missed: Sequence[AnyAction] = ()) -> None:
        """Note what goes, and by a clock of our own when."""
        self.clock_ns += max(self.time_ns - self.before_ns, 0) if self.before_ns else 0
        self.before_ns = self.time_ns
        super()._act(actions, missed)
        for action in actions:
            if isinstance(action, EnqueueTask) and not action.admitted:
                self._went(action.run_id, action.step_id)
            elif isinstance(action, AppendEvent) and isinstance(action.event, StepQueued):
                self._went(action.run_id, action.event.step_id)
            elif isinstance(action, AppendEvent) and isinstance(action.event, WorkflowAdmitted):
                self._check_turn(action.run_id)

    def _went(self, run_id: str, step_id: str) -> None:
        """A task goes: is it its time, and its turn?"""
        if self.runs[run_id].workflow_id == "paced":
            user = decoded(self.runs[run_id].input)["user"]
            name, limit, token_ns = ("a", 2, SECOND // 2) if step_id == "a" else (f"b {user}", 1, SECOND)
            starts = self.starts.setdefault(name, [])
            starts.append(self.clock_ns)
            for count, then_ns in enumerate(reversed(starts), 1):
                assert (count - limit) * token_ns <= self.clock_ns - then_ns, f"{name}: {count} since {then_ns}"
        here = self.gates.page().tasks.get(f"{run_id}/{step_id}/{self.runs[run_id].steps[step_id].attempt}")
        if here is None:
            return
        for ticket in self.gates.page().tasks.values():
            if ticket is not None and ticket.state == "waiting" and _lane(ticket) == _lane(here):
                assert (-ticket.priority, ticket.seq, ticket.at) > (-here.priority, here.seq, here.at), "not its turn"

    def _check_turn(self, run_id: str) -> None:
        if self.runs[run_id].workflow_id != "line":
            return
        for gate in self.view.runs:
            for place in gate.waiting:
                assert gate.workflow != "line" or self._start_of(place.run_id) >= self._start_of(run_id)

    def _start_of(self, run_id: str) -> int:
        run = self.runs[run_id]
        return run.created_ns - (5 * SECOND if decoded(run.input)["user"] == "bob" else 0)

    def do(self, deed: Deed) -> None:
        match deed:
            case ("start", int(which), str(user)):
                self.feed_start(f"r{len(self.runs)}", self.workflows[which], {"user": user}, held=True)
            case ("complete" | "fail" as how, int(which)) if self.queue:
                run_id, step_id, attempt = list(self.queue)[which % len(self.queue)]
                said: dict[str, Any] = {"run_id": run_id, "step_id": step_id, "attempt_number": attempt}
                payload = self.runs[run_id].input
                self.feed(StepCompleted(**said, payload=payload) if how == "complete" else StepFailed(**said))
            case ("cancel", int(which)) if self.runs:
                self.feed(WorkflowCancelled(run_id=list(self.runs)[which % len(self.runs)]))
            case ("own", int(count)):
                for _ in range(min(count, len(self.unfed))):
                    self.feed_own()
            case ("wait", seconds):
                self.wait(seconds)
            case ("tick",) if self.gates.wake_ns:
                self.tick_only()
            case ("wake", int(which)) if self.runs:
                run = list(self.runs.values())[which % len(self.runs)]
                if run.wake_ns:
                    self.wake(run.run_id)
            case ("limit", str(task), int(concurrency), bool(paused)):
                self.say(TaskLimited(task=task, concurrency=concurrency, paused=paused))
            case ("limit runs", int(which), int(max_runs), bool(paused)):
                self.say(WorkflowLimited(workflow=self.workflows[which], max_runs=max_runs, paused=paused))
            case ("another engine",):
                self.reopen()
            case _:
                pass
        self.check()

    def check(self) -> None:
        page = self.gates.page()
        assert stored(page) == stored(self.kept), "what is stored is what is known"
        for gate in self.view.tasks:
            limit = (
                gate.said.concurrency if gate.said is not None and gate.said.concurrency else SLOTS.get(gate.task, 0)
            )
            self._check_slots(f"task {gate.task}", len(gate.out), limit)
            for place in gate.out:
                state = self.runs[place.run_id].steps[place.step_id]
                assert state.status in IN_FLIGHT, f"{place} has a slot and is not in flight"
                assert state.attempt == place.attempt
            self._check_liveness(gate.task)
        for run_gate in self.view.runs:
            self._check_slots(f"runs {run_gate.workflow} {run_gate.key}", len(run_gate.out), run_gate.max_runs)
            waiting = [place for place in run_gate.waiting if place.why == "max_runs"]
            assert not waiting or len(run_gate.out) >= run_gate.max_runs > 0, f"{waiting} wait, and there is room"
        self._check_singletons()
        self._check_tasks()

    def _check_slots(self, name: str, count: int, limit: int) -> None:
        """What has a slot keeps it when a limit is lowered; nobody else gets one until there is room."""
        allowed = max(limit, min(self.allowed.get(name, count), count)) if limit else 10**6
        assert count <= allowed, f"{name}: {count} have a slot of {limit}"
        self.allowed[name] = allowed if limit else count

    def _check_liveness(self, task: str) -> None:
        gate = self.view.task(task)
        said = gate.said
        if gate.waiting and task == "shared" and not (said is not None and said.paused):
            limit = said.concurrency if said is not None and said.concurrency else 1
            assert len(gate.out) >= limit, f"{gate.waiting} wait, and there is room"

    def _check_singletons(self) -> None:
        active: set[tuple[str, str]] = set()
        for run in self.runs.values():
            if run.workflow_id not in ("skip", "cancel") or run.ended or run.status == "pending":
                continue
            lock = (run.workflow_id, bytes(run.input).decode() if run.workflow_id == "skip" else "")
            assert lock not in active, f"two runs of {lock}"
            active.add(lock)

    def _check_tasks(self) -> None:
        """Every step in flight has its task in the queue, or its place in a line, or its answer on the way."""
        page = self.gates.page()
        for run in self.runs.values():
            for step_id, state in run.steps.items():
                if state.status not in IN_FLIGHT or state.retry_at_ns or state.held:
                    continue
                name = (run.run_id, step_id, state.attempt)
                held = page.tasks.get("/".join(map(str, name)))
                waits = held is not None and held.state != "out"
                assert (name in self.queue) is not waits, f"{name} is in a queue and a line, or in none"

    def finish(self) -> None:
        """Everything is allowed, and everybody works, until nothing is left."""
        for task in ("shared", "a.task", "b.task"):
            self.say(TaskLimited(task=task))
        for workflow in GRAPHS:
            self.say(WorkflowLimited(workflow=workflow))
        for _ in range(600):
            if self.unfed:
                self.feed_own()
            elif self.queue:
                self.do(("complete", 0))
            elif any(run.wake_ns for run in self.runs.values()):
                self.wake(next(run.run_id for run in self.runs.values() if run.wake_ns))
            elif self.gates.wake_ns:
                self.tick_only()
            else:
                break
            self.check()


def _lane(ticket: TaskTicket) -> tuple[object, ...]:
    """What tells tickets of a type apart, besides their order."""
    limits = (ticket.concurrency, ticket.rate, ticket.keyed_rate)
    return ticket.task, limits, ticket.key if ticket.keyed_rate else ""


@settings(max_examples=2 * settings().max_examples)
@given(st.tuples(*[st.sampled_from(sorted(GRAPHS))] * 2), st.lists(deeds, min_size=30, max_size=90))
def test_limits_hold_and_nobody_is_forgotten(workflows: tuple[str, str], deeds: list[Deed]) -> None:
    world = _Watched(*workflows)
    for deed in deeds:
        world.do(deed)
    world.finish()
    assert all(run.ended for run in world.runs.values()), world.statuses()
    again = world.again()
    assert stored(again.gates.page()) == stored(world.gates.page()), "the log alone says it all"
    assert [task.id for task in again.sent] == [task.id for task in world.sent]
    for seconds in (0, 7_200, 0):
        world.wait(seconds)
        world.say(GateTicked(due_ns=0))
    assert not world.gates.page(), "nothing is held, nothing is remembered"
