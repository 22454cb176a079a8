"""Namespaces: what several installations on one NATS server put before their names, so that none meets another's."""

from __future__ import annotations

import re

_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")

RESERVED = frozenset((
    "audit", "blob", "dagnats", "dead", "due", "engine", "event", "history", "imported", "sleep", "sticky", "stored",
    "stream", "task", "telemetry", "kv", "obj",
))  # fmt: skip
"""The first words of the subjects that DagNats has without a namespace: the stream that takes `history.>` would take a
namespace's `history.…` too. And what NATS puts before the names of buckets and object stores."""


NONE = "off"
"""What says that there is none, where somebody else has said one."""


def checked_namespace(text: str) -> str:
    """A namespace as it was given; "" is none, and so is `off`.

    Raises:
        ValueError: It can be none; the message does not repeat it.
    """
    if text in ("", NONE):
        return ""
    if _NAMESPACE.fullmatch(text) is None:
        raise ValueError("a namespace is a letter, then letters, digits, '_' and '-', 32 characters at most")
    if text.lower() in RESERVED:
        raise ValueError("the names of an installation without a namespace begin so; take another, such as 'staging'")
    return text
