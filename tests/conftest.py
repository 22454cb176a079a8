"""For the whole suite: Hypothesis profiles, async tests, a real NATS server."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from dagnats.runtime.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

settings.register_profile(
    "quick",
    deadline=None,  # a busy machine is not a failure; pytest's own timeout ends what hangs
    derandomize=False,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1_000)
settings.load_profile("quick")


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
