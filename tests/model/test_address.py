"""Addresses of servers: as they may be shown, and what kind they are."""

from __future__ import annotations

import pytest

from dagnats.model.address import is_address, is_http, is_loopback, without_secrets


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


@pytest.mark.parametrize("url", ["http://host", "https://host:8080/", "http://[::1]:1"])
def test_an_address_of_http_has_a_scheme_and_a_host(url: str) -> None:
    assert is_http(url)


@pytest.mark.parametrize("url", ["", "host:8080", "nats://host", "http://", "http://host:0", "http://host:port"])
def test_any_other_is_none(url: str) -> None:
    assert not is_http(url)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_has_several_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "example.test", "localhost.example.test"])
def test_what_others_can_reach_is_not_this_machine_alone(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "is_one"), [("10.0.0.1", True), ("::1", True), ("localhost", False), ("10.0.0", False)]
)
def test_a_name_is_no_ip_address(text: str, is_one: bool) -> None:
    assert is_address(text) is is_one
