"""One connection's way to the server and back: the only place where a simulation has to interfere.

Everything passes through three methods. `carry` brings a call to the server, `answer` brings back what came of it,
`deliver` brings what the server sends unasked. Each is given what happens on arrival: calling it later is delay, not
calling it is loss, calling it twice is duplication, and calling several in another order is reordering.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.runtime.memory.process import current_process
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TIMEOUT_S = 5.0
LOST = "the connection was lost before the answer came"
_CLOSED = "the connection was closed"
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


class Call(msgspec.Struct, Generic[T], frozen=True):
    """What a client asks of the server.

    Attributes:
        kind: The port and its method: `log.append`.
        subject: What it is about: `history.<run>`, `task.<type>.<run>`, `engine.lease`, …
        perform: What the server does, at once and whole. May raise a DagnatsError, or LogCut: that is the answer.
    """

    kind: str
    subject: str
    perform: Callable[[], T]


class Link:
    """A connection that works. Made where its owner runs: what it brings back runs as that process.

    Attributes:
        timeout_s: How long an answer is waited for.
        watchdog_s: How long whoever waits for news trusts that it would have come; None: for ever. A link that loses
            deliveries has to set it.
        dead: Whether its process was killed: nothing passes any more, and nobody is told.
        closed: Whether it was closed: every call fails.
    """

    timeout_s: float = TIMEOUT_S
    watchdog_s: float | None = None

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = self.dead = False
        self._context = copy_context()
        self._waiting: dict[_Waiting[Any] | _Asking[Any], None] = {}  # who has waited longest comes first
        self._patience: asyncio.TimerHandle | None = None
        self._when_lost: dict[Callable[[], None], None] = {}
        process = current_process()
        if process is not None:
            process.at_end(self.kill)

    # -- the way there and back ------------------------------------------------------------------------------

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        """Bring a call to the server."""
        arrive()

    def answer(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        """Bring the answer to a call back."""
        self.soon(arrive)

    def deliver(self, subject: str, arrive: Callable[[], None]) -> None:
        """Bring what the server sends unasked."""
        self.soon(arrive)

    def soon(self, arrive: Callable[[], None], delay_s: float = 0.0) -> None:
        """Let something arrive here, in the next turn or later."""
        if self.dead or self.loop.is_closed():
            return
        if delay_s > 0:
            self.loop.call_later(delay_s, self._arrive, arrive, context=self._context)
        else:
            self.loop.call_soon(self._arrive, arrive, context=self._context)

    def later(self, arrive: Callable[[], None], delay_s: float) -> None:
        """Let something arrive at the server so much later, whatever becomes of us meanwhile: for `carry`."""
        self.loop.call_later(delay_s, arrive, context=Context())

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if not self.dead:
            arrive()

    # -- asking ----------------------------------------------------------------------------------------------

    def send(self, call: Call[Any]) -> None:
        """Ask without waiting for an answer: acknowledgements, cancellations."""
        if not (self.dead or self.closed):

            def arrive() -> None:
                _performed(call)

            self.carry(call, arrive)

    def ask(self, call: Call[T], told: Callable[[T | Exception], None]) -> None:
        """One call; `told` hears the answer, once, or UnavailableError. It may hear it before this returns."""
        if self.dead:
            return
        if self.closed:
            told(UnavailableError(_CLOSED))
            return
        self._send(_Waiting(self, call, told))

    def _send(self, waiting: _Waiting[Any] | _Asking[Any]) -> None:
        self._waiting[waiting] = None
        if self._patience is None:  # one timer for all: an answer hardly ever takes that long
            self._patience = self.loop.call_at(waiting.ends, self._give_up, context=self._context)
        self.carry(waiting.call, waiting.arrive)

    def forget(self, waiting: _Waiting[Any] | _Asking[Any]) -> None:
        """Whoever waited was answered."""
        self._waiting.pop(waiting, None)

    def _give_up(self) -> None:
        """Tell those who have waited too long, and look again when the next one has."""
        self._patience = None
        now = self.loop.time()
        while self._waiting and (first := next(iter(self._waiting))).ends <= now:
            first.tell(UnavailableError(f"the server did not answer within {self.timeout_s:g} s"))
        if self._waiting and self._patience is None:
            first = next(iter(self._waiting))
            self._patience = self.loop.call_at(first.ends, self._give_up, context=self._context)

    def request(self, call: Call[T]) -> asyncio.Future[T]:
        """One call and its answer, on its way when this returns.

        Raises UnavailableError when there is none: the outcome is unknown.
        """
        answered: asyncio.Future[T] = asyncio.Future(loop=self.loop)
        if self.closed and not self.dead:
            answered.set_exception(UnavailableError(_CLOSED))
        elif not self.dead:
            self._send(_Asking(self, call, answered))
        return answered

    def surely(self, call: Call[T], *, within_s: float | None = None) -> asyncio.Future[T]:
        """`request`, on its way when this returns, and again for as long as there is no answer.

        Args:
            within_s: Give up with UnavailableError, outcome unknown, when that long has passed. None: never.
        """
        return _Persistent(self, call, within_s).send()

    # -- the connection itself -------------------------------------------------------------------------------

    def on_lost(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call this when the connection was lost and is there again, until what is returned is called."""
        self._when_lost[call] = None
        return lambda: self._when_lost.pop(call, None)

    def lose(self) -> None:
        """Break the connection; it is there again at once. What is under way gets no answer."""
        if self.dead:
            return
        self._fail_all(LOST)
        for call in list(self._when_lost):
            self.soon(call)

    def close(self) -> None:
        """Close it for good: what waits for an answer fails."""
        self.closed = True
        self._fail_all(_CLOSED)

    def kill(self) -> None:
        """Its process is dead: what it sends vanishes, what it awaits never comes, and nobody is told."""
        self.dead = True
        if self._patience is not None:
            self._patience.cancel()
        self._waiting.clear()
        self._when_lost.clear()

    def _fail_all(self, why: str) -> None:
        for waiting in list(self._waiting):
            waiting.tell(UnavailableError(why))


