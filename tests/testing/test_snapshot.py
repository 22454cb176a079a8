"""`CompiledJson` pins bytes, and nothing needs syrupy but it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from syrupy.assertion import SnapshotAssertion

import dagnats.testing
from dagnats import DefinitionError, Workflow
from dagnats.testing import CompiledJson

WITHOUT_SYRUPY = """
import sys
sys.modules["syrupy"] = None
from dagnats import Workflow
from dagnats.testing import validate
import dagnats.testing.plugin
wf = Workflow("w")
wf.task("a", "t")
print(validate(wf).name)
try:
    from dagnats.testing import CompiledJson
except ImportError:
    print("only this needs it")
"""
LIGHT = """
import sys
import dagnats.testing.plugin
print(sorted({"pydantic", "syrupy", "msgspec", "nats"} & set(sys.modules)))
"""


def fresh(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def solo() -> Workflow:
    wf = Workflow("solo")
    wf.task("a", "t")
    return wf


def test_a_workflow_its_definition_and_its_bytes_are_pinned_alike() -> None:
    wf = solo()
    pin = CompiledJson()
    assert pin.serialize(wf) == pin.serialize(wf.build()) == pin.serialize(wf.to_json()) == wf.to_json()


def test_the_go_dialect_can_be_pinned(snapshot: SnapshotAssertion) -> None:
    assert solo().to_json("go") == snapshot(extension_class=CompiledJson)


def test_what_does_not_build_is_not_pinned() -> None:
    with pytest.raises(DefinitionError):
        CompiledJson().serialize(Workflow("empty"))


def test_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a workflow, a definition or bytes are expected, not 'text'"):
        CompiledJson().serialize("text")


def test_a_difference_is_shown_in_lines() -> None:
    shown = list(CompiledJson().diff_lines(b'{\n  "a": 1\n}\n', b'{\n  "a": 2\n}\n'))
    assert len(shown) == 4  # the changed line twice, and one around it on each side


def test_without_syrupy_everything_else_works() -> None:
    assert fresh(WITHOUT_SYRUPY) == ["w", "only this needs it"]


def test_the_plugin_costs_other_peoples_tests_nothing() -> None:
    assert fresh(LIGHT) == ["[]"]


def test_the_names_are_all_there() -> None:
    assert dagnats.testing.__all__ == [
        "CompiledJson",
        "Given",
        "Harness",
        "HarnessRun",
        "MockSyncTaskContext",
        "MockTaskContext",
        "Paused",
        "validate",
    ]
    assert set(dagnats.testing.__all__) <= set(dir(dagnats.testing))
    with pytest.raises(AttributeError, match=r"module 'dagnats\.testing' has no attribute 'Harnes'"):
        vars(dagnats.testing)["__getattr__"]("Harnes")
