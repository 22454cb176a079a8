"""`python -m tests.api.fuzz --seconds 60`: schemathesis says odd things to a server, by the server's own description.

Half of what it says is about runs, workflows and queues that are there. No answer may be a fault of the server's, or
other than the description says; and the server must be well at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from dagnats import connect_http
from tests.api.site import WORK
from tests.api.world import FAILURE, workflows
from tests.support.processes import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "unsupported_method",
)
_ODD = ("", "*", ">", "..", "a.b", "solo*", "%2e%2e/", "9999-12-31", "+1h", "1s", "-1", "1e400", "\u0000", "Ω")
_OFTEN = 0.6


async def inhabited(url: str) -> dict[str, list[str | int]]:
    """What there is after this, by the name of the parameter that means it: runs of each kind, and all around them."""
    async with connect_http(url) as client, httpx.AsyncClient(base_url=url) as web:
        await client.register_all([workflow.build() for workflow in workflows()])

        async def resolved(**said: Any) -> str:
            run = await client.start("solo", {"a": 1})
            (task,) = (await told(web, "/v1/tasks/poll", task_types=[WORK], timeout_ms=20_000)).json()
            await told(web, f"/v1/tasks/{task['task_id']}/resolve", **said)
            await run.wait(timeout="20s")
            return run.run_id

        ended = [await resolved(action="complete", output=7), await resolved(action="fail", **FAILURE)]
        started = [await client.start(name, labels={"a": "b"}) for name in ("solo", "asking", "waiting")]
        later = await client.start("solo", at="+1h")
        token = (await told(web, "/v1/tokens", scope="read", name="old")).json()["id"]
    return {
        "run_id": [*ended, later.run_id, *(run.run_id for run in started)],
        "workflow": ["solo", "asking", "waiting"],
        "queue": [WORK],
        "step": ["work", "ask", "paid"],
        "seq": [1],
        "token": [token],
    }


async def told(web: httpx.AsyncClient, path: str, **document: Any) -> httpx.Response:
    answer = await web.post(path, json=document, timeout=30)
    assert answer.is_success, (path, answer.text)
    return answer


def configuration(there: Mapping[str, Sequence[str | int]]) -> str:
    """Of schemathesis, in TOML: a string or a list of them is written as JSON has it."""
    lines: list[str] = []
    for name, values in {**there, "odd": _ODD}.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[generation.dictionaries]", 'string = { dictionary = "odd", probability = 0.1 }', "[parameters]"]
    places = {**{name: name for name in there}, "workflow_id": "workflow"}
    for place in ("path", "query", "body"):
        lines += [
            f'"{place}.{name}" = {{ dictionary = "{values}", probability = {_OFTEN} }}'
            for name, values in places.items()
        ]
    return "\n".join(lines)


def asked(url: str, there: Mapping[str, Sequence[str | int]], seconds: int, folder: Path, *more: str) -> int:
    """Let schemathesis ask; gives its exit code. What it keeps is kept in the folder."""
    (folder / "schemathesis.toml").write_text(configuration(there))
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks", ",".join(CHECKS), "--max-time", str(seconds), "--request-timeout", "30", "--warnings", "off"]
    return subprocess.run([program, "run", f"{url}/openapi.json", *options, *more], cwd=folder, check=False).returncode


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.api.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long")
    chosen, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        env = {"DAGNATS_DATA_DIR": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
        with Program("serve", "--port", "0", log=folder / "serve.log", env=env) as server:
            await server.says("Ctrl-C stops")
            (url,) = (line.split()[1] for line in server.output.splitlines() if line.startswith("HTTP:"))
            code = asked(url, await inhabited(url), chosen.seconds, folder, *more)
            ended = server.terminate()
            if code or ended or "Traceback" in server.output:
                sys.stdout.write(f"\nthe server ended with {ended} and said:\n{server.output}")
        return code or ended or int("Traceback" in server.output)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
