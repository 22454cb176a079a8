"""Which servers keep the log, as the stream's own leader tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.runtime.ports import Peer

if TYPE_CHECKING:
    from collections.abc import Mapping


def peers_of(info: Mapping[str, Any]) -> list[Peer]:
    """The servers in a stream's information: its leader, then the others; none when the server is alone."""
    cluster: Mapping[str, Any] = info.get("cluster") or {}
    replicas: list[Mapping[str, Any]] = cluster.get("replicas") or []
    leader = cluster.get("leader", "")
    if not cluster.get("name") and not replicas:  # a server of its own calls itself the leader at times
        return []
    leading = [Peer(leader, leads=True, current=True, online=True)] if leader else []
    others = sorted(map(_peer, replicas), key=lambda peer: peer.name)
    return leading + others


def _peer(told: Mapping[str, Any]) -> Peer:
    is_online = not told.get("offline", False)
    return Peer(
        str(told.get("name", "")),
        leads=False,
        current=is_online and bool(told.get("current", False)),
        online=is_online,
        lag=int(told.get("lag", 0)),
    )
