"""The response to the HTTP request that started a run, as whoever waits for it hears it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from dagnats.model.event import Response


def response_document(response: Response) -> bytes:
    """`{status, headers, content_type, body}`; the body's bytes in base64."""
    said = {
        "status": response.status,
        "headers": response.headers,
        "content_type": response.content_type,
        "body": b64encode(_body(response)).decode(),
    }
    return msgspec.json.encode(said)


def _body(response: Response) -> bytes:
    """JSON as it is; of a text that is to be something else, the text itself."""
    body = bytes(response.body)
    if "json" in response.content_type or not body.lstrip().startswith(b'"'):
        return body
    return msgspec.json.decode(body, type=str).encode()
