"""An order saga whose effects are written to a file: what really happened, outside NATS.

Run by worker processes; the ledger's path is in LEDGER. One line an effect: `begin|end <handler> <order> <attempt>`.
An effect takes 50 ms, or as many seconds as LEDGER_EFFECT_S says.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from dagnats import Abort, Compensation, Fixed, TaskContext, Workflow, handler

EFFECT_S = float(os.environ.get("LEDGER_EFFECT_S", "0.05"))


class Order(BaseModel):
    """`kind` says how it goes: `good`, `declined`, or `flaky` (the carrier fails twice)."""

    id: str
    kind: str


class Step(BaseModel):
    order: Order


def _write(line: str) -> None:
    """One write of one line to a file opened for appending is atomic, whoever else writes or dies."""
    descriptor = os.open(Path(os.environ["LEDGER"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


async def _effect(name: str, order: Order, attempt: int) -> None:
    _write(f"begin {name} {order.id} {attempt}")
    await asyncio.sleep(EFFECT_S)
    _write(f"end {name} {order.id} {attempt}")


@handler("ledger.reserve")
async def reserve(order: Order, ctx: TaskContext) -> Step:
    await _effect("reserve", order, ctx.attempt)
    return Step(order=order)


@handler("ledger.charge")
async def charge(step: Step, ctx: TaskContext) -> Step:
    if step.order.kind == "declined":
        raise Abort("card declined")
    await _effect("charge", step.order, ctx.attempt)
    return step


@handler("ledger.ship")
async def ship(step: Step, ctx: TaskContext) -> Step:
    if step.order.kind == "flaky" and ctx.attempt <= 2:
        raise RuntimeError("the carrier does not answer")
    await _effect("ship", step.order, ctx.attempt)
    return step


@handler("ledger.release")
async def release(undo: Compensation[Step], ctx: TaskContext) -> None:
    await _effect("release", undo.original_output.order, ctx.attempt)


wf = Workflow("ledger")
_reserve = wf.task("reserve", reserve).with_compensation("release").with_timeout("20s")
_charge = wf.task("charge", charge).after(_reserve).with_timeout("20s")
_ship = (
    wf.task("ship", ship).after(_charge).with_retry(Fixed(max_attempts=3, initial_delay="100ms")).with_timeout("20s")
)
wf.task("release", release)
