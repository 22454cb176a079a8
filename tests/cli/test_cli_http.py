"""`serve` over HTTP, as programs in other languages use it: a socket, a server of its own, the index behind lists."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine

NAP = {"name": "nap", "steps": [{"id": "rest", "type": "sleep", "config": {"duration": "1ms"}}]}


def ask(url: str, document: Any = None, **headers: str) -> urllib.request.Request:
    """A request: POST when there is a document."""
    data = json.dumps(document).encode() if document is not None else None
    return urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})


def answer(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_a_run_is_registered_started_listed_and_followed_over_http_alone(project: CommandLine) -> None:
    with project.start("serve", "--port=0", "--json") as server:
        url = json.loads("\n".join(server.reads("}")))["http"]
        assert answer(ask(f"{url}/workflows", NAP))["action"] == "created"
        first = answer(ask(f"{url}/v1/runs?wait=20s", {"workflow": "nap", "input": {"n": 1}}, Idempotency_Key="a"))
        assert first["status"] == "completed"
        again = answer(ask(f"{url}/v1/runs", {"workflow": "nap", "input": {"n": 1}}, Idempotency_Key="a"))
        assert again["run_id"] == first["run_id"]
        (listed,) = answer(ask(f"{url}/v1/runs?workflow=nap&status=completed"))
        assert listed["run_id"] == first["run_id"]
        for far, count in (("after=9999-12-31", 0), ("before=0001-01-01", 0), ("after=0001-01-01", 1)):
            assert len(answer(ask(f"{url}/v1/runs?{far}"))) == count
        with urllib.request.urlopen(
            ask(f"{url}/v1/runs/{first['run_id']}/events", Accept="text/event-stream"), timeout=30
        ) as events:
            told = events.read().decode()
        assert told.startswith("id: ")
        assert "event: workflow.completed\n" in told
        with pytest.raises(urllib.error.HTTPError) as refused:
            answer(ask(f"{url}/v1/runs", {"workflow": "nip"}))
        problem = json.load(refused.value)
        assert (refused.value.code, problem["type"]) == (404, "urn:dagnats:not-found")
        assert "did you mean 'nap'" in problem["detail"]
        assert project("run", "status", first["run_id"]).code == 0
        assert server.stop().code == 0
