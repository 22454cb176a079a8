"""The lines of all runs in one SQLite file: written by one thread, read by another. Losing it loses nothing.

Lines are kept in the order in which the runs were started: `seq`, the sequence of a run's first event, is the key of
everything, so that a page is where the page before ended, however many runs there are.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from dagnats.model.access import fits
from dagnats.model.run import RunStatus
from dagnats.model.summary import RunPage, RunSummary, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dagnats.model.summary import RunQuery

FORMAT = 2
"""Of the file. One of another format is made anew."""

_BATCH = 500  # variables in one statement; SQLite takes 32,766

_TABLES = {
    "run": "CREATE TABLE run (seq INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, workflow TEXT NOT NULL,"
    " status TEXT NOT NULL, created_ns INTEGER NOT NULL, parent_run_id TEXT NOT NULL, line BLOB NOT NULL)",
    "label": "CREATE TABLE label (name TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY (name, value, seq)) WITHOUT ROWID",
    "failure": "CREATE VIRTUAL TABLE failure USING fts5 (error, tokenize = 'trigram')",
    "tally": "CREATE TABLE tally (workflow TEXT NOT NULL, status TEXT NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (workflow, status)) WITHOUT ROWID",
    "place": "CREATE TABLE place (format INTEGER NOT NULL, seq INTEGER NOT NULL, time_ns INTEGER NOT NULL)",
}
_INDEXES = (
    "CREATE INDEX run_in_status ON run (workflow, status, seq)",
    "CREATE INDEX run_by_status ON run (status, seq)",
    "CREATE INDEX run_by_parent ON run (parent_run_id, seq) WHERE parent_run_id != ''",
)
_COMMON = 10_000  # runs with one label: how many more there are makes no difference
_STATUSES = get_args(RunStatus)
_MOST_WALKS = 50  # through the index of single workflows, for patterns

_decode = msgspec.msgpack.Decoder(RunSummary).decode
_encode = msgspec.msgpack.Encoder().encode


class Place(NamedTuple):
    """How far the log is in the index: an event's sequence, and the server's time for it."""

    seq: int = 0
    time_ns: int = 0


class Writer:
    """Changes the index. To be used by one thread at a time.

    Args:
        file: Where it is; made when it is not there, or is no index of this format.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._database = _opened(file)
            formats = self._database.execute("SELECT format FROM place").fetchall()
        except sqlite3.DatabaseError:
            formats = []
        if formats != [(FORMAT,)]:
            discard(file)
            self._database = _opened(file)
            self.clear()

    def clear(self) -> None:
        """Begin anew, with an empty index."""
        with self._database:
            self._database.execute("BEGIN")
            for table in _TABLES:
                self._database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in (*_TABLES.values(), *_INDEXES):
                self._database.execute(statement)
            self._database.execute("INSERT INTO place VALUES (?, 0, 0)", (FORMAT,))

    def place(self) -> Place:
        """How far it is."""
        return Place(*self._database.execute("SELECT seq, time_ns FROM place").fetchone())

    def lines(self, run_ids: Sequence[str]) -> dict[str, RunSummary]:
        """The lines that are there, by run."""
        found: dict[str, RunSummary] = {}
        for at in range(0, len(run_ids), _BATCH):
            some = run_ids[at : at + _BATCH]
            query = f"SELECT line FROM run WHERE run_id IN ({','.join('?' * len(some))})"
            found |= {line.run_id: line for line in map(_line, self._database.execute(query, some))}
        return found

    def write(self, before: dict[str, RunSummary], after: dict[str, RunSummary | None], place: Place) -> None:
        """Replace lines by those behind `place`, all at once; None for a run that is removed.

        Args:
            before: What `lines` gave for the runs in `after`.
        """
        changed = [(before.get(run_id), line) for run_id, line in after.items() if before.get(run_id) != line]
        with self._database:
            gone = [old for old, new in changed if old is not None and (new is None or new.seq != old.seq)]
            self._remove(gone)
            self._put([(old, new) for old, new in changed if new is not None])
            self._count(changed)
            self._database.execute("UPDATE place SET seq = ?, time_ns = ?", place)

    def _remove(self, lines: list[RunSummary]) -> None:
        for table, key in (("run", "seq"), ("failure", "rowid")):
            self._database.executemany(f"DELETE FROM {table} WHERE {key} = ?", [(line.seq,) for line in lines])
        labels = [(name, value, line.seq) for line in lines for name, value in line.labels.items()]
        self._database.executemany("DELETE FROM label WHERE name = ? AND value = ? AND seq = ?", labels)

    def _put(self, changed: list[tuple[RunSummary | None, RunSummary]]) -> None:
        lines = [new for _, new in changed]
        self._database.executemany(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seq) DO UPDATE SET"
            " status = excluded.status, line = excluded.line",
            [_row(line) for line in lines],
        )
        labels = [
            (name, value, line.seq)
            for old, line in changed
            if old is None or old.seq != line.seq
            for name, value in line.labels.items()
        ]
        self._database.executemany("INSERT OR IGNORE INTO label VALUES (?, ?, ?)", labels)
        failed = [(old, line) for old, line in changed if line.error != (old.error if old is not None else "")]
        self._database.executemany("DELETE FROM failure WHERE rowid = ?", [(line.seq,) for _, line in failed])
        errors = [(line.seq, line.error) for _, line in failed if line.error]
        self._database.executemany("INSERT INTO failure (rowid, error) VALUES (?, ?)", errors)

    def _count(self, changed: Iterable[tuple[RunSummary | None, RunSummary | None]]) -> None:
        counts: dict[tuple[str, str], int] = {}
        for pair in changed:
            for line, step in zip(pair, (-1, 1), strict=True):
                if line is not None:
                    key = (line.workflow, line.status)
                    counts[key] = counts.get(key, 0) + step
        self._database.executemany(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*key, count) for key, count in counts.items() if count],
        )

    def close(self) -> None:
        self._database.close()


