"""Payloads that a state points at: out of memory when they were read lately, out of the log otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from dagnats.errors import RefusedError
from dagnats.model.event import SignalReceived, StepCompleted, encode_event
from dagnats.model.json import encode
from dagnats.model.pointer import Pointer
from dagnats.model.run import Run, Signal, StepState
from dagnats.runtime.blob import MOST_BYTES, BlobLost
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.pointer import Carriers, complete, complete_from
from dagnats.runtime.ports import Entry

if TYPE_CHECKING:
    from collections.abc import Coroutine

TEXT = b'"' + b"x" * 5_000 + b'"'


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


class Shelf:
    """A log of a few entries. `late`: how often it is asked in vain before it has them."""

    def __init__(self, *entries: Entry, late: int = 0) -> None:
        self.entries = {entry.seq: entry for entry in entries}
        self.late = late
        self.reads: list[int] = []

    async def at(self, seq: int) -> Entry | None:
        self.reads.append(seq)
        self.late -= 1
        return self.entries.get(seq) if self.late < 0 else None


def completed(seq: int, run_id: str = "run") -> Entry:
    event = StepCompleted(run_id=run_id, step_id=f"s{seq}", attempt_number=1, payload=encode("x" * 5_000))
    return Entry(seq, seq, run_id, encode_event(event))


def carriers(shelf: Shelf, **settings: int) -> Carriers:
    return Carriers(cast("Any", shelf), **settings)


def pointing(*seqs: int) -> bytes:
    return b"[" + b",".join(Pointer(seq, "", len(TEXT)).data for seq in seqs) + b"]"


def test_what_was_read_lately_is_put_in_at_once_and_what_was_not_is_read_together() -> None:
    async def main() -> None:
        shelf = Shelf(completed(1), completed(2), completed(3))
        known = carriers(shelf)
        known.keep(completed(1))
        assert known.at_hand("run", pointing(1, 1)) == b"[%b,%b]" % (TEXT, TEXT)
        assert known.at_hand("run", pointing(1, 2)) is None
        assert await known.whole("run", pointing(1, 2, 3, 2)) == b"[%b,%b,%b,%b]" % (TEXT, TEXT, TEXT, TEXT)
        assert sorted(shelf.reads) == [2, 3]
        plain = b'{"a":1}'
        assert await known.whole("run", plain) is plain

    run(main())


def test_no_more_is_kept_than_there_is_room_for_and_what_was_used_longest_ago_goes_first() -> None:
    known = carriers(Shelf(), most_bytes=2 * len(completed(1).data) + 100)
    for seq in (1, 2, 2):
        known.keep(completed(seq))
    assert known.at_hand("run", pointing(1)) is not None
    known.keep(completed(3))
    assert known.at_hand("run", pointing(2)) is None
    assert known.at_hand("run", pointing(1)) is not None
    assert known.at_hand("run", pointing(1, 3, 1)) is None  # more than there is room for
    known.clear()
    assert known.at_hand("run", pointing(3)) is None


def test_an_event_of_another_run_carries_nothing_of_this_one() -> None:
    async def main() -> None:
        known = carriers(Shelf(completed(1, "other")))
        known.keep(completed(2, "other"))
        assert known.at_hand("run", pointing(2)) is None
        for seq in (1, 2):
            with pytest.raises(BlobLost, match=rf"payload of run run \(5002 bytes\) is lost: event {seq}"):
                await known.whole("run", pointing(seq))

    run(main())


def test_what_is_gone_is_lost_and_stays_pointed_at_for_those_who_only_look() -> None:
    async def main() -> None:
        known = carriers(Shelf(completed(1)))
        with pytest.raises(BlobLost, match="event 7 does not carry it"):
            await known.whole("run", pointing(1, 7))
        assert await known.whole("run", pointing(1, 7), lenient=True) == pointing(1, 7).replace(pointing(1)[1:-1], TEXT)

    run(main())


def test_a_replica_that_is_behind_is_asked_again() -> None:
    async def main() -> None:
        assert await carriers(Shelf(completed(1), late=3)).whole("run", pointing(1)) == b"[%b]" % TEXT

    run(main())


def test_what_grows_too_large_is_refused_before_it_is_read() -> None:
    async def main() -> None:
        shelf = Shelf()
        many = pointing(*range(1, MOST_BYTES // len(TEXT) + 2))
        with pytest.raises(RefusedError, match="the input of step 'a' is too large"):
            await carriers(shelf).whole("run", many, what="the input of step 'a'")
        assert shelf.reads == []

    run(main())


def state() -> Run:
    def pointer(at: str = "", seq: int = 1) -> Any:
        return msgspec.Raw(Pointer(seq, at, len(TEXT)).data)

    return Run(
        run_id="run",
        workflow_id="w",
        input=encode(7),
        steps={"a": StepState(output=pointer(), input=pointer()), "b": StepState(output=pointer(seq=9))},
        signals=[Signal(name="go", seq=2, data=pointer(seq=2))],
        early={"c": pointer()},
    )


def history() -> list[Entry]:
    signal = SignalReceived(run_id="run", name="go", payload=encode("x" * 5_000))
    return [completed(1), Entry(2, 2, "run", encode_event(signal))]


def seen(run: Run) -> list[bytes]:
    steps = [each for step in run.steps.values() for each in (step.input, step.output)]
    return [bytes(each) for each in (run.input, *steps, run.signals[0].data, run.early["c"], run.outcome.output)]


def test_a_state_is_completed_from_the_log_or_from_a_history_that_was_read() -> None:
    async def main() -> None:
        one, other = state(), state()
        await complete(carriers(Shelf(*history())), one)
        complete_from(history(), other)
        lost = Pointer(9, "", len(TEXT)).data
        assert seen(one) == seen(other) == [b"7", TEXT, TEXT, b"", lost, TEXT, TEXT, b""]
        plain = Run(run_id="run", workflow_id="w", input=encode(7))
        await complete(carriers(Shelf()), plain)
        assert bytes(plain.input) == b"7"

    run(main())
