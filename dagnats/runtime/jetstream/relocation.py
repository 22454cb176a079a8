"""A stream's image put back in another namespace: there its messages have other subjects.

The server changes subjects as it mirrors a stream, and a mirror has the same sequences and times. So the image becomes
a copy under a name of its own, the stream a mirror of that, and then a stream like all others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dagnats.errors import RefusedError, UnavailableError
from dagnats.runtime.jetstream.image import put_back
from dagnats.runtime.jetstream.namespace import full_stream, full_subject
from dagnats.runtime.jetstream.read import state_of
from dagnats.runtime.jetstream.resources import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagnats.runtime.jetstream.link import Link

_COPY = "DAGNATS_RESTORE_COPY"
_LOOK_S = 0.05
_PATIENCE_S = 30.0
"""A mirror that has got nothing for so long gets no more."""

# A mirror takes nothing from clients, and has to keep all that it is given until it is one no more.
_NOT_OF_A_MIRROR = ("subjects", "republish", "duplicate_window", "metadata", "allow_atomic", "allow_msg_schedules")
_KEEPING_ALL = {"max_age": 0, "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1}


async def put_back_from(
    link: Link, origin: str, name: str, config: dict[str, Any], state: Mapping[str, Any], pieces: Iterable[bytes]
) -> None:
    """Make a stream of the image of one of namespace `origin`.

    Raises:
        RefusedError: There is a stream of that name, or the server cannot have one like that.
        UnavailableError: The connection was lost, or the server fell silent.
    """
    await forget_copy(link)
    if not state["messages"]:
        await link.api(f"STREAM.CREATE.{name}", {**config, "first_seq": state["last_seq"] + 1})
        return
    copy = {"name": _COPY, "subjects": ["dagnats.restore.copy"], "num_replicas": config.get("num_replicas", 1)}
    await put_back(link, _COPY, {**copy, "storage": "file"}, dict(state), pieces)
    await link.api(f"STREAM.CREATE.{name}", _mirror(config, origin, link.namespace))
    # Not what the image should have: where a message was replaced as it was made, it may have neither.
    await _have(link, name, (await state_of(link, _COPY))["messages"])
    await link.api(f"STREAM.UPDATE.{name}", config)
    await forget_copy(link)


async def forget_copy(link: Link) -> None:
    """Remove what is left of one that was broken off."""
    try:
        await link.api(f"STREAM.DELETE.{_COPY}")
    except RefusedError as error:
        if error.code != NOT_FOUND:
            raise


def _mirror(config: Mapping[str, Any], origin: str, namespace: str) -> dict[str, Any]:
    transforms = [
        {"src": full_subject(origin, subject), "dest": full_subject(namespace, subject)}
        for subject in config["subjects"]
    ]
    mirror = {"name": full_stream(namespace, _COPY), "subject_transforms": transforms}
    kept = {key: value for key, value in config.items() if key not in _NOT_OF_A_MIRROR}
    return {**kept, **_KEEPING_ALL, "mirror": mirror}


async def _have(link: Link, name: str, messages: int) -> None:
    """Wait until a mirror has as many messages."""
    had, waited_s = -1, 0.0
    while (has := (await state_of(link, name))["messages"]) < messages:
        waited_s = 0.0 if has > had else waited_s + _LOOK_S
        if waited_s > _PATIENCE_S:
            raise UnavailableError(f"NATS has copied {has} of {messages} messages of {link.full_name(name)}")
        had = has
        await asyncio.sleep(_LOOK_S)
