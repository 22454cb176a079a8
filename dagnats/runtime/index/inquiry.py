"""The index, answering inquiries: clients that are connected to NATS ask it as if it were theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import UnavailableError
from dagnats.model.summary import RunPage, RunQuery, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.index.indexer import Indexer
    from dagnats.runtime.ports import Inquiries

PAGE = "runs.page"
COUNT = "runs.count"

_LARGEST = 512 * 1024  # bytes of an answer: servers take a megabyte, unless told otherwise

_query = msgspec.json.Decoder(RunQuery).decode
_page = msgspec.json.Decoder(RunPage).decode
_tallies = msgspec.json.Decoder(list[Tally]).decode
_encode = msgspec.json.Encoder().encode


def open_inquiries(inquiries: Inquiries, index: Indexer) -> Callable[[], None]:
    """Answer from an index; what is returned ends it."""

    async def page(data: bytes) -> bytes:
        return _fitting(await index.page(_asked(data)))

    async def count(data: bytes) -> bytes:
        return _encode(await index.count(_asked(data)))

    ends = [inquiries.answer(PAGE, page), inquiries.answer(COUNT, count)]

    def end() -> None:
        for each in ends:
            each()

    return end


def _asked(data: bytes) -> RunQuery:
    try:
        return _query(data)
    except msgspec.DecodeError as error:
        raise UnavailableError(f"this server's index does not know this question: {error}") from None


def _fitting(page: RunPage) -> bytes:
    """A page as a message; of a page that is too large, its beginning."""
    while len(data := _encode(page)) > _LARGEST and len(page.runs) > 1:
        page = RunPage(runs=page.runs[: len(page.runs) // 2], more=True)
    return data


async def ask_page(inquiries: Inquiries, query: RunQuery) -> RunPage | None:
    """The runs that fit, newest first: maybe fewer than asked for, with `more`. None when no server has an index."""
    data = await inquiries.ask(PAGE, _encode(query))
    return _page(data) if data is not None else None


async def ask_count(inquiries: Inquiries, query: RunQuery) -> list[Tally] | None:
    """How many runs fit, by workflow and status. None when no server has an index."""
    data = await inquiries.ask(COUNT, _encode(query))
    return _tallies(data) if data is not None else None
