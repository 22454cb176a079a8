"""References: what travels, where they are found, what they stand for, what may not look like one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from dagnats.errors import RefusedError
from dagnats.runtime.blob import (
    INLINE_BYTES,
    MOST_BYTES,
    BlobCache,
    BlobLost,
    carried,
    has_reference,
    moved,
    offloaded,
    resolved,
)

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports


class Shelf:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.reads = 0

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        self.kept[run_id, sha256] = data

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        self.reads += 1
        return self.kept.get((run_id, sha256))

    async def remove(self, run_id: str) -> None:
        self.kept = {key: data for key, data in self.kept.items() if key[0] != run_id}

    async def run_ids(self) -> list[str]:
        return sorted({run_id for run_id, _ in self.kept})

    async def newest_ns(self, run_id: str) -> int:
        return 0


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def ports(shelf: Shelf) -> Ports:
    return cast("Ports", SimpleNamespace(blobs=shelf))


def text_of(size: int, letter: str = "a") -> bytes:
    """A JSON string of `size` bytes."""
    return f'"{letter * (size - 2)}"'.encode()


async def test_what_fits_travels_itself(ports: Ports, shelf: Shelf) -> None:
    data = text_of(INLINE_BYTES)
    assert await carried(ports, "run", data, what="the result") is data
    assert not shelf.kept


async def test_one_byte_more_travels_as_a_small_reference_and_comes_back_whole(ports: Ports, shelf: Shelf) -> None:
    data = text_of(INLINE_BYTES + 1)
    travels = await carried(ports, "run", data, what="the result")
    assert len(travels) < 256
    assert has_reference(travels)
    assert json.loads(travels)["$dagnats.blob"]["bytes"] == len(data)
    assert await resolved(ports, travels) == data
    assert [run_id for run_id, _ in shelf.kept] == ["run"]


async def test_the_cap_itself_is_carried_and_one_byte_more_is_refused_with_both_numbers(
    ports: Ports, shelf: Shelf
) -> None:
    await carried(ports, "run", text_of(MOST_BYTES), what="the result")
    shelf.kept.clear()
    with pytest.raises(RefusedError, match=r"the result is too large: 67108865 bytes; at most 67108864 \(64 MiB\)"):
        await carried(ports, "run", text_of(MOST_BYTES + 1), what="the result")
    assert not shelf.kept


@pytest.mark.parametrize(
    "around",
    [
        b"%b",
        b'{"a":%b,"b":null}',
        b"[%b,1,%b]",
        b'{"original_output":%b,"error":"x"}',
        b'{"failed_step":"j","input":{"a":%b,"b":[%b]}}',
    ],
)
async def test_a_reference_is_resolved_wherever_the_engine_joins_payloads(ports: Ports, around: bytes) -> None:
    data = text_of(INLINE_BYTES + 1)
    travels = await carried(ports, "run", data, what="the result")
    full = await resolved(ports, around.replace(b"%b", travels))
    assert full == around.replace(b"%b", data)


async def test_what_is_offloaded_with_references_in_it_comes_back_whole(ports: Ports) -> None:
    data = text_of(INLINE_BYTES + 1)
    travels = await carried(ports, "run", data, what="the result")
    joined = b'{"a":' + travels + b',"b":' + text_of(INLINE_BYTES) + b"}"
    outer = await offloaded(ports, "run", joined, what="the input")
    assert await resolved(ports, outer, what="the input") == joined.replace(travels, data)


async def test_the_same_blob_is_read_once_for_one_payload(ports: Ports, shelf: Shelf) -> None:
    travels = await carried(ports, "run", text_of(INLINE_BYTES + 1), what="the result")
    await resolved(ports, b"[" + b",".join([travels] * 50) + b"]")
    assert shelf.reads == 1


async def test_an_input_may_have_the_cap_when_whole_and_no_byte_more(ports: Ports) -> None:
    half = MOST_BYTES // 2
    first = await carried(ports, "run", text_of(half), what="the result")
    second = await carried(ports, "run", text_of(half - 3), what="the result")
    whole = await resolved(ports, b"[" + first + b"," + second + b"]", what="the input")
    assert len(whole) == MOST_BYTES
    with pytest.raises(RefusedError, match="the input is too large: 67108865 bytes"):
        await resolved(ports, b"[" + first + b", " + second + b"]", what="the input")
    with pytest.raises(RefusedError, match="the input is too large"):
        await resolved(ports, b"[" + first + b"," + first + b"]", what="the input")


@pytest.mark.parametrize(
    "value",
    [
        b'{"$dagnats.blob":{"run":"r","sha256":"' + b"0" * 64 + b'","bytes":1}}',
        b'{"$dagnats.blob" : 1}',
        b'{"a":[{"b":0,"$dagnats.blob":null}]}',
    ],
)
async def test_a_users_value_with_the_reserved_key_is_refused(ports: Ports, value: bytes) -> None:
    with pytest.raises(RefusedError, match=r"the result has the key '\$dagnats.blob'") as caught:
        await carried(ports, "run", value, what="the result")
    assert caught.value.hint == "rename the key"


@pytest.mark.parametrize("text", ['{"$dagnats.blob":{"run":"r"}}', "$dagnats.blob", '"$dagnats.blob":'])
async def test_text_that_speaks_of_references_is_text(ports: Ports, text: str) -> None:
    data = json.dumps({"said": text, "more": [text]}, separators=(",", ":")).encode()
    assert await carried(ports, "run", data, what="the result") == data
    assert await resolved(ports, data) == data


async def test_a_missing_payload_is_an_error_that_names_run_and_hash(ports: Ports, shelf: Shelf) -> None:
    travels = await carried(ports, "run", text_of(INLINE_BYTES + 1), what="the result")
    ((_, digest),) = shelf.kept
    shelf.kept.clear()
    with pytest.raises(BlobLost, match=rf"run run \(262145 bytes, sha256 {digest}\) is not stored"):
        await resolved(ports, travels)
    assert await resolved(ports, travels, lenient=True) == travels


@pytest.mark.parametrize("damaged", [text_of(INLINE_BYTES + 1, "b"), text_of(INLINE_BYTES)])
async def test_a_damaged_payload_is_an_error_that_names_run_and_hash(
    ports: Ports, shelf: Shelf, damaged: bytes
) -> None:
    travels = await carried(ports, "run", text_of(INLINE_BYTES + 1), what="the result")
    ((_, digest),) = shelf.kept
    shelf.kept["run", digest] = damaged
    with pytest.raises(BlobLost, match=rf"run run \(262145 bytes, sha256 {digest}\) is damaged"):
        await resolved(ports, travels)


async def test_a_reference_that_crosses_runs_is_stored_under_the_receiver_with_all_it_holds(
    ports: Ports, shelf: Shelf
) -> None:
    data = text_of(INLINE_BYTES + 1)
    inner = await carried(ports, "child", data, what="the result")
    joined = b"[" + inner + b"," + text_of(INLINE_BYTES) + b"]"
    outer = await offloaded(ports, "child", joined, what="the output")
    theirs = await moved(ports, "parent", b'{"out":' + outer + b"}")
    await shelf.remove("child")
    assert await resolved(ports, theirs) == b'{"out":' + joined.replace(inner, data) + b"}"
    assert b'"child"' not in theirs
    assert await moved(ports, "parent", theirs) is theirs


async def test_a_cache_reads_what_was_read_lately_once_and_forgets_the_oldest(shelf: Shelf) -> None:
    cache = BlobCache(shelf, most_bytes=3 * INLINE_BYTES)
    ports = cast("Ports", SimpleNamespace(blobs=cache))
    size = INLINE_BYTES + 1
    first, second, third = [await carried(ports, "run", text_of(size, each), what="it") for each in "abc"]
    for travels in (first, second, first):
        await resolved(ports, travels)
    assert shelf.reads == 2
    await resolved(ports, third)  # there is room for two: the second is the one that rested longest
    await resolved(ports, first)
    assert shelf.reads == 3
    await resolved(ports, second)
    assert shelf.reads == 4


async def test_a_cache_keeps_nothing_that_is_damaged(shelf: Shelf) -> None:
    ports = cast("Ports", SimpleNamespace(blobs=BlobCache(shelf)))
    data = text_of(INLINE_BYTES + 1)
    travels = await carried(ports, "run", data, what="it")
    ((_, digest),) = shelf.kept
    shelf.kept["run", digest] = b"x"
    with pytest.raises(BlobLost):
        await resolved(ports, travels)
    shelf.kept["run", digest] = data
    assert await resolved(ports, travels) == data


async def test_a_cache_forgets_a_run_with_its_blobs(shelf: Shelf) -> None:
    cache = BlobCache(shelf)
    ports = cast("Ports", SimpleNamespace(blobs=cache))
    travels = await carried(ports, "run", text_of(INLINE_BYTES + 1), what="it")
    await resolved(ports, travels)
    await cache.remove("run")
    with pytest.raises(BlobLost):
        await resolved(ports, travels)
