"""A server that was given secrets tells nobody: neither over HTTP, nor in what it prints, nor in its commands."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from command_line import CommandLine

SECRETS = {
    "a password": "planted-basic-password",
    "a bearer token": "planted-bridge-token",
    "a worker's header": "planted-header",
    "the path of a worker's URL": "planted-path",
    "the password of a worker's URL": "planted-url-password",
    "a variable of the server": "planted-variable",
}
CONFIGURED = """
http_addr: 127.0.0.1:0
http_tokens: true
nats_port: 0
access:
  basic:
    ann: {password: planted-basic-password, scope: admin}
worker:
  notify:
    http: https://ann:planted-url-password@hooks.example.com/planted-path
    headers: {Authorization: Bearer planted-header}
  env:
    exec: [env]
    env: [PLANTED]
"""


def test_secrets_that_a_server_was_given_are_in_nothing_that_it_says(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text(CONFIGURED)
    project.env_also(DAGNATS_BRIDGE_TOKEN=SECRETS["a bearer token"], PLANTED=SECRETS["a variable of the server"])
    with project.start("serve", "--debug") as server:
        printed = server.reads("Ctrl-C stops")
        (url,) = [line.partition(" ")[2].strip() for line in printed if line.startswith("HTTP:")]
        nats = json.loads((project.data / "server.json").read_text())["token"]
        made = project("token", "create", "mine", "--scope=admin")
        text = made.out.strip()
        said = [
            *(fetched(f"{url}{path}", text) for path in PATHS),
            *(fetched(f"{url}/v1/tokens/{text}", text, method) for method in ("POST", "DELETE")),
            *(fetched(f"{url}/v1/status", wrong) for wrong in (text, f"{SECRETS['a bearer token']}x", "other")),
        ]
        for line in LINES:
            done = project(*line.split())
            said += [done.out, done.err]
        lost = project("run", "list", "--debug", "--server=nats://ann:planted-url-password@127.0.0.1:1")
        ended = server.stop()
    said += [*printed, lost.out, lost.err, ended.out, ended.err]
    assert lost.code == 3
    for what, secret in {**SECRETS, "the token of NATS": nats, "a token": text.rpartition("_")[2]}.items():
        assert [each for each in said if secret in each] == [], what


PATHS = (
    "/openapi.json",
    "/docs",
    "/v1/status?detail=true",
    "/v1/doctor",
    "/v1/tokens",
    "/v1/audit",
    "/v1/workers",
    "/x",
)
LINES = (
    "config show",
    "config show --json",
    "status --detail --json",
    "doctor --json",
    "token list --json",
    "audit --json",
    "workers list --json",
    "run status nobody-here --debug",
)


def fetched(url: str, token: str, method: str = "GET") -> str:
    """What is answered, headers included."""
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return f"{response.headers}{response.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"
