"""`import dagnats` is cheap, and everything it promises is there."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import NamedTuple

import msgspec
import pytest

import dagnats

MEASURE = """
import json, sys, time
began = time.perf_counter()
import dagnats
seconds = time.perf_counter() - began
print(json.dumps([seconds, sorted(sys.modules)]))
"""


class Import(NamedTuple):
    seconds: float
    modules: list[str]


def _fresh_import() -> Import:
    told = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True).stdout
    return msgspec.json.decode(told, type=Import)


@pytest.mark.alone
def test_importing_dagnats_loads_no_nats_and_takes_at_most_150_ms() -> None:
    imports = [_fresh_import() for _ in range(7)]
    heavy = {"nats", "pydantic", "msgspec", "uvloop", "opentelemetry"}
    assert not heavy & {name.partition(".")[0] for name in imports[0].modules}
    assert statistics.median(found.seconds for found in imports) <= 0.150


def test_the_names_are_sorted_and_each_is_listed_by_dir() -> None:
    assert list(dagnats.__all__) == sorted(set(dagnats.__all__))
    assert set(dagnats.__all__) <= set(dir(dagnats))


@pytest.mark.parametrize("name", dagnats.__all__)
def test_every_promised_name_resolves(name: str) -> None:
    value = getattr(dagnats, name)
    assert value.__name__ == name
    assert getattr(dagnats, name) is value


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dagnats' has no attribute 'Workflows'"):
        vars(dagnats)["__getattr__"]("Workflows")
