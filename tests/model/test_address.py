"""Addresses of servers, as they may be shown."""

from __future__ import annotations

import pytest

from dagnats.model.address import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://host:4222", "nats://host:4222"),
        ("nats://user:secret@host:4222", "nats://***@host:4222"),
        ("nats://secret@host", "nats://***@host"),
        ("user:se@cret@host:1", "***@host:1"),
        ("nats://u:p@one:1,nats://u:p@two:2,u:p@three", "nats://***@one:1,nats://***@two:2,***@three"),
        ("http://u:p@host:port", "http://***@host:port"),
        ("", ""),
    ],
)
def test_users_and_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
