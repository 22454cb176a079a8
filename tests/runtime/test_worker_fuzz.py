"""Whatever lies in a worker's queue and whatever its handlers give, it goes on, and everybody else gets an answer."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from dagnats import Abort, Continue, Retry, TaskContext, Worker, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.errors import DecodeError
from dagnats.model.task import Task, decode_task, encode_task
from dagnats.runtime.memory.loop import virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.testing import Harness
from tests.api.site import Site, in_virtual_time, site

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.client.run import RunHandle

# -- what lies in the queue ------------------------------------------------------------------------------------

SERVED = "fuzz.served"
OTHERS = 4


async def look_at_everything(value: Any, ctx: TaskContext) -> Any:
    found = (ctx.attempt, ctx.iteration, ctx.previous, ctx.metadata, ctx.deadline, ctx.trace, ctx.is_cancelled)
    return [value, len(found), await ctx.load_checkpoint()]


serving: Workflow[Any, Any] = Workflow("serving")
serving.task("work", handler(SERVED)(look_at_everything))

waiting: Workflow[Any, Any] = Workflow("waiting")  # nobody serves its step: a run ends only by what goes wrong
waiting.task("work", "fuzz.nobodys")


def task(run_id: str, **members: Any) -> dict[str, Any]:
    """A task in its form on the wire, of a step that its run does not have: whatever becomes of it is no result."""
    return {
        "task_id": f"{run_id}.else",
        "run_id": run_id,
        "step_id": "else",
        "attempt": 1,
        "input": {"n": 1},
        **members,
    }


def odd(run_id: str) -> list[bytes]:
    """What somebody might think of."""
    plain = msgspec.json.encode(task(run_id))
    return [
        b"", b"\0", b"\xff\xfe", b"null", b"[]", b"{}", b'"a task"', b"NaN", b"\0" * 1_000, plain[:-1], plain + b"}",
        plain.replace(b'"else"', b'"\xff"'),
        plain.replace(b'"else"', b'"\\ud800"'),
        plain.replace(b'"else"', b'"a\\r\\nNats-Msg-Id: b\\u0000"'),
        plain.replace(b'"else"', b'""'),
        plain.replace(b'{"n":1}', b"[" * 100_000 + b"]" * 100_000),
        plain.replace(b'{"n":1}', b'{"n":NaN}'),
        plain.replace(b'{"n":1}', b'"' + b"x" * 900_000 + b'"'),
        plain.replace(b'{"n":1}', b'"' + b"x" * 900_000),
        plain.replace(b'{"n":1}', b'{"$dagnats.blob":{"run":"r","sha256":"0","bytes":-1}}'),
        plain.replace(b'"attempt":1', b'"attempt":' + b"9" * 400),
        b"[" * 100_000,
        b'{"run_id":' * 100_000,
        msgspec.json.encode(task("somebody-elses")),
        msgspec.json.encode(task(f"{run_id}\0")),
    ]  # fmt: skip


_INTS = st.sampled_from([-(2**63), -1, 0, 1, 2**53, 2**63 - 1, 2**64 - 1]) | st.integers(-(2**63), 2**64 - 1)
_JSON = st.recursive(
    st.none() | st.booleans() | _INTS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_MEMBERS = st.sampled_from(Task.__struct_fields__)


@st.composite
def cut(draw: st.DrawFn, run_id: str) -> bytes:
    """A task with a piece of it changed."""
    plain = encode_task(decode_task(msgspec.json.encode(task(run_id))))
    at = draw(st.integers(0, len(plain)))
    return plain[:at] + draw(st.binary(max_size=4)) + plain[at + draw(st.integers(0, 8)) :]


def messages(run_id: str) -> st.SearchStrategy[bytes]:
    changed = st.dictionaries(_MEMBERS, _JSON | _INTS, min_size=1, max_size=4)
    return st.one_of(
        st.sampled_from(odd(run_id)),
        st.binary(max_size=200),
        cut(run_id),
        changed.map(lambda members: msgspec.json.encode({**task(run_id), **members})),
    )


def is_task(data: bytes, run_id: str) -> bool:
    try:
        return decode_task(data).run_id == run_id
    except DecodeError:
        return False


async def is_buried(here: Site, run: RunHandle, data: bytes) -> None:
    """A message nobody can read is kept as it was, and its run says that it has failed by it."""
    view = await run.wait(timeout="1m")
    assert view.status == "failed", (data, view)
    assert f"a task of {SERVED} cannot be read" in view.error
    (letter,) = await here.ports.dead_letters.find(f"{SERVED}.{run.run_id}.unmarshal-failed")
    assert letter.data == data


async def are_served(*, with_messages: dict[str, bytes]) -> None:
    async with site(serving, waiting) as here:
        bad = [await here.client.start("waiting", run_id=run_id) for run_id in with_messages]
        good: list[RunHandle] = []
        for run in bad:
            good.append(await here.client.start("serving", 1))
            here.server.tasks.put(f"task.{SERVED}.{run.run_id}", with_messages[run.run_id], id=run.run_id)
        good += [await here.client.start("serving", 2) for _ in range(OTHERS)]
        process = Process(virtual_loop(), "worker")
        worker = Worker(AsyncClient(process.run(here.server.connect)), [serving], concurrency=2)
        working = process.spawn(worker.run())
        for run in good:
            assert (await run.wait(timeout="10m")).status == "completed"
        for run in bad:
            data = with_messages[run.run_id]
            if not is_task(data, run.run_id):
                await is_buried(here, run, data)
        last = await here.client.start("serving", 3)
        assert (await last.wait(timeout="1m")).output == [3, 7, None]
        assert not working.done()
        assert not here.server.tasks.fitting(f"task.{SERVED}.>"), "every message is acknowledged"


@settings(max_examples=25)
@given(data=st.data())
def test_no_message_stops_a_worker_or_costs_another_task(data: st.DataObject) -> None:
    runs = [f"bad-{at}" for at in range(data.draw(st.integers(1, 6)))]
    in_virtual_time(are_served)(with_messages={run_id: data.draw(messages(run_id)) for run_id in runs})


def test_the_oddest_messages_stop_no_worker_and_cost_no_other_task() -> None:
    given = {f"bad-{at}": odd(f"bad-{at}")[at] for at in range(len(odd("")))}
    in_virtual_time(are_served)(with_messages=given)


# -- what handlers give ----------------------------------------------------------------------------------------


class Model(BaseModel):
    number: int = 1
    inner: Any = None


class Record(msgspec.Struct):
    number: int = 1
    inner: Any = None


@dataclass
class Plain:
    number: int = 1


class Evil(BaseException):
    """Neither can be told from its text, nor is an Exception."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Lying(Exception):
    def __str__(self) -> str:
        return 5  # pyright: ignore[reportReturnType]  # the mistake that is tested


