"""OpenTelemetry's SDK, for the spans that handlers make themselves: the extra `dagnats[otel]` brings it."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from dagnats.runtime.telemetry.address import collector_address
from dagnats.runtime.telemetry.context import is_traced
from dagnats.runtime.telemetry.exporter import resource_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping


def begin_tracing(environment: Mapping[str, str] = os.environ) -> bool:
    """Have spans that handlers make sent to the collector; whether that is so now.

    Nothing is done where no collector is named, where the extra is not installed, and where somebody has set up an SDK
    before us. It ends with the process.
    """
    address = collector_address(environment)
    if address is None or "traces" not in address.urls or is_traced():
        return False
    try:  # by name: they are not there where the extra is not
        sdk: Any = import_module("opentelemetry.sdk.trace")
        batches: Any = import_module("opentelemetry.sdk.trace.export")
        resources: Any = import_module("opentelemetry.sdk.resources")
        otlp: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        return False
    provider = sdk.TracerProvider(resource=resources.Resource.create(resource_attributes(environment)))
    exporter = otlp.OTLPSpanExporter(
        endpoint=address.urls["traces"], headers=dict(address.headers), timeout=address.timeout_s
    )
    provider.add_span_processor(batches.BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return True
