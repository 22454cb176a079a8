"""Approval tokens: proof that whoever answers was asked. Nothing is stored for one, and no history has it.

A token is a message authentication code of what it answers, under a key that only the server's parts have.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.instant import rfc3339

if TYPE_CHECKING:
    from dagnats.runtime.core.action import AskApproval

KEY = "approval"
"""The name of the key among the server's secrets."""


def approval_token(key: bytes, run_id: str, step_id: str, attempt: int) -> str:
    """The token that answers one attempt of an approval step: 64 hexadecimal digits."""
    return hmac.new(key, f"{run_id}\0{step_id}\0{attempt}".encode(), "sha256").hexdigest()


def is_approval_token(key: bytes, run_id: str, step_id: str, attempt: int, token: str) -> bool:
    """Whether `token` answers this attempt. It takes as long for a nearly right one as for any other."""
    wanted = approval_token(key, run_id, step_id, attempt)
    return hmac.compare_digest(wanted.encode(), token.encode(errors="replace"))


def approval_notice(action: AskApproval, key: bytes) -> bytes:
    """What the people who are asked are told, token included."""
    question = action.question
    said = {
        "token": approval_token(key, action.run_id, action.step_id, action.attempt),
        "run_id": action.run_id,
        "step_id": action.step_id,
        "subject": question.subject,
        "description": question.description,
        "metadata": question.metadata,
        "expires_at": rfc3339(question.expires_ns),
    }
    return msgspec.json.encode(said)
