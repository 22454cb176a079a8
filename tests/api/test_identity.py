"""Passwords, a trusted proxy, and what another site's page may not do with them."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from dagnats.config.access import AccessSettings
from dagnats.config.access import Forward as ForwardSettings
from dagnats.config.access import Person as PersonSettings
from dagnats.config.settings import Settings
from dagnats.errors import DagnatsError
from dagnats.runtime.api.access import Access, Forward, Grant, Person, access_of
from tests.api.site import in_virtual_time, one_step, site

if TYPE_CHECKING:
    from pathlib import Path

BASIC = Access(
    basic={"ann": Person("a:b é", "admin"), "bob": Person("other", "read"), "eve": Person("e", "admin", ("no-*",))}
)
FORWARD = Access(
    forward=Forward(
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
        "X-Forwarded-User",
        "read",
        {"ann": "admin"},
    )
)


def password(name: str, text: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{name}:{text}'.encode()).decode()}"}


@in_virtual_time
async def test_a_user_with_the_right_password_does_what_its_scope_allows() -> None:
    async with site(one_step()) as here:
        ann = await here.api(BASIC, **password("ann", "a:b é"))
        assert (await ann.post("/v1/clean", {})).status == 200
        bob = await here.api(BASIC, **password("bob", "other"))
        assert (await bob.get("/v1/runs")).status == 200
        refused = await bob.post("/v1/runs", {"workflow": "solo"})
        assert (refused.status, refused.json["detail"]) == (403, "this takes the scope 'run', and user bob has 'read'")
        eve = await here.api(BASIC, **password("eve", "e"))
        assert (await eve.post("/v1/runs", {"workflow": "solo"})).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        password("ann", "other"),
        password("bob", "a:b é"),
        password("nobody", "an unknown user has no password"),
        password("", ""),
        {"authorization": "Basic"},
        {"authorization": "Basic ?"},
        {"authorization": "Basic /w=="},
        {"authorization": f"Bearer {'0' * 64}"},
    ],
    ids=str,
)
def test_whoever_has_no_right_password_is_asked_for_one(headers: dict[str, str]) -> None:
    async def ask() -> None:
        async with site() as here:
            refused = await (await here.api(BASIC, **headers)).get("/v1/runs")
            assert (refused.status, refused.json["type"]) == (401, "urn:dagnats:unauthorized")
            assert refused.headers["www-authenticate"].startswith('Basic realm="dagnats", charset="UTF-8"')

    in_virtual_time(ask)()


@in_virtual_time
async def test_no_other_sites_page_changes_anything_with_the_password_that_its_readers_browser_keeps() -> None:
    async with site() as here:
        host = {"host": "dagnats.example", **password("ann", "a:b é")}
        for origin, status in (("https://evil.example", 403), ("null", 403), ("https://dagnats.example", 200)):
            web = await here.api(BASIC, origin=origin, **host)
            assert (await web.post("/v1/clean", {})).status == status, origin
            assert (await web.get("/v1/runs")).status == 200


@in_virtual_time
async def test_what_the_proxy_says_of_who_it_is_counts_and_what_others_say_does_not() -> None:
    async with site() as here:
        said = {"x-forwarded-user": "ann"}
        for address, status in (
            ("10.7.0.1", 200),
            ("::1", 200),
            ("::ffff:10.7.0.1", 200),
            ("11.0.0.1", 401),
            ("::2", 401),
            ("", 401),
        ):
            web = await here.api(FORWARD, address=address, **said)
            assert (await web.post("/v1/clean", {})).status == status, address
        theirs = await here.api(FORWARD, address="10.7.0.1", authorization="Bearer of-the-proxys-own", **said)
        assert (await theirs.get("/v1/runs")).status == 200
        bob = await here.api(FORWARD, address="10.7.0.1", x_forwarded_user="bob")
        assert [(await bob.get("/v1/runs")).status, (await bob.post("/v1/clean", {})).status] == [200, 403]
        for name in ("", "\x07", "b" * 129):
            web = await here.api(FORWARD, address="10.7.0.1", x_forwarded_user=name)
            assert (await web.get("/v1/runs")).status == 401, name
        evil = await here.api(FORWARD, address="10.7.0.1", origin="https://evil.example", **said)
        assert (await evil.post("/v1/clean", {})).status == 403


@in_virtual_time
async def test_of_two_names_neither_counts_because_one_may_be_the_callers_own() -> None:
    async with site() as here:
        web = await here.api(FORWARD, address="10.7.0.1", x_forwarded_user="bob", X_Forwarded_User="ann")
        assert (await web.get("/v1/runs")).status == 401


@in_virtual_time
async def test_where_everybody_is_let_in_no_other_sites_page_is() -> None:
    async with site() as here:
        anybody = Access(insecure=True)
        web = await here.api(anybody, host="10.0.0.5:8080")
        assert (await web.post("/v1/clean", {})).status == 200
        page = await here.api(anybody, host="10.0.0.5:8080", origin="https://evil.example")
        assert (await page.post("/v1/clean", {})).status == 403


def test_who_gives_an_order_is_who_it_proved_to_be_beside_who_it_said_that_it_is() -> None:
    assert Grant().signed("") == ""
    assert Grant().signed("ann") == "ann"
    assert Grant(actor="token ci").signed("") == "token ci"
    assert Grant(actor="token ci").signed("ann") == "ann (token ci)"
    assert Grant(actor="user ann").signed("ann") == "user ann"


def test_a_configuration_says_what_lets_callers_in(tmp_path: Path) -> None:
    (tmp_path / "bob").write_text("from a file\n")
    settings = configured(
        basic={
            "ann": PersonSettings(password=SecretStr("secret"), scope="run", workflows=("order-*",)),
            "bob": PersonSettings(password_file=str(tmp_path / "bob")),
        },
        forward=ForwardSettings(proxies=("10.0.0.0/8",), header="X-User", users={"ann": "admin"}),
    )
    access = access_of(settings, token="shared", insecure=True)
    assert access.basic == {"ann": Person("secret", "run", ("order-*",)), "bob": Person("from a file", "read")}
    assert access.forward == Forward((ipaddress.ip_network("10.0.0.0/8"),), "X-User", "read", {"ann": "admin"})
    assert (access.token, access.tokens, access.insecure, access.is_open) == ("shared", False, True, False)
    assert "secret" not in repr(access)
    assert access_of(configured()).is_open


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b" \n", "is empty")])
def test_a_password_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "ann").write_bytes(content)
    with pytest.raises(DagnatsError, match=why):
        access_of(configured(basic={"ann": PersonSettings(password_file=str(tmp_path / "ann"))}))


def configured(**access: Any) -> Settings:
    return Settings.model_construct(access=AccessSettings(**access), http_tokens=False)
