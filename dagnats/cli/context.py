"""`context …`: the servers that somebody uses, by names of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import emit, paint, room, say, table
from dagnats.model.address import is_http

if TYPE_CHECKING:
    from dagnats.config.context import Context, Contexts

app = typer.Typer(help="Name the servers that you use.")

HEADER = ("", "NAME", "URL", "NAMESPACE", "TOKEN")

_NAME = typer.Argument(metavar="NAME", help="The context.", show_default=False)
_HIDDEN = "***"


@app.command()
def add(
    name: str = typer.Argument(metavar="NAME", help="What you call it.", show_default=False),
    url: str = typer.Argument(
        "", metavar="URL", help="nats://host:4222, or http://host:8080; --server names it, too.", show_default=False
    ),
    token_file: Path | None = typer.Option(
        None, "--token-file", metavar="FILE", help="The file that holds the token, instead of --token."
    ),
    use: bool = typer.Option(False, "--use", help="Use it from now on."),
) -> None:
    """Keep a server under a name, or change the one of that name. --token says what lets you in.

    --namespace says which of several installations on that server you mean.
    """
    options = current()
    if url and options.server:
        raise UsageError(f"the URL {_shown(url)} and --server say two things", hint="leave one of them out")
    if token_file is not None and options.token:
        raise UsageError(f"--token and --token-file {token_file} say two things", hint="leave one of them out")
    if not (url or options.server):
        raise UsageError("which server?", hint="give its URL: nats://host:4222, or http://host:8080")
    file = str(token_file.expanduser().absolute()) if token_file is not None else ""
    before = _contexts()
    at = url or options.server
    if options.namespace and is_http(at):
        raise UsageError(
            f"--namespace {options.namespace}: DagNats over HTTP serves one namespace, its own",
            hint="leave --namespace out, or give the NATS server's URL",
        )
    after = before.adding(name, url=at, token=options.token, token_file=file, namespace=options.namespace)
    _store(after.using(name) if use else after)
    verb = "Changed" if name in before.known else "Added"
    _say(_document(after.using(name) if use else after, name), f"{paint(f'{verb}:', 'green')} {name}")
    if not use and after.current != name and not current().json:
        say(f"{paint('hint:', 'cyan')} `dagnats context use {name}` makes commands ask there", err=True)


@app.command()
def use(name: str = typer.Argument(metavar="NAME", help="The context; 'local' for this machine's own server.")) -> None:
    """Ask a context's server from now on, unless a flag, a variable or dagnats.yaml names another one."""
    after = _contexts().using(name)
    _store(after)
    _say(_document(after, name), f"{paint('Using:', 'green')} {name}")


@app.command("list")
def list_contexts(wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")) -> None:
    """List the contexts; the one in use is marked. Tokens are never shown."""
    found = _contexts()
    documents = [_document(found, name) for name in (_local(), *sorted(found.known))]
    if current().json:
        emit(documents)
        return
    rows = [
        (
            "*" if each["current"] else "",
            each["name"],
            each["url"] or "the local `serve`",
            each["namespace"] or "-",
            each["token"] or each["token_file"] or "-",
        )
        for each in documents
    ]
    for line in table(HEADER, rows, None if wide else room()):
        say(line)


@app.command()
def show(name: str = typer.Argument("", metavar="NAME", help="The context; the one in use without it.")) -> None:
    """Show a context. Its token is not shown."""
    found = _contexts()
    document = _document(found, name or found.current or _local())
    if current().json:
        emit(document)
        return
    say(f"Name: {document['name']}{' (in use)' if document['current'] else ''}")
    say(f"URL: {document['url'] or 'the local `serve`'}")
    for label, key in (("Namespace", "namespace"), ("Token", "token"), ("Token file", "token_file")):
        if document[key]:
            say(f"{label}: {document[key]}")
    say(f"File: {found.file}")


@app.command()
def remove(name: str = _NAME, force: bool = FORCE) -> None:
    """Forget a context, and its token."""
    found = _contexts()
    after = found.without(name)
    expect_consent(f"Forget context {name} ({_shown(found.known[name].url)})?", force=force)
    _store(after)
    _say({"name": name, "removed": True}, f"{paint('Removed:', 'yellow')} {name}")


def _contexts() -> Contexts:
    from dagnats.config.context import load_contexts

    return load_contexts()


def _local() -> str:
    from dagnats.config.context import LOCAL

    return LOCAL


def _store(contexts: Contexts) -> None:
    """Write the file, in a folder and with a mode that keep others out."""
    from dagnats.runtime.local import write_secret

    contexts.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(contexts.file, contexts.to_yaml())


def _document(contexts: Contexts, name: str) -> dict[str, Any]:
    context: Context | None = None if name == _local() else contexts.named(name)
    return {
        "name": name,
        "url": _shown(context.url) if context is not None else None,
        "namespace": (context.namespace or None) if context is not None else None,
        "token": _HIDDEN if context is not None and context.token.get_secret_value() else None,
        "token_file": (context.token_file or None) if context is not None else None,
        "current": name == (contexts.current or _local()),
    }


def _shown(url: str) -> str:
    from dagnats.model.address import without_secrets

    return without_secrets(url)


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)
