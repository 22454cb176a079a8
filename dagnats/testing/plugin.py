"""The pytest plugin. pytest loads it wherever DagNats is installed, so it imports nothing until a fixture is used."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

    from dagnats.runtime.serve import Serving
    from dagnats.testing.harness import Harness


@pytest.fixture
def workflow_snapshot(request: pytest.FixtureRequest) -> SnapshotAssertion:
    """Pins the exact JSON of a workflow: `assert wf == workflow_snapshot`.

    `pytest --snapshot-update` writes it, one file for each test, below `__snapshots__/`.
    """
    if not request.config.pluginmanager.hasplugin("syrupy"):
        pytest.fail("workflow_snapshot needs syrupy: pip install syrupy", pytrace=False)
    from dagnats.testing.snapshot import CompiledJson

    snapshot: SnapshotAssertion = request.getfixturevalue("snapshot")
    return snapshot.use_extension(CompiledJson)


@pytest.fixture
def dagnats_harness() -> Iterator[Callable[[Iterable[Any]], Harness]]:
    """Opens harnesses that are closed when the test is over: `h = dagnats_harness([wf])`."""
    from dagnats.testing.harness import Harness

    with ExitStack() as stack:
        yield lambda serves: stack.enter_context(Harness(serves))


@pytest.fixture
def dagnats_server(tmp_path: Path) -> Iterator[Serving]:
    """A real NATS server with an engine, of the test's own: `dagnats.connect(server.url, token=server.token)`."""
    from dagnats.testing.server import serving

    with serving(tmp_path / "dagnats") as server:
        yield server
