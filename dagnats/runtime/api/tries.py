"""How often an address may be wrong about a secret that somebody has chosen: so many times at once, then now and then.

An address that has used them up is not even heard with the right one, else it would learn which that is. Others are.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import NamedTuple

from dagnats.runtime.api.problem import Fault

AT_ONCE = 10
EVERY_S = 30.0
"""Then one more: under three thousand a day, of what a password of six random letters has three hundred million."""

_MOST_ADDRESSES = 10_000
_SUBNET = 64  # what one machine gets to choose its IPv6 addresses from


class _Left(NamedTuple):
    """How many tries there are for an address, and when that was so."""

    tries: float
    at_s: float


class Tries:
    """The addresses that were wrong lately: ten thousand at most, those that were so longest ago are forgotten."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, _Left] = OrderedDict()

    def expect_room(self, address: str, now_s: float) -> None:
        """Raise Fault 429 unless the address may try again."""
        if (wait_s := self.wait_s(address, now_s)) > 0:
            seconds = str(math.ceil(wait_s))
            why = f"there were too many wrong passwords from your address: try again in {seconds} s"
            raise Fault(429, "too-many-tries", why, headers={"Retry-After": seconds})

    def wait_s(self, address: str, now_s: float) -> float:
        """How long the address has to wait for its next try; 0 for not at all."""
        return max(1 - self._tries(_place(address), now_s), 0) * EVERY_S

    def note(self, address: str, now_s: float) -> None:
        """The address was wrong."""
        place = _place(address)
        self._left[place] = _Left(max(self._tries(place, now_s) - 1, 0), now_s)
        self._left.move_to_end(place)
        if len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)

    def _tries(self, place: str, now_s: float) -> float:
        left = self._left.get(place)
        return min(left.tries + (now_s - left.at_s) / EVERY_S, AT_ONCE) if left is not None else AT_ONCE


def _place(address: str) -> str:
    """An address as one that tries: of IPv6 the whole subnet, which has one owner."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a caller without an address
        return address
    known = getattr(known, "ipv4_mapped", None) or known
    return str(ipaddress.ip_network((known, _SUBNET), strict=False)) if known.version == 6 else str(known)
