"""Commands for many runs pick theirs from a server's index, and from the log where that stops to answer."""

from __future__ import annotations

import msgspec

from dagnats.client.listing import summary_of
from dagnats.errors import UnavailableError
from dagnats.model.summary import RunPage, RunQuery
from dagnats.runtime.index.inquiry import PAGE
from tests.api.site import in_virtual_time, one_step, site


@in_virtual_time
async def test_the_index_says_which_and_the_log_what_it_does_not_come_to() -> None:
    async with site(one_step("solo")) as here:
        runs = [await here.client.start("solo") for _ in range(4)]
        listed = {run.run_id: run for run in await here.client.runs(workflow="solo")}
        newest = listed[runs[-1].run_id]
        asked: list[RunQuery] = []

        async def answer(data: bytes) -> bytes:
            asked.append(msgspec.json.decode(data, type=RunQuery))
            if len(asked) > 1:
                raise UnavailableError("it is being made")
            return msgspec.json.encode(RunPage(runs=(newest,), more=True))

        end = here.ports.inquiries.answer(PAGE, answer)
        done = await here.client.cancel_all("solo", reason="enough")
        end()

        assert (asked[0].workflow, asked[0].below, asked[1].below) == ("solo", 0, newest.seq)
        assert sorted(asked[0].statuses) == ["pending", "running", "scheduled"]
        assert [each.run_id for each in done] == [run.run_id for run in reversed(runs)]
        assert all(not each.problem for each in done)
        assert summary_of(await runs[0].wait()).status == "cancelled"


@in_virtual_time
async def test_an_index_that_has_said_all_is_not_doubted() -> None:
    async with site(one_step("solo")) as here:
        await here.client.start("solo")

        async def answer(data: bytes) -> bytes:
            return msgspec.json.encode(RunPage())

        end = here.ports.inquiries.answer(PAGE, answer)
        assert await here.client.cancel_all("solo") == []
        end()
        assert len(await here.client.cancel_all("solo")) == 1
