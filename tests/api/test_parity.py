"""Everything that the command line can do has a route, or a reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.cli.app import tree
from dagnats.runtime.api.rest import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = "it is about files, or programs, of the caller's own machine"
_RUN = "/runs/{run_id}"
_STEP = f"{_RUN}/steps/{{step}}"
_WORKFLOW, _QUEUE, _WAITPOINT = "/workflows/{workflow}", "/queues/{queue}", "/waitpoints/{run_id}/{step}"

ROUTES = {
    "audit": "GET /audit",
    "backup": _HERE,
    "bench": _HERE,
    "build": _HERE,
    "clean": "POST /clean",
    "completion": _HERE,
    "config check": _HERE,
    "config show": _HERE,
    "context add": _HERE,
    "context list": _HERE,
    "context remove": _HERE,
    "context show": _HERE,
    "context use": _HERE,
    "demo": _HERE,
    "dev": _HERE,
    "dlq discard": "DELETE /dlq/{seq}",
    "dlq inspect": "GET /dlq/{seq}",
    "dlq list": "GET /dlq",
    "dlq replay": "POST /dlq/{seq}/replay",
    "dlq watch": "POST /dlq/{seq}/replay",
    "doctor": "POST /doctor",
    "event publish": "POST /events/{type}",
    "init project": _HERE,
    "init workflow": _HERE,
    "logs search": "GET /logs",
    "queue limit": f"POST {_QUEUE}/limits",
    "queue list": "GET /queues",
    "queue pause": f"POST {_QUEUE}/pause",
    "queue repair": "POST /queues/repair",
    "queue resume": f"POST {_QUEUE}/resume",
    "queue show": f"GET {_QUEUE}",
    "register": "POST /registrations",
    "restore": _HERE,
    "run approve": f"POST {_RUN}/approve",
    "run bulk": "POST /runs/bulk",
    "run cancel": f"POST {_RUN}/cancel",
    "run cancel-all": "POST /runs/cancel",
    "run count": "GET /runs/count",
    "run diagnose": f"GET {_RUN}/diagnose",
    "run events": f"GET {_RUN}/events",
    "run export": f"GET {_RUN}/export",
    "run fail": f"POST {_STEP}/fail",
    "run fork": f"POST {_RUN}/fork",
    "run import": "POST /imports",
    "run imported": "GET /imports",
    "run inspect": f"GET {_RUN}",
    "run list": "GET /runs",
    "run logs": f"GET {_RUN}/logs",
    "run output": f"GET {_RUN}/output",
    "run pause": f"POST {_RUN}/pause",
    "run reject": f"POST {_RUN}/reject",
    "run replay": f"POST {_RUN}/rehearse",
    "run result": f"GET {_RUN}/output",
    "run resume": f"POST {_RUN}/resume",
    "run retry": f"POST {_RUN}/retry",
    "run retry-all": "POST /runs/retry",
    "run signal": f"POST {_RUN}/signal/{{name}}",
    "run skip": f"POST {_STEP}/skip",
    "run start": "POST /runs",
    "run status": f"GET {_RUN}",
    "run stream": f"GET {_STEP}/stream",
    "run tree": "GET /runs",  # ?parent=
    "run watch": f"GET {_RUN}/events",
    "schema": "GET /schema",
    "serve": _HERE,
    "signal list": f"GET {_RUN}/events",
    "status": "GET /status",
    "token create": "POST /tokens",
    "token list": "GET /tokens",
    "token revoke": "DELETE /tokens/{token}",
    "trace": f"GET {_RUN}/trace",
    "trigger-type describe": "GET /trigger-types/{trigger_type}",
    "trigger-type list": "GET /trigger-types",
    "verify": "GET /verify",
    "waitpoint cancel": f"POST {_WAITPOINT}/cancel",
    "waitpoint complete": f"POST {_WAITPOINT}/complete",
    "waitpoint list": "GET /waitpoints",
    "waitpoint show": f"GET {_WAITPOINT}",
    "waitpoint token": f"POST {_WAITPOINT}/token",
    "worker": _HERE,
    "workers list": "GET /workers",
    "workflow delete": f"DELETE {_WORKFLOW}",
    "workflow diff": f"GET {_WORKFLOW}",
    "workflow graph": f"GET {_WORKFLOW}",
    "workflow limit": f"POST {_WORKFLOW}/limits",
    "workflow list": "GET /workflows",
    "workflow pause": f"POST {_WORKFLOW}/pause",
    "workflow register": "POST /registrations",
    "workflow resume": f"POST {_WORKFLOW}/resume",
    "workflow show": f"GET {_WORKFLOW}",
    "workflow validate": "POST /workflows/validate",
    "workflow versions": f"GET {_WORKFLOW}/versions",
}


def _commands(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, words)
        else:
            yield words


def test_every_command_has_a_route_or_a_reason_why_not() -> None:
    there = {f"{each.method} {each.path}" for each in OPERATIONS} | {_HERE}
    assert {*_commands(tree())} == {*ROUTES}
    assert {*ROUTES.values()} <= there
