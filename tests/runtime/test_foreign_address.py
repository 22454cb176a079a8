"""Which addresses a configured URL may lead to, whatever its host resolves to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dagnats.runtime.foreign.address import AddressRefused, admitted

PUBLIC = "93.184.216.34"
PUBLIC6 = "2606:2800:220:1:248:1893:25c8:1946"


def addresses(host: str, *found: str, allow: tuple[str, ...] = ()) -> list[str]:
    return [str(address) for address in admitted(host, map(ip_address, found), allow)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",
    ],
)
def test_no_address_of_ours_is_reached_unless_its_network_is_allowed(address: str) -> None:
    for allow in ((), ("h.example",), ("*.example",), ("93.184.216.0/24",)):
        with pytest.raises(AddressRefused, match="add its network to `allow`"):
            addresses("h.example", address, allow=allow)
    assert addresses("h.example", address, allow=(address,)) == [str(ip_address(address))]


def test_a_public_address_is_reached_when_nothing_is_said() -> None:
    assert addresses("h.example", PUBLIC, PUBLIC6) == [PUBLIC, PUBLIC6]


def test_of_a_host_with_several_addresses_only_the_allowed_ones_are_used() -> None:
    assert addresses("h.example", "127.0.0.1", PUBLIC, "10.0.0.1") == [PUBLIC]
    assert addresses("h.example", PUBLIC, "10.0.0.1", allow=("10.0.0.0/8",)) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("pattern", "host", "is_named"),
    [
        ("h.example", "h.example", True),
        ("h.example", "H.EXAMPLE", True),
        ("h.example", "h.example.", True),
        ("h.example", "a.h.example", False),
        ("h.example", "h.example.evil.test", False),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", "notexample", False),
    ],
)
def test_with_a_list_a_public_address_needs_its_host_on_it(pattern: str, host: str, is_named: bool) -> None:
    if is_named:
        assert addresses(host, PUBLIC, allow=(pattern,)) == [PUBLIC]
    else:
        with pytest.raises(AddressRefused, match="add it to `allow`"):
            addresses(host, PUBLIC, allow=(pattern,))


def test_a_network_on_the_list_holds_for_its_addresses_in_ipv6_clothes() -> None:
    assert addresses("h", "::ffff:10.1.2.3", allow=("10.0.0.0/8",)) == [str(ip_address("::ffff:10.1.2.3"))]


def test_only_a_few_of_many_addresses_are_tried() -> None:
    assert len(addresses("h", *(f"93.184.216.{n}" for n in range(1, 30)))) == 4
