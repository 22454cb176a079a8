"""Which servers keep the log, as the stream's own leader tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.runtime.ports import Peer

if TYPE_CHECKING:
    from collections.abc import Mapping


_SILENT_NS = 5_000_000_000  # those that are there are heard of every second


def peers_of(info: Mapping[str, Any]) -> list[Peer]:
    """The servers in a stream's information: its leader, then the others; none when the server is alone."""
    cluster: Mapping[str, Any] = info.get("cluster") or {}
    replicas: list[Mapping[str, Any]] = cluster.get("replicas") or []
    leader = cluster.get("leader", "")
    if not cluster.get("name") and not replicas:  # a server of its own calls itself the leader at times
        return []
    leading = [Peer(leader, leads=True, current=True, online=True)] if leader else []
    others = sorted((_peer(each, is_led=bool(leader)) for each in replicas), key=lambda peer: peer.name)
    return leading + others


def _peer(told: Mapping[str, Any], *, is_led: bool) -> Peer:
    # One that was killed is not `offline` to NATS for minutes. `active` is how long ago the leader has heard of it;
    # without a leader nobody says that, and one that is heard of is current.
    is_heard = int(told.get("active", 0)) < _SILENT_NS if is_led else bool(told.get("current", False))
    is_online = is_heard and not told.get("offline", False)
    return Peer(
        str(told.get("name", "")),
        leads=False,
        current=is_online and bool(told.get("current", False)),
        online=is_online,
        lag=int(told.get("lag", 0)),
    )
