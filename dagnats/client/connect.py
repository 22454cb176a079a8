"""`connect`: where the server is, and a client on it."""

from __future__ import annotations

import os
from pathlib import Path

from dagnats.client.client import AsyncClient
from dagnats.client.opening import Opening
from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.address import is_http, without_secrets
from dagnats.model.namespace import checked_namespace
from dagnats.runtime.local import find_local_server

_HINT = "run `dagnats serve` in another terminal, or name a server with --server or DAGNATS_URL"


class connect(Opening[AsyncClient]):  # noqa: N801  # used as a function: `async with dagnats.connect() as client`
    """Open a client: `async with dagnats.connect() as client`, or `client = await dagnats.connect()`.

    Args:
        url: `nats://host:port`; when left out, `DAGNATS_URL`, then the local `dagnats serve`.
        token: For that server; when left out, `DAGNATS_TOKEN`, then the local server's own.
        namespace: Which of several installations on that server; "" is the one without a namespace. When left out,
            `DAGNATS_NAMESPACE`, then the local server's own.
        name: How the connection shows up in NATS.
        data_dir: Where the local `dagnats serve` keeps its data; when left out, `DAGNATS_DATA_DIR`, then its default.

    Raises:
        UnavailableError: No server answers there.
        DagnatsError: It is an address of HTTP: see `connect_http`. Or no namespace can be called so.
    """

    def __init__(
        self,
        url: str = "",
        *,
        token: str = "",
        namespace: str | None = None,
        name: str = "dagnats",
        data_dir: Path | str = "",
    ) -> None:
        self._url = url
        self._token = token
        self._namespace = namespace
        self._name = name
        self._data_dir = Path(data_dir) if data_dir else None

    async def _open(self) -> AsyncClient:
        # Not at the top: `import dagnats` and offline commands load no NATS code.
        from dagnats.runtime.jetstream.adapter import JetStream

        url = self._url or os.environ.get("DAGNATS_URL", "")
        token = self._token or os.environ.get("DAGNATS_TOKEN", "")
        namespace = self._namespace if self._namespace is not None else os.environ.get("DAGNATS_NAMESPACE") or None
        if not url:
            local = find_local_server(self._data_dir)
            if local is None:
                raise UnavailableError("no server is named, and no local one is running", hint=_HINT)
            url, token = local.url, token or local.token
            namespace = local.namespace if namespace is None else namespace
        if is_http(url):
            hint = "dagnats.connect_http takes it; a NATS server's is nats://host:4222"
            raise DagnatsError(f"{without_secrets(url)} is an address of HTTP", hint=hint)
        try:
            jetstream = await JetStream.connect(url, token=token, name=self._name, namespace=_checked(namespace or ""))
            try:
                await jetstream.ports.server.prepare()
            except BaseException:
                await jetstream.close()
                raise
        except UnavailableError as error:
            error.hint = error.hint or _HINT
            raise
        return AsyncClient(jetstream)


def _checked(namespace: str) -> str:
    try:
        return checked_namespace(namespace)
    except ValueError as error:
        raise DagnatsError(f"{namespace!r} cannot be a namespace: {error}") from None