class Reader:
    """Answers questions. To be used by one thread at a time, beside a writer in another."""

    def __init__(self, file: Path) -> None:
        self._database = _opened(file)

    def page(self, query: RunQuery) -> RunPage:
        """The runs that fit, newest first."""
        found = [line for one in self._each_workflow(query) for line in self._newest_of(one)]
        found.sort(key=lambda line: -line.seq)
        return RunPage(runs=tuple(found[: query.limit]), more=len(found) > query.limit)

    def _each_workflow(self, query: RunQuery) -> list[RunQuery]:
        """A question for each workflow that patterns mean. Where that would be many, the runs that fit are not rare."""
        if not query.among or query.workflow:
            return [query]
        names = [name for (name,) in self._database.execute("SELECT DISTINCT workflow FROM tally WHERE count")]
        meant = [name for name in names if fits(name, query.among)]
        if len(meant) > _MOST_WALKS:
            return [query]
        return [msgspec.structs.replace(query, workflow=name, among=()) for name in meant]

    def _newest_of(self, query: RunQuery) -> list[RunSummary]:
        # One question for each status: each walks an index in the order that is wanted, and stops at the limit.
        statuses = query.statuses or (_STATUSES if query.workflow else ("",))
        return [line for status in statuses for line in self._newest(query, status)]

    def _newest(self, query: RunQuery, status: str) -> list[RunSummary]:
        chosen = self._choice(query, status)
        sql = f"SELECT run.line {chosen.sql} ORDER BY {chosen.order} DESC LIMIT ?"
        return [_line(row) for row in self._database.execute(sql, [*chosen.values, query.limit + 1])]

    def count(self, query: RunQuery) -> list[Tally]:
        """How many runs fit, by workflow and status; `limit` and `below` do not count."""
        if _is_plain(query):  # what is asked for most costs nothing: every other count looks at all that fit
            rows = self._database.execute("SELECT workflow, status, count FROM tally WHERE count ORDER BY 1, 2")
            return [
                Tally(workflow=workflow, status=status, count=count)
                for workflow, status, count in rows
                if query.workflow in ("", workflow)
                and (not query.statuses or status in query.statuses)
                and (not query.among or fits(workflow, query.among))
            ]
        found: list[Tally] = []
        for status in query.statuses or ("",):
            chosen = self._choice(msgspec.structs.replace(query, below=0), status)
            sql = f"SELECT run.workflow, run.status, count(*) {chosen.sql} GROUP BY 1, 2"
            rows = self._database.execute(sql, chosen.values)
            found += [Tally(workflow=workflow, status=state, count=count) for workflow, state, count in rows]
        return sorted(found, key=lambda tally: (tally.workflow, tally.status))

    def _choice(self, query: RunQuery, status: str) -> _Choice:
        """What to look through, and what has to fit. The rarest goes first: SQLite does not know what is rare."""
        values: list[Any] = []
        source, order, where = "run", "run.seq", ["1"]

        def fits(condition: str, *given: Any) -> None:
            where.append(condition)
            values.extend(given)

        if query.error:
            source, order = "failure CROSS JOIN run ON run.seq = failure.rowid", "failure.rowid"
            fits(*_error(query.error))
        for at, (name, value) in enumerate(self._rarest_first(query.labels)):
            if source == "run":
                source, order = "label AS l0 CROSS JOIN run ON run.seq = l0.seq", "l0.seq"
                fits("l0.name = ? AND l0.value = ?", name, value)
            else:
                exists = (
                    f"SELECT 1 FROM label AS l{at} WHERE l{at}.name = ? AND l{at}.value = ? AND l{at}.seq = run.seq"
                )
                fits(f"EXISTS ({exists})", name, value)
        if query.prefix:
            fits("run.run_id >= ? AND run.run_id < ?", query.prefix, query.prefix + "\U0010ffff")
        if query.parent_run_id:
            fits("run.parent_run_id = ? AND run.parent_run_id != ''", query.parent_run_id)
        if query.workflow:
            fits("run.workflow = ?", query.workflow)
        if query.among:
            fits(f"({' OR '.join(['run.workflow GLOB ?'] * len(query.among))})", *query.among)
        if status:
            fits("run.status = ?", status)
        for condition, bound in self._bounds(query):
            fits(f"{order} {condition} ?", bound)
        return _Choice(f"FROM {source} WHERE {' AND '.join(where)}", values, order)

    def _rarest_first(self, labels: dict[str, str]) -> list[tuple[str, str]]:
        if len(labels) < 2:
            return [*labels.items()]
        sql = "SELECT count(*) FROM (SELECT 1 FROM label WHERE name = ? AND value = ? LIMIT ?)"
        return sorted(labels.items(), key=lambda pair: self._database.execute(sql, (*pair, _COMMON)).fetchone()[0])

    def _bounds(self, query: RunQuery) -> list[tuple[str, int]]:
        """Between which runs those lie that were started in a time: they are in the order of it."""
        bounds: list[tuple[str, int]] = []
        if query.after_ns:
            bounds.append((">=", self._first(query.after_ns)))
        if query.before_ns:
            bounds.append(("<", self._first(query.before_ns)))
        if query.below:
            bounds.append(("<", query.below))
        return bounds

    def _first(self, time_ns: int) -> int:
        """The first run started at an instant or later."""
        # Two questions: for both at once, SQLite would look at all runs.
        low, last = (self._database.execute(f"SELECT {end}(seq) FROM run").fetchone()[0] for end in ("min", "max"))
        low, high = low or 0, (last or 0) + 1
        while low < high:  # they are in the order of their times, so an index of these would say nothing new
            middle = (low + high) // 2
            sql = "SELECT seq, created_ns FROM run WHERE seq >= ? ORDER BY seq LIMIT 1"
            row = self._database.execute(sql, (middle,)).fetchone()
            if row is not None and row[1] < time_ns:
                low = row[0] + 1
            else:
                high = middle
        return low

    def close(self) -> None:
        self._database.close()


class _Choice(NamedTuple):
    """Part of a statement: all behind its columns; its values; the column that is in the order of the starts."""

    sql: str
    values: list[Any]
    order: str


def discard(file: Path) -> None:
    """Forget an index."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _opened(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")  # what a power cut breaks is made anew from the log
    database.execute("PRAGMA cache_size = -65536")
    return database


def _is_plain(query: RunQuery) -> bool:
    """Whether a question is about workflows and statuses only."""
    others = (query.labels, query.parent_run_id, query.prefix, query.error, query.after_ns, query.before_ns)
    return not any(others)


def _error(text: str) -> tuple[str, str]:
    if len(text) < 3:  # of shorter ones there are no trigrams to look up
        escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return "failure.error LIKE ? ESCAPE '\\'", f"%{escaped}%"
    return "failure MATCH ?", '"' + text.replace('"', '""') + '"'


def _row(line: RunSummary) -> tuple[Any, ...]:
    return line.seq, line.run_id, line.workflow, line.status, line.created_ns, line.parent_run_id, _encode(line)


def _line(row: tuple[bytes]) -> RunSummary:
    return _decode(row[0])
