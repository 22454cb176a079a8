"""What an engine keeps in memory, and how it knows what no snapshot has yet."""

from __future__ import annotations

from dagnats.model.run import Run
from dagnats.runtime.archive import due_after_s
from dagnats.runtime.roster import Roster


def run(run_id: str, seq: int, *, ended: bool = False) -> Run:
    return Run(run_id=run_id, workflow_id="w", status="completed" if ended else "running", seq=seq)


def folded(roster: Roster, *runs: Run) -> None:
    """One batch, its actions stored."""
    for each in runs:
        roster.fold(each, each.seq)
    roster.close_batch()
    roster.commit(after_s=0.0)


def test_the_first_event_without_a_snapshot_is_the_low_mark() -> None:
    roster = Roster()
    assert roster.low(default=1) == 1
    folded(roster, run("a", 5), run("b", 6))
    folded(roster, run("a", 9))
    assert roster.low(default=10) == 5

    first, second = roster.take(10)
    assert roster.low(default=10) == 5, "a snapshot that is on its way covers nothing yet"
    roster.saved(first, 1, 100, rest_s=0.0)
    assert roster.low(default=10) == 6
    roster.saved(second, 2, 100, rest_s=0.0)
    assert roster.low(default=10) == 10


def test_among_many_a_run_that_goes_on_is_saved_later_but_not_for_long() -> None:
    roster = Roster()
    assert due_after_s(1.0, roster.unsaved) == 1.0
    folded(roster, *(run(f"r{n}", n) for n in range(1, 201)))
    assert due_after_s(1.0, roster.unsaved) == 2.0
    assert due_after_s(1.0, 100_000) == 3.0


def test_what_a_batch_touches_is_not_saved_before_its_actions_are_stored() -> None:
    roster = Roster()
    roster.fold(run("a", 5), 5)
    assert roster.take(10) == []
    roster.close_batch()
    assert roster.take(10) == []
    roster.commit(after_s=0.0)
    assert [seat.run.seq for seat in roster.take(10)] == [5]


def test_a_run_that_a_later_batch_has_moved_waits_for_that_ones_actions() -> None:
    roster = Roster()
    for seq in (5, 7):
        roster.fold(run("a", seq), seq)
        roster.close_batch()
    roster.commit(after_s=0.0)
    assert roster.take(10) == [], "its state has event 7, whose actions are not stored"
    assert roster.low(default=8) == 5
    assert roster.is_waiting(0.0)
    roster.commit(after_s=0.0)
    assert [seat.run.seq for seat in roster.take(10)] == [7]


def test_a_run_that_moves_while_its_snapshot_is_on_its_way_is_saved_again() -> None:
    roster = Roster()
    folded(roster, run("a", 5))
    (seat,) = roster.take(10)
    folded(roster, run("a", 7))
    roster.saved(seat, 1, 100, rest_s=0.0)
    assert roster.low(default=8) == 7
    assert roster.take(10) == [seat]


def test_a_live_run_waits_for_its_snapshot_and_an_ended_one_does_not() -> None:
    roster = Roster()
    roster.fold(run("live", 5), 5)
    roster.fold(run("ended", 6, ended=True), 6)
    roster.close_batch()
    roster.commit(after_s=60.0)
    assert [seat.run.run_id for seat in roster.take(10)] == ["ended"]


def test_a_run_rests_after_a_snapshot_however_often_it_moves() -> None:
    roster = Roster()
    folded(roster, run("a", 5))
    (seat,) = roster.take(10)
    roster.saved(seat, 1, 100, rest_s=60.0)
    folded(roster, run("a", 6))
    assert roster.take(10) == []
    assert roster.low(default=7) == 6


def test_a_run_that_ends_while_its_snapshot_is_on_its_way_is_saved_at_once() -> None:
    roster = Roster()
    folded(roster, run("a", 1))
    (seat,) = roster.take(10)
    folded(roster, run("a", 2, ended=True))
    roster.saved(seat, 1, 100, rest_s=60.0)
    assert roster.take(10) == [seat]


def test_an_ended_run_leaves_once_it_is_saved() -> None:
    roster = Roster()
    folded(roster, run("a", 5, ended=True))
    (seat,) = roster.take(10)
    assert roster.seat("a") is not None
    roster.saved(seat, 1, 100, rest_s=0.0)
    assert roster.seat("a") is None


def test_an_ended_run_stays_while_a_batch_with_news_of_it_is_read() -> None:
    roster = Roster()
    folded(roster, run("a", 5, ended=True))
    (seat,) = roster.take(10)
    roster.expect({"a"})
    roster.saved(seat, 1, 100, rest_s=0.0)
    assert roster.seat("a") is not None


def test_a_standby_forgets_what_the_leader_has_saved() -> None:
    roster = Roster()
    folded(roster, run("ended", 5, ended=True), run("live", 6), run("later", 7))
    folded(roster, run("live", 9))
    roster.cover(8)
    assert roster.seat("ended") is None
    assert roster.low(default=10) == 8, "the live run has an event that no snapshot covers"
    assert {seat.run.run_id for seat in roster} == {"live", "later"}


def test_only_saved_runs_that_nobody_used_lately_are_evicted() -> None:
    roster = Roster(most_runs=2)
    for seq, run_id in enumerate(("old", "idle", "busy", "unsaved"), 5):
        folded(roster, run(run_id, seq))
        if run_id != "unsaved":
            (seat,) = roster.take(10)
            roster.saved(seat, 1, 100, rest_s=0.0)
    assert roster.evict() == [], "all of them were used since the last look"
    roster.seat("busy")
    assert [seat.run.run_id for seat in roster.evict()] == ["old", "idle"]
    assert {seat.run.run_id for seat in roster} == {"busy", "unsaved"}


def test_large_runs_are_evicted_by_their_size() -> None:
    roster = Roster(most_bytes=1_000)
    for seq, run_id in enumerate(("a", "b"), 5):
        folded(roster, run(run_id, seq))
        (seat,) = roster.take(10)
        roster.saved(seat, 1, 800, rest_s=0.0)
    roster.evict()
    assert [seat.run.run_id for seat in roster.evict()] == ["a"]
    assert len(roster) == 1
