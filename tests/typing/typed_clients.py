"""Both clients are the protocol that programs may take; checked by pyright, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

if TYPE_CHECKING:
    from dagnats import AnyClient, AnyRun, AsyncClient, Client, Run, RunHandle
    from dagnats.client import RunSummary, RunView
    from dagnats.client.http import HttpClient, HttpRun
    from dagnats.model.definition import WorkflowDef


def clients(over_nats: AsyncClient, over_http: HttpClient) -> list[AnyClient]:
    return [over_nats, over_http]


def runs(over_nats: RunHandle, over_http: HttpRun) -> list[AnyRun]:
    return [over_nats, over_http]


def waiting(client: Client) -> None:
    assert_type(client.workflows(), list[WorkflowDef])
    assert_type(client.start("order", {"id": 1}, labels={"team": "a"}), Run)
    assert_type(client.start("order").result(int, timeout="1m"), int)
    assert_type(client.handle("a").view(gates=True), RunView)
    assert_type(client.runs(status="failed", limit=3), list[RunSummary])
    assert_type([event.type for event in client.handle("a").events(after=3)], list[str])
    assert_type(client.handle("a").fork("work", latest=True), Run)
    client.start("order", lables={})  # pyright: ignore[reportCallIssue]
    client.runs(status="broken")  # pyright: ignore[reportArgumentType]
    client.runs("order")  # pyright: ignore[reportCallIssue]
    client.handle("a").cancel(reason=3)  # pyright: ignore[reportArgumentType]
