"""What there is to be measured at a moment: runs, queues, the engine, workers, dead letters, this process."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagnats
from dagnats.errors import DagnatsError
from dagnats.model.summary import RunQuery
from dagnats.runtime.index.inquiry import ask_count
from dagnats.runtime.lease import EXPIRES_S
from dagnats.runtime.position import decode_position
from dagnats.runtime.telemetry.meter import Key, bounded
from dagnats.runtime.telemetry.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dagnats.runtime.ports import Ports
    from dagnats.runtime.telemetry.exporter import Exporter
    from dagnats.runtime.telemetry.meter import Meter

_SECOND = 1_000_000_000
_PATIENCE_S = 3.0


async def measured(ports: Ports, meter: Meter, exporter: Exporter | None = None) -> list[Sample]:
    """All metrics. What cannot be asked for just now is left out: the others are wanted all the more."""
    found = await asyncio.gather(
        *(_asked(each, ports) for each in (_runs, _queues, _engine, _store, _workers, _letters))
    )
    there = [sample for samples in found if samples is not None for sample in samples]
    nats = _gauge("dagnats_nats_up", "Whether NATS answers.", float(any(each is not None for each in found)))
    return [nats, *there, *meter.samples(), *_telemetry(exporter), *_process(meter)]


async def _asked(question: Callable[[Ports], Awaitable[list[Sample]]], ports: Ports) -> list[Sample] | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await question(ports)
    except (DagnatsError, TimeoutError):
        return None


def _gauge(name: str, help: str, value: float) -> Sample:
    return Sample(name, "gauge", help, [({}, value)])


def _labelled(name: str, help: str, labels: Key, values: Mapping[Key, float]) -> Sample:
    kept: dict[Key, float] = {}
    for key, value in values.items():
        there = bounded(key, kept)
        kept[there] = kept.get(there, 0.0) + value
    return Sample(name, "gauge", help, [(dict(zip(labels, key, strict=True)), kept[key]) for key in sorted(kept)])


async def _runs(ports: Ports) -> list[Sample]:
    tallies = await ask_count(ports.inquiries, RunQuery()) or []
    values = {(each.workflow, each.status): float(each.count) for each in tallies}
    return [_labelled("dagnats_runs", "Runs that are kept, by status.", ("workflow", "status"), values)]


async def _queues(ports: Ports) -> list[Sample]:
    queues, now_ns = await ports.tasks.overview(), ports.clock.now_ns()
    oldest = {(each.name,): max(now_ns - each.oldest_ns, 0) / _SECOND if each.oldest_ns else 0.0 for each in queues}
    depth = {(each.name,): float(each.waiting) for each in queues}
    flight = {(each.name,): float(each.in_flight) for each in queues}
    again = {(each.name,): float(each.redelivered) for each in queues}
    of = ("queue",)
    return [
        _labelled("dagnats_queue_depth", "Tasks that wait for a worker.", of, depth),
        _labelled("dagnats_queue_in_flight", "Tasks that workers have.", of, flight),
        _labelled("dagnats_queue_redelivered", "Tasks in flight that were handed out before.", of, again),
        _labelled("dagnats_queue_oldest_seconds", "How old the oldest task is that is not done.", of, oldest),
    ]


async def _engine(ports: Ports) -> list[Sample]:
    lease, position, last = await asyncio.gather(ports.lease.read(), ports.position.read(), ports.log.last())
    at = decode_position(position.data) if position is not None else None
    silent_s = max(ports.clock.now_ns() - lease.time_ns, 0) / _SECOND if lease is not None else 0.0
    leads = lease is not None and bool(lease.data) and silent_s < EXPIRES_S
    samples = [
        _gauge("dagnats_engine_leads", "Whether an engine leads, here or elsewhere.", float(leads)),
        _gauge(
            "dagnats_history_lag_events", "Events that are not decided.", max(last - (at.seq if at else 0), 0)
        ),
        _gauge("dagnats_history_last_sequence", "The newest event's place in the log.", last),
        _gauge("dagnats_runs_active", "Runs that have begun and not ended.", at.active if at else 0),
    ]  # fmt: skip
    if lease is not None:
        samples.append(_gauge("dagnats_engine_lease_age_seconds", "When the leader has shown itself last.", silent_s))
    return samples


async def _store(ports: Ports) -> list[Sample]:
    holding = await ports.server.holding()
    samples = [_gauge("dagnats_store_bytes", "What is stored: what counts against the nearest limit.", holding.used)]
    if holding.limit:
        samples.append(_gauge("dagnats_store_limit_bytes", "How much may be stored by that limit.", holding.limit))
    return samples


async def _workers(ports: Ports) -> list[Sample]:
    return [_gauge("dagnats_workers", "Workers that show themselves.", len(await ports.directory.all()))]


async def _letters(ports: Ports) -> list[Sample]:
    return [_gauge("dagnats_dead_letters", "Dead letters that are kept.", await ports.dead_letters.count())]


def _telemetry(exporter: Exporter | None) -> list[Sample]:
    if exporter is None:
        return []
    found = [("stream", exporter.lost)]
    sent: list[tuple[Mapping[str, str], float]] = []
    if exporter.collector is not None:
        found.append(("collector", exporter.collector.lost))
        sent.append(({"to": "collector"}, exporter.collector.sent))
    lost = [({"to": to}, float(count)) for to, count in found]
    return [
        Sample("dagnats_telemetry_lost_total", "counter", "Pieces of telemetry that were not sent.", lost),
        Sample("dagnats_telemetry_exported_total", "counter", "Pieces of telemetry a collector has taken.", sent),
    ]


def _process(meter: Meter) -> list[Sample]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = {"version": dagnats.__version__, "python": ".".join(map(str, sys.version_info[:3]))}
    cpu_s = usage.ru_utime + usage.ru_stime
    samples = [
        Sample("dagnats_build_info", "gauge", "Which DagNats this is.", [(told, 1.0)]),
        Sample("process_cpu_seconds_total", "counter", "Processor time of this process.", [({}, cpu_s)]),
        _gauge(
            "process_start_time_seconds", "When the counters began, in seconds since 1970.", meter.since_ns / _SECOND
        ),
    ]
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except (OSError, IndexError, ValueError):  # not Linux
        return samples
    size = pages * os.sysconf("SC_PAGE_SIZE")
    return [
        *samples,
        _gauge("process_resident_memory_bytes", "Memory that this process has.", size),
        _gauge("process_open_fds", "Files and connections that this process has open.", files),
    ]
