"""Every test here runs twice: on the ports in memory, in virtual time, and on those on a real NATS server."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.backend import InMemory, OnNats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.backend import Backend


@pytest.fixture(params=["memory", "jetstream"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A server with nothing in it."""
    server: Backend = InMemory() if request.param == "memory" else OnNats(tmp_path / "nats")
    yield server
    asyncio.run(server.stop())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run a test on the event loop of its backend."""
    names = inspect.signature(pyfuncitem.obj).parameters
    values: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner(loop_factory=values["backend"].loop_factory) as runner:
        runner.run(pyfuncitem.obj(**values))
    return True
