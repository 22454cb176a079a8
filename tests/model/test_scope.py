"""What a token allows, and how it is stored."""

from __future__ import annotations

import re

import pytest

from dagnats.errors import DecodeError
from dagnats.model.access import PATTERN, allows, fits
from dagnats.model.token import AccessToken, decode_token, encode_token

TOKEN = AccessToken(
    id="a1", digest="0" * 64, scope="run", name="ci", workflows=("order-*",), created_ns=1, expires_ns=9, by="ann"
)


def test_each_scope_allows_what_is_before_it_and_no_more() -> None:
    assert allows("read", "read")
    assert not allows("read", "run")
    assert allows("admin", "operate")
    assert not allows("operate", "admin")


@pytest.mark.parametrize(
    ("name", "pattern", "is_one"),
    [
        ("order-7", "order-*", True),
        ("order", "order-*", False),
        ("order-7", "order-?", True),
        ("Order-7", "order-?", False),
        ("agent.r.made", "agent.*", True),
    ],
)
def test_a_pattern_means_the_names_that_fit_it_whole(name: str, pattern: str, is_one: bool) -> None:
    assert fits(name, ("nothing", pattern)) is is_one


@pytest.mark.parametrize("pattern", ["", "[ab]", "a b", "a/b", "a" * 257])
def test_a_pattern_has_no_other_signs(pattern: str) -> None:
    assert re.fullmatch(PATTERN, pattern) is None


def test_a_token_survives_its_store() -> None:
    assert decode_token(encode_token(TOKEN)) == TOKEN
    assert (TOKEN.label, AccessToken(id="a1", digest="", scope="read").label) == ("ci", "a1")


def test_a_token_expires_at_its_instant_or_never() -> None:
    assert [TOKEN.expired(now_ns) for now_ns in (8, 9, 10)] == [False, True, True]
    assert not AccessToken(id="a1", digest="", scope="read").expired(2**62)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 5000, b"{}", b'{"id":"a","digest":"b","scope":"root"}'])
def test_what_is_no_token_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not an access token") as refused:
        decode_token(data)
    assert refused.value.data == data
