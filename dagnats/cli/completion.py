"""`completion`, and what the shell offers behind Tab: names and ids from the live server.

A server that does not answer offers nothing, and neither does a mistake: behind Tab there is no place for an error.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import option
from dagnats.cli.connection import place, run
from dagnats.cli.output import emit, say
from dagnats.errors import UnavailableError
from dagnats.model.address import is_http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client.http import HttpClient
    from dagnats.runtime.jetstream.history import JetStreamLog
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.jetstream.store import JetStreamDefinitions

_PATIENCE = "DAGNATS_COMPLETION_SECONDS"
_PATIENCE_S = 0.3  # who pressed Tab waits; a far server may need more, and the variable gives it
_MOST = 50
_NOUN = 3  # words before a run: `dagnats run status`
_VARIABLE = "_DAGNATS_COMPLETE"
_SETTINGS = {"DAGNATS_URL", "DAGNATS_TOKEN_FILE", "DAGNATS_NAMESPACE"}
_LINES = ("_TYPER_COMPLETE_ARGS", "COMP_WORDS")
"""Where shells say what has been typed."""


class Shell(StrEnum):
    """What a script can be printed for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


_LOADED = {
    Shell.bash: 'eval "$(dagnats completion bash)"  # in ~/.bashrc',
    Shell.zsh: 'eval "$(dagnats completion zsh)"  # in ~/.zshrc, behind compinit',
    Shell.fish: "dagnats completion fish > ~/.config/fish/completions/dagnats.fish",
}


def completion(shell: Shell = typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)) -> None:
    """Print what makes a shell complete commands, options, workflows, runs and steps.

    eval "$(dagnats completion bash)" loads it.
    """
    from typer.completion import get_completion_script  # pyright: ignore[reportPrivateImportUsage]  # as its option does

    script = get_completion_script(prog_name="dagnats", complete_var=_VARIABLE, shell=shell.value)
    if option.current().json:
        emit({"shell": shell.value, "script": script, "load": _LOADED[shell]})
    else:
        say(script)


# -- what is offered -------------------------------------------------------------------------------------------
#
# Questions go to NATS itself: a client would take three times as long to load as they take. Over HTTP there is no
# other way.


def workflow_names(incomplete: str) -> list[str]:
    """Registered workflows."""
    return _ask(_names, _names_over_http, incomplete)


def run_ids(incomplete: str) -> list[str]:
    """The runs that did something last, newest first."""
    return _ask(_newest, _newest_over_http, incomplete)[:_MOST]


def queue_names(incomplete: str) -> list[str]:
    """The task types of registered workflows."""
    return _ask(_queues, _queues_over_http, incomplete)


