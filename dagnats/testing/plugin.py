"""The pytest plugin. pytest loads it wherever DagNats is installed, so it imports nothing until a fixture is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


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
