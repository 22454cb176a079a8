"""The client over HTTP: what `AsyncClient` does, asked of a server's API.

Apart from the others, so that whoever speaks to NATS loads nothing of it.
"""

from dagnats.client.http.client import HttpClient as HttpClient
from dagnats.client.http.connect import connect_http as connect_http
from dagnats.client.http.run import HttpRun as HttpRun

__all__ = ["HttpClient", "HttpRun", "connect_http"]
