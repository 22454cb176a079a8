"""Whoever is wrong about a password too often is not heard for a while; nobody else notices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.client.audit import audit
from dagnats.client.token import create_token
from dagnats.runtime.api.access import Access
from dagnats.runtime.api.problem import Fault
from dagnats.runtime.api.tries import AT_ONCE, EVERY_S, Tries
from tests.api.site import in_virtual_time, site
from tests.api.test_identity import BASIC, FORWARD, password

if TYPE_CHECKING:
    from tests.api.site import Answer, Caller

RIGHT, WRONG = password("bob", "other"), password("bob", "guessed")


async def asked(server: Caller, address: str, headers: dict[str, str], **more: str) -> Answer:
    return await server.at(address).get("/v1/runs", **headers, **more)


async def used_up(server: Caller, address: str, headers: dict[str, str], **more: str) -> None:
    for _ in range(AT_ONCE):
        assert (await asked(server, address, headers, **more)).status == 401


@in_virtual_time
async def test_too_many_wrong_passwords_from_an_address_are_answered_with_when_to_come_again() -> None:
    async with site() as here:
        server = await here.api(BASIC)
        await used_up(server, "127.0.0.1", WRONG)
        for headers in (WRONG, RIGHT):  # else the answer would tell which one is right
            refused = await asked(server, "127.0.0.1", headers)
            assert (refused.status, refused.json["type"]) == (429, "urn:dagnats:too-many-tries")
            assert refused.headers["retry-after"] == str(int(EVERY_S))
        assert (await asked(server, "192.0.2.1", RIGHT)).status == 200
        assert (await asked(server, "127.0.0.1", {})).status == 401  # who tries nothing is asked for something
        await asyncio.sleep(EVERY_S)
        assert (await asked(server, "127.0.0.1", RIGHT)).status == 200
        assert (await asked(server, "127.0.0.1", WRONG)).status == 401
        assert (await asked(server, "127.0.0.1", RIGHT)).status == 429
        assert {deed.outcome for deed in await audit(here.ports)} == {"unauthorized", "too-many-tries"}


@in_virtual_time
async def test_who_is_right_uses_up_nothing() -> None:
    async with site() as here:
        server = await here.api(BASIC)
        assert {(await asked(server, "127.0.0.1", RIGHT)).status for _ in range(3 * AT_ONCE)} == {200}


@in_virtual_time
async def test_behind_a_trusted_proxy_the_address_is_the_one_that_it_names() -> None:
    async with site() as here:
        server = await here.api(Access(basic=BASIC.basic, forward=FORWARD.forward))
        await used_up(server, "10.0.0.1", WRONG, x_forwarded_for="198.51.100.9, 192.0.2.1, 10.0.0.2")
        assert (await asked(server, "10.0.0.3", RIGHT, x_forwarded_for="203.0.113.5, 192.0.2.1")).status == 429
        assert (await asked(server, "10.0.0.3", RIGHT, x_forwarded_for="192.0.2.1, 203.0.113.5")).status == 200
        await used_up(server, "203.0.113.7", WRONG, x_forwarded_for="192.0.2.8")
        assert (await asked(server, "203.0.113.7", RIGHT, x_forwarded_for="192.0.2.9")).status == 429
        assert (await asked(server, "192.0.2.8", RIGHT)).status == 200


@in_virtual_time
async def test_a_token_that_somebody_has_chosen_is_tried_as_seldom_and_random_ones_are_not_kept_out() -> None:
    async with site() as here:
        made = await create_token(here.ports, "read")
        chosen, guessed, random = ({"authorization": f"Bearer {text}"} for text in ("chosen", "guess", made.text))
        server = await here.api(Access(token="chosen", tokens=True))
        await used_up(server, "127.0.0.1", guessed)
        assert (await asked(server, "127.0.0.1", chosen)).status == 429
        assert (await asked(server, "127.0.0.1", random)).status == 200
        assert (await asked(server, "192.0.2.1", chosen)).status == 200
        only_random = await here.api(Access(tokens=True))
        assert {(await asked(only_random, "127.0.0.1", guessed)).status for _ in range(2 * AT_ONCE)} == {401}


def test_an_ipv6_subnet_is_one_address_and_so_is_ipv4_however_it_is_written() -> None:
    tries = Tries()
    for host in range(AT_ONCE):
        tries.note(f"2001:db8::{host:x}", 0.0)
        tries.note("::ffff:192.0.2.1" if host % 2 else "192.0.2.1", 0.0)
    for address in ("2001:db8::ffff", "192.0.2.1"):
        with pytest.raises(Fault):
            tries.expect_room(address, EVERY_S / 2)
    tries.expect_room("2001:db8:0:1::1", 0.0)


def test_so_many_addresses_are_remembered_and_no_more() -> None:
    tries = Tries()
    for _ in range(AT_ONCE):
        tries.note("first", 0.0)
    for at in range(10_000):
        assert tries.wait_s("first", 0.0) > 0
        tries.note(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}", 0.0)
    assert tries.wait_s("first", 0.0) == 0