class Hostile(dict[Any, Any]):
    def items(self) -> Any:
        raise SystemExit("not mine")

    def __iter__(self) -> Any:
        raise RuntimeError("not these")


def _knot() -> Any:
    knot: list[Any] = []
    knot.append({"again": knot})
    return knot


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


_ODD: list[Callable[[], Any]] = [
    _knot, lambda: _deep(200), lambda: _deep(600), lambda: _deep(5_000), object, lambda: print, lambda: int,
    lambda: iter([1]), lambda: (each for each in [1]), lambda: ValueError("returned"), lambda: Plain(5),
    lambda: Record(number="x"),  # pyright: ignore[reportArgumentType]  # the mistake that is tested
    lambda: Model.model_construct(number=object()), lambda: Model(inner=_knot()), lambda: Record(inner=_knot()),
    lambda: Record(inner=_deep(600)), lambda: Model(inner=float("nan")), lambda: Record(inner=float("inf")),
    lambda: Record(inner={1: {2, 3}}),
    lambda: Hostile(a=1), lambda: msgspec.Raw(b"{no json"), lambda: msgspec.Raw(b""), lambda: msgspec.Raw(b"\xff"),
    lambda: msgspec.Raw(b"1}, {"), lambda: Continue(5), lambda: Continue(_knot()), lambda: {"$dagnats.blob": 1},
    lambda: "\ud800", lambda: {"\udcff": 1}, lambda: "\0", lambda: 10**400, lambda: memoryview(b"abc"),
]  # fmt: skip
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9)
    | st.binary(max_size=9) | st.complex_numbers() | st.decimals() | st.datetimes() | st.uuids() | st.timedeltas()
)  # fmt: skip
_KEYS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=()), max_size=4)
_VALUES: st.SearchStrategy[Callable[[], Any]] = st.sampled_from(_ODD) | st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
).map(lambda value: lambda: value)

