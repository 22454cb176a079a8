"""What people use in the tests of their own workflows.

The names are loaded when first used: without syrupy everything works but `CompiledJson` and its fixture.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagnats.handling.verdict import Paused as Paused
    from dagnats.testing.check import validate as validate
    from dagnats.testing.context import Given as Given
    from dagnats.testing.context import MockSyncTaskContext as MockSyncTaskContext
    from dagnats.testing.context import MockTaskContext as MockTaskContext
    from dagnats.testing.harness import Harness as Harness
    from dagnats.testing.harness import HarnessRun as HarnessRun
    from dagnats.testing.snapshot import CompiledJson as CompiledJson

_HOMES = {
    "CompiledJson": "dagnats.testing.snapshot",
    "Given": "dagnats.testing.context",
    "Harness": "dagnats.testing.harness",
    "HarnessRun": "dagnats.testing.harness",
    "MockSyncTaskContext": "dagnats.testing.context",
    "MockTaskContext": "dagnats.testing.context",
    "Paused": "dagnats.handling.verdict",
    "validate": "dagnats.testing.check",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]  # the same names as above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dagnats.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
