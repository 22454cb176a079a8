"""Nonces: proof that whoever asks was handed this attempt. Nothing is stored for one, and no history has it.

A nonce is a message authentication code of the attempt, under a key that only the server's parts have. That the attempt
still goes on it does not say: whoever checks it looks.
"""

from __future__ import annotations

import hmac

KEY = "dispatch"
"""The name of the key among the server's secrets. Not the approvals' one: a code of one must be none of the other."""


def dispatch_nonce(key: bytes, run_id: str, step_id: str, attempt: int) -> str:
    """What the task of one attempt carries: 64 hexadecimal digits."""
    return hmac.new(key, f"{run_id}\0{step_id}\0{attempt}".encode(), "sha256").hexdigest()


def is_dispatch_nonce(key: bytes, run_id: str, step_id: str, attempt: int, nonce: str) -> bool:
    """Whether `nonce` is this attempt's. It takes as long for a nearly right one as for any other."""
    wanted = dispatch_nonce(key, run_id, step_id, attempt)
    return hmac.compare_digest(wanted.encode(), nonce.encode(errors="replace"))
