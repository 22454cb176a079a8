"""Commands that ask over HTTP: they say what they say over NATS, and those that cannot say why."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from dagnats import connect_http
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine, Result

_ASKED = (
    "status --json",
    "status --detail",
    "doctor",
    "waitpoint list --json",
    "waitpoint show over-http-1",
    "workflow list",
    "workflow show oder",
    "workflow versions hello-pipeline --json",
    "run list --workflow hello-pipeline --status completed --wide",
    "run status over-http-1",
    "run status over-http-9",
    "run status over-htt --json",
    "run inspect over-http-1 --json",
    "run events over-http-1 --json",
    "run watch over-http-1 --json",
    "run stream over-http-1 greet",
    "run diagnose over-http-1 --json",
    "run cancel over-http-1 --json",
    "run start order {} --json",
    'run start hello-pipeline "Ann" --at 2001-01-01',
    "run bulk --workflow order 1 2 --dry-run",
    "queue show nobody.serves.ths",
    "workers list --json",
    "trace over-http-1 --json",
    "run logs over-http-1",
    "run replay over-http-1 --json",
    "run replay over-http-9",
    "run export over-http-9",
    "run imported",
    "run imported --remove nobody",
    "run import nothing.json",
    "logs search nothing-has-this",
    "logs --tail 5 --service nobody",
    "logs --since yesterday",
    "logs search x --level loud",
    "audit --action no-such-thing",
    "audit --after yesterday",
    "audit --outcome forbiden",
    "token revoke nobody",
    "token create a/b --scope read",
    "clean --older-than 30d --dry-run",
    "clean --older-than 30d --force --json",
)


@pytest.fixture(scope="module")
def run(served: CommandLine) -> str:
    """A run that is over, started over HTTP."""
    done = served("run", "start", "hello-pipeline", '"Ann"', "--run-id", "over-http-1", "--watch", **over_http(served))
    assert done.code == 0, done
    assert done.lines[-1] == "Run over-http-1 completed"
    return "over-http-1"


def over_http(served: CommandLine) -> dict[str, str]:
    return {"DAGNATS_URL": served.http}


def plain(result: Result) -> Result:
    """What was said, without the times of the moment, and what has become more since."""
    moments = re.compile(
        r"(\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d(\.\d+)?Z?|active_runs\": \d+|last_seen\": \"[^\"]+"
        r"|used_bytes\": \d+|Store: [^;\n]+)"
    )
    return result._replace(out=moments.sub("…", result.out), err=moments.sub("…", result.err))


@pytest.mark.usefixtures("run")
def test_every_answer_is_the_same_to_its_last_letter(served: CommandLine) -> None:
    for line in _ASKED:
        words = line.split()
        assert plain(served(*words, **over_http(served))) == plain(served(*words)), line


def test_a_run_goes_from_one_installation_to_another_and_is_looked_at_there(
    served: CommandLine, run: str, tmp_path: Path
) -> None:
    file, http = tmp_path / "run.json", over_http(served)
    assert served("run", "export", run, str(file), **http).code == 0
    over_nats = served("run", "export", run).json()
    assert {**json.loads(file.read_text()), "exported_at": ""} == {**over_nats, "exported_at": ""}
    file.write_text(file.read_text().replace(run, "over-http-guest"))
    assert served("run", "import", str(file), **http).lines[0].startswith("Imported: over-http-guest (hello-pipeline, ")
    try:
        listed = served("run", "imported", "--json", **http).json()
        assert [each["run_id"] for each in listed] == ["over-http-guest"]
        for line in ("status", "events", "inspect", "tree", "watch", "replay", "diagnose", "logs", "cancel", "retry"):
            words = ("run", line, "over-http-gu")
            assert plain(served(*words, **http)) == plain(served(*words)), line
            assert "was imported" in served(*words, **http).err, line
        assert served("run", "retry", "over-http-guest", **http).code == 2
    finally:
        assert served("run", "imported", "--remove", "over-http-guest", **http).code == 0
    assert served("run", "status", "over-http-guest", **http).code == 2


def test_a_token_is_made_listed_and_revoked(served: CommandLine) -> None:
    http = over_http(served)
    made = served("token", "create", "web", "--scope=run", "--workflow=order-*", "--expires=30d", "--json", **http)
    assert made.json()["token"].startswith("dagnats_")
    assert plain(served("token", "list", "--json", **http)) == plain(served("token", "list", "--json"))
    named = served("token", "revoke", "web", "--by=ann", **http)
    assert (named.code, named.err.partition("\n")[0]) == (
        2,
        "error: over HTTP the server knows who revokes a token: it takes nobody's word for 'ann'",
    )
    assert served("token", "revoke", made.json()["token"], **http).lines == [f"Revoked: web ({made.json()['id']})"]
    did = served("audit", "--target=web", "--json", **http)
    assert plain(did) == plain(served("audit", "--target=web", "--json"))
    assert [each["by"] for each in did.json()] == ["local"]  # whom the server knows, whatever somebody says


async def test_log_lines_are_followed_as_they_come(served: CommandLine, run: str) -> None:
    async with (
        connect_http(served.http) as client,
        aclosing(client.follow_logs(service="api", text=run.removesuffix("-1"))) as lines,
    ):
        line = asyncio.create_task(anext(lines))

        async def is_heard() -> bool:  # what came before anybody listened is not
            await client.start("hello-pipeline", "Ann", run_id=f"over-http-{secrets.token_hex(4)}")
            return line.done()

        await until(is_heard)
        assert line.result().body == "started run"


@pytest.mark.parametrize("line", ["bench", "backup at.tar", "restore at.tar", "worker"])
def test_a_command_without_a_route_says_so_in_one_sentence(served: CommandLine, line: str) -> None:
    refused = served(*line.split(), "--json", f"--server={served.http}")
    assert refused.code == 2
    assert refused.json()["error"] == {
        "kind": "usage",
        "message": f"this command speaks to NATS itself, and {served.http} is DagNats over HTTP",
        "hint": "name the NATS server: --server nats://host:4222",
        "problems": [],
    }


def test_serve_needs_nats_itself(offline: CommandLine) -> None:
    assert offline("serve", "--server=http://host:8080").code == 2
    refused = offline("serve", "--context=prod")
    assert (refused.code, "a server is no client" in refused.err) == (2, True)


def test_nobody_at_that_address_is_exit_code_3(offline: CommandLine) -> None:
    refused = offline("run", "list", "--server", "http://127.0.0.1:1")
    assert refused.code == 3
    assert refused.err.startswith("error: no DagNats server answers at http://127.0.0.1:1: ")


# -- contexts --------------------------------------------------------------------------------------------------


def test_a_context_whose_token_is_in_a_file_is_listed_with_that(project: CommandLine) -> None:
    assert project("context", "add", "far", "http://127.0.0.1:1", "--token-file", "/keys/far").code == 0
    assert project("context", "list").lines[2].split() == ["far", "http://127.0.0.1:1", "-", "/keys/far"]


def test_a_context_is_kept_for_its_owner_alone_and_used_unless_something_else_is_named(
    served: CommandLine, run: str
) -> None:
    assert served("context", "add", "web", served.http, "--token=hunter2", "--use").code == 0
    try:
        (file,) = served.data.with_name(f"{served.data.name}-config").rglob("config.yaml")
        assert file.stat().st_mode & 0o777 == 0o600
        shown = served("context", "show", "--json")
        kept = {"name": "web", "url": served.http, "namespace": None, "token": "***", "token_file": None}
        assert shown.json() == {**kept, "current": True}
        assert served("context", "list").lines[2].startswith(f"*  web    {served.http}")
        # It asks over HTTP now: what needs NATS itself is refused, unless a flag, or --context, names another server.
        assert served("bench", "--runs=1").code == 2
        assert served("bench", "--runs=1", "--warm-up=0", "--context", "local").code == 0
        url = json.loads((served.data / "server.json").read_text())
        local = {"DAGNATS_URL": url["url"], "DAGNATS_TOKEN": url["token"]}
        assert served("bench", "--runs=1", "--warm-up=0", **local).code == 0
        assert served("run", "status", run).code == 0
        two = served("status", "--context=web", "--server", served.http)
        assert two.err.startswith("error: --context web and --server say two things")
    finally:
        assert served("context", "remove", "web", "--force").code == 0
    assert served("context", "show", "--json").json()["name"] == "local"
    assert served("bench", "--runs=1", "--warm-up=0").code == 0


def test_a_context_may_leave_its_token_in_a_file(project: CommandLine) -> None:
    (project.folder / "token").write_text("hunter2\n")
    assert project("context", "add", "far", "https://far.example", "--token-file", "token").code == 0
    shown = project("context", "show", "far", "--json").json()
    assert (shown["token"], shown["token_file"]) == (None, str(project.folder / "token"))
    (project.folder / "token").unlink()
    refused = project("status", "--context", "far")
    assert (refused.code, "cannot be read: No such file" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "a b", "nats://x"], "'a b' cannot name a context"),
        (["add", "x", "foo://y"], "it is not the address of a NATS server"),
        (["add", "x"], "which server?"),
        (["add", "x", "nats://y", "--namespace", "a b"], "'a b' cannot be a namespace: a namespace is a letter, then"),
        (["add", "x", "http://y", "--namespace", "staging"], "DagNats over HTTP serves one namespace, its own"),
        (["add", "local", "nats://x"], "the context 'local' is this machine's own"),
        (["use", "nowhere"], "no context 'nowhere'"),
        (["remove", "nowhere"], "no context 'nowhere'"),
    ],
)
def test_what_cannot_be_a_context_is_refused(offline: CommandLine, words: list[str], told: str) -> None:
    refused = offline("context", *words)
    assert refused.code == 2
    assert told in refused.err


def test_a_file_of_contexts_that_cannot_be_is_told_whole(project: CommandLine) -> None:
    file = project.data.with_name(f"{project.data.name}-config") / "dagnats" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("curent: a\ncontexts:\n  a:\n    url: foo://b\n    token: hunter2\n    tokn: hunter2\n")
    refused = project("status", "--json")
    assert refused.code == 2
    problems = {problem["path"]: problem for problem in refused.json()["error"]["problems"]}
    assert set(problems) == {"curent", "contexts.a.url", "contexts.a.tokn"}
    assert problems["curent"]["hint"] == "did you mean 'current'?"
    assert "hunter2" not in refused.out + refused.err
