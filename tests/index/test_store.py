"""The index's file: what is asked of it, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagnats.model.summary import RunQuery, RunSummary, Tally
from dagnats.runtime.index.store import Place, Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def line(seq: int, **fields: Any) -> RunSummary:
    """A run's line; one second lies between two runs."""
    given: dict[str, Any] = {
        "seq": seq,
        "run_id": f"run-{seq:02}",
        "workflow": "order",
        "status": "running",
        "created_ns": seq * 1_000_000_000,
    }
    given |= fields
    return RunSummary(**given)


LINES = [
    line(1, status="completed", labels={"team": "a", "tier": "1"}),
    line(2, status="failed", error="charge: card DECLINED", labels={"team": "b"}),
    line(3, workflow="report", labels={"team": "a"}),
    line(4, status="failed", error='say "no"', parent_run_id="run-01", labels={"team": "a", "tier": "1"}),
    line(5, workflow="report", status="compensated", error="100 % ♥", parent_run_id="run-01"),
    line(6, run_id="other-6", status="pending"),
]


class File:
    def __init__(self, file: Path) -> None:
        self.writer = Writer(file)
        self.reader = Reader(file)

    def put(self, *lines: RunSummary, removed: tuple[str, ...] = ()) -> None:
        after = {**{line.run_id: line for line in lines}, **dict.fromkeys(removed)}
        self.writer.write(self.writer.lines(list(after)), after, Place(lines[-1].seq if lines else 99, 7))

    def seqs(self, **asked: Any) -> list[int]:
        return [line.seq for line in self.reader.page(RunQuery(**asked)).runs]

    def counts(self, **asked: Any) -> dict[tuple[str, str], int]:
        return {(tally.workflow, tally.status): tally.count for tally in self.reader.count(RunQuery(**asked))}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path / "index.sqlite")
    file.put(*LINES)
    yield file
    file.reader.close()
    file.writer.close()


ASKED: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [6, 5, 4, 3, 2, 1]),
    ({"workflow": "report"}, [5, 3]),
    ({"statuses": ("failed",)}, [4, 2]),
    ({"statuses": ("failed", "completed")}, [4, 2, 1]),
    ({"statuses": ("failed", "completed"), "limit": 2}, [4, 2]),
    ({"workflow": "report", "statuses": ("compensated",)}, [5]),
    ({"labels": {"team": "a"}}, [4, 3, 1]),
    ({"labels": {"team": "a", "tier": "1"}}, [4, 1]),
    ({"labels": {"team": "a"}, "workflow": "order", "statuses": ("failed",)}, [4]),
    ({"labels": {"team": "c"}}, []),
    ({"parent_run_id": "run-01"}, [5, 4]),
    ({"prefix": "run-"}, [5, 4, 3, 2, 1]),
    ({"prefix": "run-01"}, [1]),
    ({"prefix": "run-0", "limit": 2}, [5, 4]),
    ({"error": "declined"}, [2]),
    ({"error": 'say "no"'}, [4]),
    ({"error": "no"}, [4]),
    ({"error": "0 % ♥"}, [5]),
    ({"error": "%"}, [5]),
    ({"error": "_"}, []),
    ({"error": "charge", "labels": {"team": "a"}}, []),
    ({"error": "charge", "labels": {"team": "b"}}, [2]),
    ({"after_ns": 4_000_000_000}, [6, 5, 4]),
    ({"after_ns": 3_500_000_000, "before_ns": 6_000_000_000}, [5, 4]),
    ({"after_ns": 60_000_000_000}, []),
    ({"before_ns": 1_000_000_000}, []),
    ({"before_ns": 60_000_000_000, "workflow": "order"}, [6, 4, 2, 1]),
    ({"among": ("rep*",)}, [5, 3]),
    ({"among": ("report", "o*r")}, [6, 5, 4, 3, 2, 1]),
    ({"among": ("orde?",), "statuses": ("failed",), "limit": 1}, [4]),
    ({"among": ("rep*",), "workflow": "order"}, []),
    ({"among": ("rep*",), "labels": {"team": "a"}}, [3]),
    ({"among": ("REPORT",)}, []),
    ({"below": 4}, [3, 2, 1]),
    ({"below": 4, "labels": {"team": "a"}}, [3, 1]),
    ({"below": 5, "error": "say"}, [4]),
]


