"""Metrics as Prometheus reads them: the text format, version 0.0.4.

`prometheus_client` would bring a registry of its own that every process fills and that nobody empties; what is shown
here is asked for anew each time, and a page of it is all that is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """A metric and its values.

    Attributes:
        name: Words joined by `_`; of a counter, the last one is `total`.
        kind: Whether it only grows.
        help: What it says, in a line.
        values: By labels.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    values: Sequence[tuple[Labels, float]]


def exposition(samples: Iterable[Sample]) -> str:
    """All of them as one page."""
    return "".join(line for sample in samples for line in _lines(sample))


def _lines(sample: Sample) -> Iterator[str]:
    yield f"# HELP {sample.name} {_escaped(sample.help)}\n"
    yield f"# TYPE {sample.name} {sample.kind}\n"
    for labels, value in sample.values:
        told = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels.items())
        yield f"{sample.name}{{{told}}} {_number(value)}\n" if told else f"{sample.name} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