def step_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The steps of the run that the line names."""
    # An option whose value is still to come keeps the parser from the words before it.
    run_id = str(ctx.params.get("run_id") or next((word for word in _typed()[1][_NOUN:] if word[0] != "-"), ""))
    last = bool(ctx.params.get("last"))
    if not run_id and not last:
        return []
    return _ask(
        lambda link: _steps(link, run_id, last), lambda client: _steps_over_http(client, run_id, last), incomplete
    )


async def _names(link: Link) -> list[str]:
    return await _definitions(link).names()


async def _queues(link: Link) -> list[str]:
    import asyncio

    definitions = _definitions(link)
    stored = await asyncio.gather(*map(definitions.newest, await definitions.names()))
    return sorted({step.get("task", "") for one in stored if one is not None for step in json.loads(one.data)["steps"]})


async def _newest(link: Link) -> list[str]:
    from dagnats.model.identifier import is_reserved

    entries = await _log(link).tail()
    return [run_id for run_id in dict.fromkeys(entry.run_id for entry in reversed(entries)) if not is_reserved(run_id)]


async def _steps(link: Link, run_id: str, last: bool) -> list[str]:
    log = _log(link)
    seq = 0 if last else await log.first(run_id)
    if not seq:  # a prefix, or the newest one
        seq = await log.first(await _found(link, {"limit": 1} if last else {"prefix": run_id, "limit": 1}))
    begun = await log.at(seq)
    assert begun is not None, "a run that was found has a first event"
    start = json.loads(begun.data)["payload"]
    data = await _definitions(link).version(start["workflow"], start["def_hash"])
    return [step["id"] for step in json.loads(data or b'{"steps": []}')["steps"]]


async def _found(link: Link, query: dict[str, Any]) -> str:
    from dagnats.runtime.jetstream.inquiry import JetStreamInquiries

    page = await JetStreamInquiries(link).ask("runs.page", json.dumps(query).encode())
    return json.loads(page or b'{"runs": []}')["runs"][0]["run_id"]


def _definitions(link: Link) -> JetStreamDefinitions:
    from dagnats.runtime.clock import SystemClock
    from dagnats.runtime.jetstream.store import JetStreamDefinitions

    return JetStreamDefinitions(link, SystemClock())


def _log(link: Link) -> JetStreamLog:
    from dagnats.runtime.jetstream.batch import GroupCommit
    from dagnats.runtime.jetstream.history import JetStreamLog
    from dagnats.runtime.jetstream.policy import Policy

    return JetStreamLog(link, GroupCommit(link, Policy(link)))


# -- the same over HTTP ----------------------------------------------------------------------------------------


async def _names_over_http(client: HttpClient) -> list[str]:
    return [definition.name for definition in await client.workflows()]


async def _queues_over_http(client: HttpClient) -> list[str]:
    return sorted({step.task for definition in await client.workflows() for step in definition.steps if step.task})


async def _newest_over_http(client: HttpClient) -> list[str]:
    return [run.run_id for run in await client.runs(limit=_MOST)]


async def _steps_over_http(client: HttpClient, run_id: str, last: bool) -> list[str]:
    handle = await client.newest() if last else await client.find(run_id)
    return [step.id for step in (await handle.view()).steps]


# -- asking ----------------------------------------------------------------------------------------------------


_OverNats = Callable[["Link"], Awaitable[list[str]]]
_OverHttp = Callable[["HttpClient"], Awaitable[list[str]]]


def _ask(over_nats: _OverNats, over_http: _OverHttp, incomplete: str) -> list[str]:
    import logging

    logging.disable()
    try:
        option.use(_typed()[0])
        return [word for word in run(_answer(over_nats, over_http)) if word and word.startswith(incomplete)]
    except Exception:  # noqa: BLE001  # nobody could read it
        return []
    finally:
        logging.disable(logging.NOTSET)


async def _answer(over_nats: _OverNats, over_http: _OverHttp) -> list[str]:
    import asyncio

    url, token, namespace = _where()
    if is_http(url):
        from dagnats.client.http import connect_http

        async with asyncio.timeout(_patience_s()), connect_http(url, token=token) as client:
            return await over_http(client)
    async with asyncio.timeout(_patience_s()), _link(url, token, namespace) as link:
        return await over_nats(link)


def _typed() -> tuple[option.Options, list[str]]:
    """What has been typed so far: the options of every command, which may name another server, and the other words."""
    words: list[str] = []
    with suppress(ValueError):  # a quote is still open
        words = shlex.split(next((os.environ[name] for name in _LINES if name in os.environ), ""))
    while words:
        try:
            return option.split(words)
        except option.UsageError:  # the last one has no value yet
            words.pop()
    return option.current(), []


@asynccontextmanager
async def _link(url: str, token: str, namespace: str) -> AsyncGenerator[Link, None]:
    """A connection to a server."""
    from dagnats.runtime.jetstream.link import Link  # not before somebody is there to ask

    link = await Link.connect(url, token=token, name="dagnats completion", namespace=namespace)
    try:
        yield link
    finally:
        await link.close()


def _where() -> tuple[str, str, str]:
    """The server's URL, token and namespace. Raises when there is none."""
    from pathlib import Path

    from dagnats.config.file import contexts_file, find_file
    from dagnats.runtime.local import data_dir, find_local_server

    asked, folder, token = option.current(), data_dir(), os.environ.get("DAGNATS_TOKEN", "")
    namespace: str | None = None
    # The configuration takes as long to load as everything else here: most have none, and a server of this machine.
    is_said = asked != option.Options() or bool(_SETTINGS & os.environ.keys())
    if is_said or find_file("") is not None or contexts_file().is_file():
        found = place(leniently=True)
        folder, token, namespace = Path(found.data_dir), found.token, found.namespace
        if found.url:
            return found.url, token, namespace or ""
    local = find_local_server(folder)
    if local is None:
        raise UnavailableError("no server is there")
    return local.url, token or local.token, local.namespace if namespace is None else namespace


def _patience_s() -> float:
    with suppress(ValueError):
        return float(os.environ.get(_PATIENCE, ""))
    return _PATIENCE_S