class _Waiting(Generic[T]):
    """Somebody who waits for an answer, until `ends`. The call may arrive twice: the first answer that comes counts."""

    __slots__ = ("_link", "_told", "call", "ends")

    def __init__(self, link: Link, call: Call[T], told: Callable[[T | Exception], None]) -> None:
        self._link = link
        self._told = told
        self.call = call
        self.ends = link.loop.time() + link.timeout_s

    def arrive(self) -> None:
        """The call is at the server."""
        self._link.answer(self.call, partial(self.tell, _performed(self.call)))

    def tell(self, result: T | Exception) -> None:
        """The answer is here."""
        told, self._told = self._told, _deaf
        self._link.forget(self)
        told(result)


class _Asking(Generic[T]):
    """The same of somebody who awaits a future: most calls are such, and every object more is felt."""

    __slots__ = ("_answered", "_link", "call", "ends")

    def __init__(self, link: Link, call: Call[T], answered: asyncio.Future[T]) -> None:
        self._link = link
        self._answered = answered
        self.call = call
        self.ends = link.loop.time() + link.timeout_s

    def arrive(self) -> None:
        self._link.answer(self.call, partial(self.tell, _performed(self.call)))

    def tell(self, result: T | Exception) -> None:
        self._link.forget(self)
        if self._answered.done():
            return
        if isinstance(result, Exception):
            self._answered.set_exception(result)
        else:
            self._answered.set_result(result)


class _Persistent(Generic[T]):
    """A call that is repeated until it is answered."""

    def __init__(self, link: Link, call: Call[T], within_s: float | None) -> None:
        self._link = link
        self._call = call
        self._ends = None if within_s is None else link.loop.time() + within_s
        self._pause_s = _FIRST_PAUSE_S
        self._within_s = within_s
        self._result: asyncio.Future[T] = link.loop.create_future()

    def send(self) -> asyncio.Future[T]:
        self._send()
        if self._within_s is not None and self._within_s < self._link.timeout_s and not self._result.done():
            timer = self._link.loop.call_later(self._within_s, self._give_up)
            self._result.add_done_callback(lambda _: timer.cancel())
        return self._result

    def _send(self) -> None:
        if self._result.done():
            return
        if self._ends is not None and self._link.loop.time() >= self._ends:
            self._give_up()
        else:
            self._link.ask(self._call, self._told)

    def _told(self, result: T | Exception) -> None:
        if self._result.done():
            return
        if isinstance(result, UnavailableError) and not self._link.closed:
            self._link.loop.call_later(self._pause_s, self._send)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        elif isinstance(result, Exception):
            self._result.set_exception(result)
            self._result.exception()  # who asked may have stopped waiting
        else:
            self._result.set_result(result)

    def _give_up(self) -> None:
        if not self._result.done():
            within = f"{self._within_s:g} s"
            self._result.set_exception(UnavailableError(f"no answer within {within}; outcome unknown"))
            self._result.exception()


def _performed(call: Call[T]) -> T | Exception:
    """What the server answers."""
    try:
        return call.perform()
    except (DagnatsError, LogCut) as error:
        return error


def _deaf(_: object) -> None:
    """Told twice."""