@pytest.mark.parametrize(("asked", "seqs"), ASKED, ids=[str(asked) for asked, _ in ASKED])
def test_a_question_gives_the_runs_that_fit_newest_first_and_counts_as_many(
    file: File, asked: dict[str, Any], seqs: list[int]
) -> None:
    assert file.seqs(**asked) == seqs
    if not {"limit", "below"} & asked.keys():
        assert sum(file.counts(**asked).values()) == len(seqs)


def test_of_patterns_that_many_workflows_fit_all_are_found(file: File) -> None:
    many = [line(at, workflow=f"many-{at}") for at in range(10, 110)]
    file.put(*many)
    assert file.seqs(among=("many-*",), limit=200) == list(range(109, 9, -1))
    assert len(file.counts(among=("many-*",))) == 100


def test_a_page_says_whether_there_is_more_behind_it(file: File) -> None:
    first = file.reader.page(RunQuery(limit=4))
    assert (len(first.runs), first.more) == (4, True)
    second = file.reader.page(RunQuery(limit=4, below=first.runs[-1].seq))
    assert ([run.seq for run in second.runs], second.more) == ([2, 1], False)
    assert not file.reader.page(RunQuery(limit=6)).more


def test_a_line_comes_back_as_it_was_written(file: File) -> None:
    assert list(file.reader.page(RunQuery()).runs) == LINES[::-1]


def test_a_change_moves_a_run_from_one_status_to_another(file: File) -> None:
    file.put(line(3, workflow="report", status="failed", error="late", labels={"team": "a"}))
    assert file.seqs(statuses=("failed",)) == [4, 3, 2]
    assert file.seqs(workflow="report", statuses=("running",)) == []
    assert file.seqs(error="late") == [3]
    assert file.counts(workflow="report") == {("report", "compensated"): 1, ("report", "failed"): 1}
    file.put(line(3, workflow="report", labels={"team": "a"}))
    assert file.seqs(error="late") == []
    assert file.counts(workflow="report") == {("report", "compensated"): 1, ("report", "running"): 1}


def test_a_removed_run_is_in_no_answer(file: File) -> None:
    file.put(removed=("run-04", "run-02", "nobody"))
    assert file.seqs() == [6, 5, 3, 1]
    assert file.seqs(error="say") == file.seqs(error="charge") == file.seqs(statuses=("failed",)) == []
    assert file.seqs(labels={"team": "a"}) == [3, 1]
    assert ("order", "failed") not in file.counts()


def test_a_name_that_is_used_again_is_another_run(file: File) -> None:
    file.put(line(9, run_id="run-02", labels={"team": "z"}))
    assert file.seqs() == [9, 6, 5, 4, 3, 1]
    assert file.seqs(labels={"team": "b"}) == file.seqs(error="charge") == []
    assert file.counts()["order", "failed"] == 1


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "index.sqlite"
    first = File(file)
    first.put(*LINES)
    first.writer.close()
    first.reader.close()
    again = File(file)
    assert again.writer.place() == Place(6, 7)
    assert again.counts(workflow="report") == {("report", "compensated"): 1, ("report", "running"): 1}
    again.writer.clear()
    assert (again.seqs(), again.counts(), again.writer.place()) == ([], {}, Place())


@pytest.mark.parametrize("spoilt", [b"", b"no database at all", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_index_is_made_anew(tmp_path: Path, spoilt: bytes) -> None:
    file = tmp_path / "index.sqlite"
    file.write_bytes(spoilt)
    index = File(file)
    index.put(*LINES)
    assert len(index.seqs()) == 6
    assert index.reader.count(RunQuery(statuses=("pending",))) == [Tally(workflow="order", status="pending", count=1)]
