"""The example project is run by a test, as people would run it; it is no part of this suite."""

from __future__ import annotations

import pytest

collect_ignore = ["project"]


def pytest_configure(config: pytest.Config) -> None:
    """Where DagNats is installed, pytest has found its plugin by itself."""
    if not config.pluginmanager.has_plugin("dagnats"):
        config.pluginmanager.import_plugin("dagnats.testing.plugin")
