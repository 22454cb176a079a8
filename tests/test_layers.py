"""Imports point one way: errors ← model ← handling ← dsl, and errors, model ← runtime.core ← ports ← the rest."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dagnats"
OURS = {
    f"dagnats.{entry.stem}" for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()
}

# What a layer may import of ours; the first layer that fits a module counts. Itself is always allowed.
ALLOWED: dict[str, set[str]] = {
    "dagnats.errors": set(),
    "dagnats.model": {"dagnats.errors"},
    "dagnats.handling": {"dagnats.errors", "dagnats.model"},
    "dagnats.dsl": {"dagnats.errors", "dagnats.model", "dagnats.handling"},
    "dagnats.config": {"dagnats.errors", "dagnats.model"},
    "dagnats.runtime.core": {"dagnats.errors", "dagnats.model"},
    "dagnats.runtime.ports": {"dagnats.errors", "dagnats.model", "dagnats.runtime.core"},
    "dagnats.runtime.jetstream": {"dagnats.errors", "dagnats.model", "dagnats.handling", "dagnats.runtime"},
    "dagnats.runtime.memory": {"dagnats.errors", "dagnats.model", "dagnats.runtime"},
    "dagnats.runtime.foreign": {
        "dagnats.errors",
        "dagnats.model",
        "dagnats.handling",
        "dagnats.config",
        "dagnats.runtime.clock",
        "dagnats.runtime.embedded",
    },
}
FORBIDDEN: dict[str, set[str]] = {
    "dagnats.runtime.core": {"time", "random", "uuid", "secrets", "asyncio", "os", "socket", "threading"},
    "dagnats.runtime.engine": {"dagnats.runtime.jetstream", "dagnats.runtime.memory"},
    "dagnats.runtime.worker": {"dagnats.runtime.jetstream", "dagnats.runtime.memory"},
    "dagnats.runtime.jetstream": {"dagnats.runtime.memory"},
    "dagnats.runtime.memory": {"dagnats.runtime.jetstream"},
    "dagnats.runtime": {"dagnats.dsl", "dagnats.cli"},
}
NATS_USERS = "dagnats.runtime.jetstream"
# Everybody else asks the event loop, or the clock of the ports: tests and simulations have their own.
TIME_TELLERS = ("dagnats.runtime.clock", "dagnats.runtime.memory.loop")


def _within(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.AST) -> set[str]:
    """Every module a tree imports, under `if TYPE_CHECKING` too; `from a import b` counts as `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            found |= {str(node.module)} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def _breaches(module: str, tree: ast.AST) -> set[str]:
    imports = _imports(tree)
    breaches = {name for name in imports if _within(name, "nats") and not _within(module, NATS_USERS)}
    for layer, allowed in ALLOWED.items():
        if _within(module, layer):
            ours = {name for name in imports if any(_within(name, known) for known in OURS)}
            breaches |= {name for name in ours if not any(_within(name, known) for known in {layer, *allowed})}
    for layer, forbidden in FORBIDDEN.items():
        if _within(module, layer):
            breaches |= {name for name in imports if any(_within(name, known) for known in forbidden)}
    if (_within(module, "dagnats.runtime") or _within(module, "dagnats.client")) and module not in TIME_TELLERS:
        breaches |= {name for name in imports if _within(name, "time")}
    if _within(module, "dagnats.runtime.core"):
        calls = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        breaches |= {name for name in calls if name.endswith(("datetime.now", "datetime.utcnow", "date.today"))}
    return breaches


FILES = sorted(PACKAGE.rglob("*.py"))


def test_a_module_imports_only_what_its_layer_may() -> None:
    found = {_module(file): _breaches(_module(file), ast.parse(file.read_text())) for file in FILES}
    assert len(found) > 100
    assert {module: breaches for module, breaches in found.items() if breaches} == {}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dagnats.errors", "from dagnats.model import event"),
        ("dagnats.model.event", "from dagnats.dsl.step import Step"),
        ("dagnats.model.event", "from dagnats import dsl"),
        ("dagnats.handling.codec", "import dagnats.dsl.step"),
        ("dagnats.dsl.step", "from dagnats.runtime.core import advance"),
        ("dagnats.dsl.step", "if TYPE_CHECKING:\n    from dagnats.runtime.worker import Worker"),
        ("dagnats.runtime.core.turn", "from dagnats.runtime.ports import Log"),
        ("dagnats.runtime.core.turn", "def now():\n    import time"),
        ("dagnats.runtime.core.turn", "from datetime import datetime\nnow = datetime.now()"),
        ("dagnats.runtime.core.turn", "from random import random"),
        ("dagnats.config.load", "from dagnats.runtime.local import data_dir"),
        ("dagnats.runtime.foreign.request", "from dagnats.runtime.worker import Worker"),
        ("dagnats.runtime.ports", "from dagnats.runtime.engine import Engine"),
        ("dagnats.runtime.engine", "import nats.aio.client"),
        ("dagnats.runtime.worker", "from dagnats.runtime.memory.server import MemoryServer"),
        ("dagnats.runtime.memory.link", "from dagnats.runtime.jetstream.publish import TIMEOUT_S"),
        ("dagnats.runtime.lease", "import time"),
        ("dagnats.client.run", "from time import monotonic"),
        ("dagnats.runtime.engine", "from dagnats.runtime import jetstream"),
        ("dagnats.runtime.worker", "from dagnats.dsl.workflow import Workflow"),
        ("dagnats.client", "from nats import connect"),
        ("dagnats.cli.run", "import nats"),
    ],
)
def test_a_forbidden_import_would_be_found(module: str, line: str) -> None:
    assert _breaches(module, ast.parse(line))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dagnats.runtime.jetstream.log", "import nats"),
        ("dagnats.runtime.core.turn", "from datetime import timedelta\nfrom dagnats.runtime.core import saga"),
        ("dagnats.cli.run", "from dagnats.runtime.jetstream import log"),
        ("dagnats.dsl.step", "from dagnats.handling.handler import Handler"),
    ],
)
def test_an_allowed_import_is_not_a_breach(module: str, line: str) -> None:
    assert not _breaches(module, ast.parse(line))


def test_no_two_test_modules_share_a_name() -> None:
    """Where two do, pytest collects neither of them when both are asked for."""
    tests = Path(__file__).parent
    names = [file.name for file in tests.rglob("test_*.py") if "project" not in file.relative_to(tests).parts]
    assert sorted(names) == sorted(set(names))
