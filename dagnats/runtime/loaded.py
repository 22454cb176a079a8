"""What a server says of its configuration, and how it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from dagnats.runtime.ports import Inquiries

LOADED = "server.configuration"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A `Problem`, as it travels."""

    path: str
    rule: str
    message: str
    hint: str
    source: str


class Loaded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server says of its configuration.

    Attributes:
        host: Its machine.
        pid: Its process.
        file: Where it is from; "" where there is no file.
        loaded_at: When what is in force was read.
        refused_at: When a newer one was refused; "" while what is in force is the newest.
        problems: What is wrong with that one.
        restart: Keys that have another value by now, which counts from the next start.
    """

    host: str
    pid: int
    file: str
    loaded_at: str
    refused_at: str = ""
    problems: tuple[Fault, ...] = ()
    restart: tuple[str, ...] = ()


async def ask_loaded(inquiries: Inquiries) -> Loaded | None:
    """What a server has loaded; None when no one says."""
    data = await inquiries.ask(LOADED, b"{}")
    return msgspec.json.decode(data, type=Loaded) if data is not None else None
