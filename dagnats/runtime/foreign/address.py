"""Which addresses a request may go to. What is checked is the address itself, and the connection goes to that very one:
a name that answers differently a moment later reaches nothing else.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address = IPv4Address | IPv6Address

_MOST_TRIED = 4
# Kept for protocols, and where one cloud has its metadata; Python takes it for the internet before 3.13.
_ASSIGNED = ip_network("192.0.0.0/24")
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))


class AddressRefused(Exception):
    """A host has no address that may be reached."""


def admitted(host: str, addresses: Iterable[Address], allow: Sequence[str]) -> list[Address]:
    """The addresses that a request to `host` may go to.

    An address of this machine, of its networks or of a cloud's metadata needs its network on the list: whoever answers
    for a name must not lead us there. Any other address needs its host or its network there, if there is a list.

    Raises:
        AddressRefused: None may be reached; the text says which cure there is.
    """
    given = list(dict.fromkeys(addresses))
    found = [address for address in given if _is_admitted(host, address, allow)]
    if found:
        return found[:_MOST_TRIED]
    shown = ", ".join(map(str, given[:_MOST_TRIED]))
    cure = "add its network to `allow`" if any(not is_public(address) for address in given) else "add it to `allow`"
    raise AddressRefused(f"host {host!r} is at {shown or 'no address'}, which may not be reached; {cure}")


def _is_admitted(host: str, address: Address, allow: Sequence[str]) -> bool:
    if any(_is_in(address, pattern) for pattern in allow):
        return True
    return is_public(address) and (not allow or any(_names(pattern, host) for pattern in allow))


def is_public(address: Address) -> bool:
    """Whether an address is on the internet, in whatever other address it is wrapped."""
    return all(
        part.is_global and not part.is_multicast and part not in _ASSIGNED for part in (address, *_wrapped(address))
    )


def _wrapped(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return []
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    is_translated = any(address in network for network in _NAT64)
    is_compatible = int(address) >> 32 == 0  # ::127.0.0.1, of old
    return [*(part for part in found if part is not None), *([low] if is_translated or is_compatible else [])]


def _is_in(address: Address, pattern: str) -> bool:
    try:
        network = ip_network(pattern)
    except ValueError:  # a host
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)


def _names(pattern: str, host: str) -> bool:
    name = host.lower().rstrip(".")
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host. Raises OSError when it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
