import asyncio
from collections.abc import Callable
from datetime import timedelta

from dagnats import Abort, Compensation
from dagnats.testing import Harness
from workflows.order import wf


async def declined() -> None:
    async with Harness([wf]) as h:
        h.stub("payment.charge", raises=Abort("declined"))
        h.stub("inventory.release", returns=None)
        run = await h.run("order", "42")
    assert run.status == "compensated"
    assert run.failed_step == "charge"
    assert h.calls("inventory.release") == 1
    assert h.clock.elapsed < timedelta(seconds=1)


def test_a_declined_card_releases_the_stock() -> None:
    asyncio.run(declined())


async def busy(h: Harness) -> None:
    h.stub("payment.charge", returns="receipt")
    h.stub("payment.charge", raises=ConnectionError("busy"), times=2)
    run = await h.start("order", "42")
    await h.advance(minutes=59)
    assert h.calls("payment.charge") == 1
    await h.crash_engine()  # whoever comes after it goes on where it was
    ended = await run.wait()
    assert (ended.status, ended.output) == ("completed", "receipt")
    assert h.calls("payment.charge") == 3
    assert h.clock.elapsed >= timedelta(hours=5)  # and took no time


def test_a_busy_provider_is_asked_again_an_hour_later_and_then_after_four(
    dagnats_harness: Callable[..., Harness],
) -> None:
    asyncio.run(busy(dagnats_harness([wf])))


async def never_answers(order: str) -> str:
    await asyncio.Event().wait()
    return order


async def released(undone: Compensation[str]) -> None:
    assert undone.original_output == "shelf of 42"


async def silent() -> None:
    async with Harness([wf]) as h:
        h.stub("payment.charge", never_answers)
        h.stub("inventory.release", released)
        run = await h.run("order", "42")
    assert (run.status, h.calls("payment.charge")) == ("compensated", 4)
    assert "timeout of 30s" in run.error


def test_a_provider_that_never_answers_is_given_up() -> None:
    asyncio.run(silent())
