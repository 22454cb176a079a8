"""`token …`: who is let in over HTTP."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, place, run
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import emit, paint, paint_err, room, say, table
from dagnats.cli.target import BY

if TYPE_CHECKING:
    from dagnats.client.token import Made
    from dagnats.model.token import AccessToken

app = typer.Typer(help="Manage who is let in over HTTP.")

HEADER = ("ID", "NAME", "SCOPE", "WORKFLOWS", "CREATED", "EXPIRES")


class ScopeName(StrEnum):
    """What a token may allow; each what is before it, too."""

    read = "read"
    run = "run"
    operate = "operate"
    admin = "admin"


@app.command()
def create(
    name: str = typer.Argument("", metavar="NAME", help="What to call it.", show_default=False),
    scope: ScopeName = typer.Option(
        ...,
        "--scope",
        help="What it allows: to look; to start runs and work for them; to hold and repair; everything.",
        show_default=False,
    ),
    workflow: list[str] = typer.Option(
        [], "--workflow", metavar="PATTERN", help="Only for these workflows: order-*. May be repeated."
    ),
    expires: str = typer.Option("", "--expires", metavar="WHEN", help="30d, or a time. Without it, never."),
    by: str = BY,
) -> None:
    """Make a token. It is printed once, and nobody can have it again."""
    made = run(_create(name, scope, workflow, _moment(expires), by))
    token = made.token
    if current().json:
        emit({**_document(token), "token": made.text})
        return
    say(made.text)
    limited = f" for {', '.join(token.workflows)}" if token.workflows else ""
    told = f"{token.label} ({token.id}), {token.scope}{limited}, {_until(token)}"
    say(f"{paint_err('Created:', 'green')} {told}. Keep the token: it is not shown again.", err=True)


@app.command("list")
def list_tokens(wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")) -> None:
    """List the tokens there are, the newest first; of none what it is."""
    found = run(_all())
    if current().json:
        emit([_document(token) for token in found])
    elif not found:
        say("There are no tokens.")
    else:
        for line in table(HEADER, [_row(token) for token in found], None if wide else room()):
            say(line)


@app.command()
def revoke(
    token: str = typer.Argument(metavar="TOKEN", help="Its id, its name, or itself.", show_default=False),
    by: str = typer.Option("", "--by", metavar="NAME", help="Who does it. Not over HTTP: the server knows there."),
) -> None:
    """Let a token let nobody in any more, at any server, from now on."""
    done = run(_revoke(token, by))
    if current().json:
        emit({"id": done.id, "name": done.name, "revoked": True})
    else:
        say(f"{paint('Revoked:', 'yellow')} {done.label} ({done.id})")


def _moment(expires: str) -> str | None:
    """When a token expires, as the client takes it. A span is one from now, whether it says so or not."""
    from dagnats.model.duration import parse_duration

    if not expires:
        return None
    try:
        parse_duration(expires)
    except ValueError:
        return expires
    return f"+{expires}"


async def _create(name: str, scope: ScopeName, workflows: list[str], expires: str | None, by: str) -> Made:
    async with open_client() as client:
        return await client.create_token(scope.value, name=name, workflows=workflows, expires=expires, by=by or _user())


async def _all() -> list[AccessToken]:
    async with open_client() as client:
        return await client.tokens()


async def _revoke(which: str, by: str) -> AccessToken:
    where = place()
    if by and where.is_http:
        raise UsageError(
            f"over HTTP the server knows who revokes a token: it takes nobody's word for {by!r}",
            hint="leave --by out; `dagnats audit` tells who did it",
        )
    async with open_client(where=where) as client:
        return await client.revoke_token(which, by=by or _user())


def _user() -> str:
    """Who calls the command, as this machine knows them."""
    import getpass

    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError, ImportError):  # a container's user has no name at times
        return "command line"


def _row(token: AccessToken) -> tuple[str, ...]:
    from dagnats.model.instant import table_time

    until = _until(token).removeprefix("until ")
    return (
        token.id,
        token.name or "-",
        token.scope,
        ", ".join(token.workflows) or "all",
        table_time(token.created_ns),
        until,
    )


def _until(token: AccessToken) -> str:
    import time

    from dagnats.model.instant import table_time

    if not token.expires_ns:
        return "for ever"
    return f"{'expired' if token.expired(time.time_ns()) else 'until'} {table_time(token.expires_ns)}"


def _document(token: AccessToken) -> dict[str, Any]:
    import time

    import msgspec

    from dagnats.client.installation import token_document

    return msgspec.to_builtins(token_document(token, time.time_ns()))
