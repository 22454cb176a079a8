"""Where a collector of OpenTelemetry is, as the variables say that all programs with OpenTelemetry have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIX = "OTEL_EXPORTER_OTLP"
_TIMEOUT_S = 10.0

EXPORT = "telemetry"
"""The service that says whether exporting works."""


@dataclass(frozen=True, slots=True)
class CollectorAddress:
    """Where it is.

    Attributes:
        urls: By signal: `traces`, `metrics`, `logs`; those that are switched off are not there.
        headers: Sent with everything; they may be secrets.
        timeout_s: How long an answer is waited for.
    """

    urls: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_s: float = _TIMEOUT_S


def collector_address(environment: Mapping[str, str]) -> CollectorAddress | None:
    """What the variables of OpenTelemetry say; None when they name no collector."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    base = environment.get(f"{_PREFIX}_ENDPOINT", "").strip().rstrip("/")
    urls: dict[str, str] = {}
    for signal in ("traces", "metrics", "logs"):
        own = environment.get(f"{_PREFIX}_{signal.upper()}_ENDPOINT", "").strip()
        url = own or (f"{base}/v1/{signal}" if base else "")
        if url and environment.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip() != "none":
            urls[signal] = url
    if not urls:
        return None
    timeout = environment.get(f"{_PREFIX}_TIMEOUT", "").strip()
    return CollectorAddress(
        urls, dict(_pairs(environment.get(f"{_PREFIX}_HEADERS", ""))), _seconds(timeout) or _TIMEOUT_S
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            yield name.strip(), unquote(value.strip())


def _seconds(millis: str) -> float:
    return int(millis) / 1_000 if millis.isascii() and millis.isdigit() else 0.0