_LONG = "x" * 3_000_000
_ERRORS: list[BaseException] = [
    Evil(), Lying(), Exception(_LONG), Exception("\ud800\0\r\n"), Exception(b"\xff", object()), SystemExit(object()),
    StopIteration(1), StopAsyncIteration(), GeneratorExit(), MemoryError(), RecursionError(), asyncio.CancelledError(),
    TimeoutError(), EOFError(), BaseExceptionGroup("many", [Evil(), ValueError("a")]), Abort(""), Abort(_LONG),
    Retry(_LONG, after=datetime.timedelta(days=10_000)), Retry(after=datetime.timedelta(microseconds=1)),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), KeyError(), OSError(5, "I/O"), Exception(),
]  # fmt: skip
_DECLARED: list[Any] = [Any, object, int, str, bytes, float, list, dict[str, Any], Model, Record, Plain, msgspec.Raw]


class Act(msgspec.Struct):
    """What a handler does."""

    declared: Any
    gives: Callable[[], Any]
    is_async: bool = True

    def function(self) -> Callable[..., Any]:
        async def waits() -> Any:
            return self.gives()

        def blocks() -> Any:
            return self.gives()

        function = waits if self.is_async else blocks
        function.__annotations__["return"] = self.declared
        return function


def _raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


_ACTS = st.tuples(
    st.sampled_from(_DECLARED),
    _VALUES | st.sampled_from(_ERRORS).map(_raising),
    st.sampled_from([True, True, False]),
).map(lambda drawn: Act(*drawn))


async def are_answered(acts: list[Act]) -> None:
    workflows: list[Workflow[Any, Any]] = [serving]
    for at, act in enumerate(acts):
        workflows.append(Workflow(f"act-{at}").with_timeout("1h"))
        workflows[-1].task("work", handler(f"fuzz.act{at}")(act.function()))
    async with Harness(workflows) as h:
        runs = [await h.start(each) for each in workflows[1:]]
        for run, act in zip(runs, acts, strict=True):
            view = await run.wait()
            (step,) = view.steps
            if view.error.startswith("the output does not fit the workflow's output_schema"):
                continue  # what was read as its type is not always what its type writes
            assert (view.status, step.status) in {("completed", "completed"), ("failed", "failed")}, (act, view.error)
            assert bool(step.error) == (step.status == "failed"), (act, view)
            assert len(step.error) < 20_000, act
        assert (await h.run(serving, 3)).output == [3, 7, None]


@settings(max_examples=40)
@given(acts=st.lists(_ACTS, min_size=1, max_size=6))
@example([Act(declared, _raising(Evil())) for declared in (Any, int)])
def test_nothing_a_handler_gives_stops_its_worker_or_costs_another_step(acts: list[Act]) -> None:
    asyncio.run(are_answered(acts))


def test_the_oddest_results_of_every_type_fail_their_step_and_no_other() -> None:
    for declared in _DECLARED:
        asyncio.run(are_answered([Act(declared, value) for value in _ODD]))


def test_the_oddest_errors_fail_their_step_and_no_other() -> None:
    for is_async in (True, False):
        asyncio.run(are_answered([Act(Any, _raising(error), is_async) for error in _ERRORS]))
