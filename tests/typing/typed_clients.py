"""Both clients are the protocol that programs may take; checked by pyright, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats import AnyClient, AnyRun, AsyncClient, RunHandle
    from dagnats.client.http import HttpClient, HttpRun


def clients(over_nats: AsyncClient, over_http: HttpClient) -> list[AnyClient]:
    return [over_nats, over_http]


def runs(over_nats: RunHandle, over_http: HttpRun) -> list[AnyRun]:
    return [over_nats, over_http]
