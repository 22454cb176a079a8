"""A stream: messages in one order, each on a subject, as JetStream keeps them."""

from __future__ import annotations

import re
from bisect import insort
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import ConflictError, RefusedError
from dagnats.runtime.ports import Receipt, StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagnats.runtime.ports import Clock

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
WINDOW_S = 30.0
_MARGIN = 512  # for headers, as on NATS
_NOTHING: Mapping[str, str] = {}


class Message(NamedTuple):
    """A stored message.

    Attributes:
        seq: Its place in the stream.
        time_ns: The server's time when it was stored.
        subject: What it was put on.
        data: Its bytes.
        headers: Those of whoever put it.
        alone: Whether the server has checked that nothing was on its subject before.
    """

    seq: int
    time_ns: int
    subject: str
    data: bytes
    headers: Mapping[str, str] = _NOTHING
    alone: bool = False


@lru_cache(maxsize=1024)
def fitting(pattern: str) -> Callable[[str], object]:
    """What is true of the subjects that fit a pattern: `*` is one word, a last `>` one or more.

    Each message is looked at by all consumers: asked again and again, an expression is the quickest answer. To make one
    takes as long as some hundred answers, and many patterns have a run in them: not for those without a `*`.
    """
    *before, last = pattern.split(".")
    if last == ">" and "*" not in before:
        start = pattern[:-1]
        return lambda subject: subject.startswith(start)
    words = ["[^.]*" if word == "*" else re.escape(word) for word in (*before, last)]
    if last == ">":
        words[-1] = ".*"
    return re.compile("[.]".join(words), re.DOTALL).fullmatch


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject fits a pattern."""
    return bool(fitting(pattern)(subject))


@lru_cache(maxsize=4096)
def _is_subject(subject: str) -> bool:
    return " " not in subject and ".." not in f".{subject}." and subject.isprintable()


def _is_pattern(subject: str) -> bool:
    return "*" in subject or subject.endswith(">")


class _Change(NamedTuple):
    """What was written last.

    Attributes:
        stored: The message; None when one was taken out.
        gone: What was taken out, or what the stored one has replaced.
    """

    stored: Message | None
    gone: Message | None


class Stream:
    """Messages, and the ids of those that came lately.

    Args:
        window_s: How long an id is remembered.
        newest_only: Keep one message of each subject.
        max_payload_bytes: The largest message it takes; None: any.

    Attributes:
        bytes: What it has: subjects and data.
        max_bytes: How much it may have: more is refused, until there is room. 0 for any.
        ids_first: Whether it looks at a message's id before what it is to come after, as NATS does in a cluster.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        window_s: float = WINDOW_S,
        newest_only: bool = False,
        max_payload_bytes: int | None = MAX_PAYLOAD_BYTES,
    ) -> None:
        self.window_s = window_s
        self.last_seq = 0
        self.bytes = self.max_bytes = 0
        self.ids_first = False
        self.max_payload_bytes = max_payload_bytes
        self._clock = clock
        self._newest_only = newest_only
        self._messages: dict[int, Message] = {}
        self._subjects: dict[str, list[int]] = {}
        self._ids: dict[str, int] = {}
        self._forgetting: deque[tuple[int, str]] = deque()  # when each id is forgotten
        self._listeners: dict[Callable[[Message], None], None] = {}
        self._changes: deque[_Change] | None = None

    def __len__(self) -> int:
        return len(self._messages)

    # -- writing ---------------------------------------------------------------------------------------------

    def put(
        self,
        subject: str,
        data: bytes,
        *,
        id: str = "",
        last: int | None = None,
        of: str = "",
        alone: bool = False,
        headers: Mapping[str, str] = _NOTHING,
    ) -> Receipt:
        """Store a message.

        Args:
            id: A repeated one stores nothing and gives the first one's place.
            last: What must be the sequence of the subject's last message; 0 when there must be none.
            of: Of another subject's.
            alone: Whether the sender knows that the subject has no messages.

        Raises:
            ConflictError: Another message is the last of the subject. This is looked at before the id, as a NATS server
                by itself does.
            RefusedError: It is too large, or the subject is none.
            StoreFull: There is no room.
        """
        self._refuse(subject, data, headers)
        now_ns = self._clock.now_ns()
        if self._forgetting:
            self._forget_ids(now_ns)
        repeated = id in self._ids
        if last is not None and not (repeated and self.ids_first) and last != (found := self._last_seq(of or subject)):
            raise ConflictError(f"wrong last sequence: {found}")
        if repeated:
            return Receipt(self._ids[id], duplicate=True)
        if self.max_bytes and self.bytes + len(subject) + len(data) > self.max_bytes:
            raise StoreFull(f"the stream has {self.bytes} bytes, and may have {self.max_bytes}")
        self.last_seq += 1
        if id:
            self._ids[id] = self.last_seq
            self._forgetting.append((now_ns + int(self.window_s * 1e9), id))
        self._add(Message(self.last_seq, now_ns, subject, data, headers, alone or (last == 0 and not of)))
        return Receipt(self.last_seq, duplicate=False)

    def _refuse(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        size = len(data)
        if headers:
            size += sum(len(name) + len(value) + 4 for name, value in headers.items())
        if self.max_payload_bytes is not None and size + _MARGIN > self.max_payload_bytes:
            raise RefusedError(
                f"the message has {len(data)} bytes; the server takes at most {self.max_payload_bytes}, "
                "headers included"
            )
        if not _is_subject(subject):
            raise RefusedError(f"{subject!r} cannot be the subject of a message")

    def _add(self, message: Message) -> None:
        older = self._take_out(self._subjects.get(message.subject, ())) if self._newest_only else ()
        self._messages[message.seq] = message
        self.bytes += len(message.subject) + len(message.data)
        self._subjects.setdefault(message.subject, []).append(message.seq)
        if self._changes is not None:
            self._changes.append(_Change(message, older[0] if older else None))
        for told in list(self._listeners):
            told(message)

    def _forget_ids(self, now_ns: int) -> None:
        while self._forgetting and self._forgetting[0][0] <= now_ns:
            del self._ids[self._forgetting.popleft()[1]]

    def remove(self, seq: int) -> None:
        """Forget one message; one that is not there is fine."""
        self._remove([seq])

    def purge(self, pattern: str, *, upto: int | None = None) -> None:
        """Forget all whose subject fits, up to a sequence."""
        for subject in self.subjects(pattern):
            self._remove(seq for seq in list(self._subjects[subject]) if upto is None or seq <= upto)

    def _remove(self, seqs: Iterable[int]) -> None:
        gone = self._take_out(seqs)
        if self._changes is not None:
            self._changes.extend(_Change(None, message) for message in gone)

    def _take_out(self, seqs: Iterable[int]) -> list[Message]:
        gone: list[Message] = []
        for seq in list(seqs):
            message = self._messages.pop(seq, None)
            if message is not None:
                gone.append(message)
                self.bytes -= len(message.subject) + len(message.data)
                left = self._subjects[message.subject]
                left.remove(seq)
                if not left:
                    del self._subjects[message.subject]
        return gone

    def remember(self, most: int) -> None:
        """Keep so many of the changes to come: they may be lost."""
        self._changes = deque(maxlen=most)

    def lose(self, changes: int, *, older: bool = True) -> list[Message]:
        """Lose the last changes, as far as they are remembered: a power cut before the disk was written. What they
        took out is there again; gives what they had stored.

        Args:
            older: Whether what was replaced still is where it was.
        """
        lost: list[Message] = []
        while self._changes and changes:
            changes -= 1
            stored, gone = self._changes.pop()
            if stored is not None:
                self._take_out([stored.seq])
                self.last_seq = stored.seq - 1
                lost.append(stored)
            if gone is not None and (older or stored is None):
                self._messages[gone.seq] = gone
                self.bytes += len(gone.subject) + len(gone.data)
                insort(self._subjects.setdefault(gone.subject, []), gone.seq)
        return lost

    def cut(self, last_seq: int) -> None:
        """Lose everything behind a sequence, and know nothing of it: a power cut before the disk was written."""
        self._take_out([seq for seq in self._messages if seq > last_seq])
        if self._changes is not None:
            self._changes.clear()
        self.last_seq = min(self.last_seq, last_seq)

    def forget_ids(self) -> None:
        """Forget the ids of messages that are gone: after a restart only what is stored is remembered."""
        self._ids = {id: seq for id, seq in self._ids.items() if seq in self._messages}
        self._forgetting = deque(pair for pair in self._forgetting if pair[1] in self._ids)

    # -- reading ---------------------------------------------------------------------------------------------

    def _last_seq(self, subject: str) -> int:
        seqs = self._subjects.get(subject)
        return seqs[-1] if seqs else 0

    def last(self, subject: str) -> Message | None:
        """The newest message of a subject."""
        return self._messages.get(self._last_seq(subject))

    def at(self, seq: int) -> Message | None:
        """The message at a sequence."""
        return self._messages.get(seq)

    def of(self, subject: str, *, after: int = 0) -> list[Message]:
        """A subject's messages behind a sequence."""
        return [self._messages[seq] for seq in self._subjects.get(subject, ()) if seq > after]

    def fitting(self, pattern: str) -> list[Message]:
        """All messages whose subject fits, in order."""
        seqs = sorted(seq for subject in self.subjects(pattern) for seq in self._subjects[subject])
        return [self._messages[seq] for seq in seqs]

    def behind(self, seq: int, most: int) -> list[Message]:
        """The next messages behind a sequence, whatever their subject."""
        found: list[Message] = []
        while seq < self.last_seq and len(found) < most:
            seq += 1
            message = self._messages.get(seq)
            if message is not None:
                found.append(message)
        return found

    def subjects(self, pattern: str = ">") -> list[str]:
        """The subjects that have messages."""
        if not _is_pattern(pattern):
            return [pattern] if pattern in self._subjects else []
        return list(filter(fitting(pattern), self._subjects)) if self._subjects else []

    def listen(self, told: Callable[[Message], None]) -> Callable[[], None]:
        """Call `told` for each message that is stored, until what is returned is called."""
        self._listeners[told] = None
        return lambda: self._listeners.pop(told, None)
