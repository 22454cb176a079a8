"""Approval tokens: proof that whoever answers was asked. Nothing is stored for one, and no history has it.

A token is a message authentication code of what it answers, under a key that only the server's parts have.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.instant import rfc3339
from dagnats.runtime.waitpoint import Place, seal, waitpoint_token

if TYPE_CHECKING:
    from dagnats.runtime.core.action import AskApproval


def approval_token(key: bytes, run_id: str, step_id: str, attempt: int) -> str:
    """The token that answers one attempt of an approval step: 64 hexadecimal digits."""
    return seal(key, Place(run_id, step_id, attempt))


def is_approval_token(key: bytes, run_id: str, step_id: str, attempt: int, token: str) -> bool:
    """Whether `token` answers this attempt. It takes as long for a nearly right one as for any other."""
    wanted = approval_token(key, run_id, step_id, attempt)
    return hmac.compare_digest(wanted.encode(), token.encode(errors="replace"))


def approval_notice(action: AskApproval, key: bytes) -> bytes:
    """What the people who are asked are told, both tokens included: for whoever may call the API, and for anybody."""
    question, place = action.question, Place(action.run_id, action.step_id, action.attempt)
    said = {
        "token": seal(key, place),
        "waitpoint_token": waitpoint_token(key, place),
        "run_id": action.run_id,
        "step_id": action.step_id,
        "subject": question.subject,
        "description": question.description,
        "metadata": question.metadata,
        "expires_at": rfc3339(question.expires_ns),
    }
    return msgspec.json.encode(said)
