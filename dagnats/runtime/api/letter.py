"""`/v1/dlq`: dead letters, looked at, tried again, or given up."""

from __future__ import annotations

from dagnats.client.document import Document
from dagnats.client.document.letter import LetterDocument, letter_document
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.concern import is_own, seq_of
from dagnats.runtime.api.operation import Asked, Nothing


class OfRun(Order):
    """Whose: a run's, or all."""

    run_id: str = ""


class Replay(Order):
    """Who does it."""

    by: str = ""


class ReplayAll(Replay):
    """Whose dead letters are tried again."""

    run_id: str


class ReplayedDocument(Document, frozen=True, kw_only=True):
    """Dead letters that were tried again, and the run that goes on."""

    replayed: tuple[int, ...]
    run_id: str


class DiscardedDocument(Document, frozen=True, kw_only=True):
    """A dead letter that was dropped."""

    seq: int
    discarded: bool


async def all_letters(asked: Asked[OfRun, None]) -> list[LetterDocument]:
    """List all dead letters, or a run's, oldest first."""
    found = await asked.client.dead_letters(asked.query.run_id)
    if asked.grant.workflows:
        own = {run_id for run_id in {letter.run_id for letter in found} if await is_own(asked, run_id)}
        found = [letter for letter in found if letter.run_id in own]
    return [letter_document(letter) for letter in found]


async def show(asked: Asked[Nothing, None]) -> LetterDocument:
    """Show a dead letter."""
    return letter_document(await asked.client.dead_letter(seq_of(asked.path["seq"])))


async def replay(asked: Asked[Nothing, Replay]) -> ReplayedDocument:
    """Try again what a dead letter is about: its run goes on where it broke."""
    letter = await asked.client.replay_dead_letter(seq_of(asked.path["seq"]), by=asked.body.by)
    return ReplayedDocument(replayed=(letter.seq,), run_id=letter.run_id)


async def replay_all(asked: Asked[Nothing, ReplayAll]) -> ReplayedDocument:
    """Let a run go on where it broke, for all its dead letters."""
    said = asked.body
    found = await asked.client.replay_dead_letters(asked.client.handle(said.run_id).run_id, by=said.by)
    return ReplayedDocument(replayed=tuple(letter.seq for letter in found), run_id=said.run_id)


async def discard(asked: Asked[Nothing, None]) -> DiscardedDocument:
    """Drop a dead letter for good. Its run stays as it is."""
    letter = await asked.client.discard_dead_letter(seq_of(asked.path["seq"]))
    return DiscardedDocument(seq=letter.seq, discarded=True)
