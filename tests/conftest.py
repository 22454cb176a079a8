"""For the whole suite: Hypothesis profiles, async tests, a real NATS server."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import inspect
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from dagnats.runtime.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

settings.register_profile(
    "quick",
    deadline=None,  # a busy machine is not a failure; pytest's own timeout ends what hangs
    derandomize=False,
    max_examples=30,  # others in every run, so that few at a time come to many
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1_000)
# `make coverage`: that a branch is taken must not be luck, and each example takes several times as long there.
settings.register_profile("sparse", settings.get_profile("quick"), max_examples=5, derandomize=True, database=None)
settings.load_profile("quick")


# -- several processes at once (`make test`) -------------------------------------------------------------------

# What takes tens of seconds starts first, or everybody waits for it at the end; what needs the machine for itself comes
# last, when nobody else has anything to do. Before that the command line: each process starts a server, an engine and a
# worker for it that stay until it has no more tests, and take a thirtieth of a processor while they have nothing to do.
_LONG = ("tests/e2e/", "tests/runtime/test_crash.py", "tests/core/test_random_histories.py")
_LATE = "tests/cli/"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, of which there is none: a third of the time, in each process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # nor will what has been collected ever be garbage
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_is_alone(item), item.nodeid.startswith(_LATE), not item.nodeid.startswith(_LONG)))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the timeout: a test is not to blame for the wait
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with _room(alone=_is_alone(item)):
        return (yield)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextmanager
def _room(*, alone: bool) -> Generator[None]:
    """Keep the other processes that run tests of this checkout from beginning one, if this one is to be alone."""
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


# -- single tests ----------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests, each in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A NATS server of the test's own, with an empty store."""
    server = EmbeddedServer(tmp_path / "nats", port=0)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
