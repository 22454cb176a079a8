"""`@trigger_type`: which functions can be one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from dagnats import ConflictError, DefinitionError, Fire, Worker, trigger_type
from dagnats.client import AsyncClient
from dagnats.runtime.memory.server import MemoryServer


class Model(BaseModel):
    folder: str


class Struct(msgspec.Struct):
    folder: str


@dataclass
class Data:
    folder: str


async def watch(config: Any, fire: Fire) -> None:
    """Nothing."""


class Watcher:
    async def watch(self, config: Any, fire: Fire) -> None:
        """Nothing."""


@pytest.mark.parametrize("config", [Model, Struct, Data])
def test_the_configuration_is_read_into_its_type_and_described(config: type[Any]) -> None:
    made = trigger_type("files", version="1", config=config)(watch)
    assert made.config_codec.decode(b'{"folder": "/in"}') == config(folder="/in")
    assert "'required': ['folder']" in str(made.config_schema)


def test_a_method_of_an_object_can_be_one() -> None:
    made = trigger_type("files", version="1", config=dict[str, Any])(Watcher().watch)
    assert repr(made).startswith("<trigger type 'files' at ")


async def test_calling_it_calls_the_function() -> None:
    seen: list[Any] = []

    @trigger_type("files", version="1", config=dict[str, Any])
    async def files(config: dict[str, Any], fire: Any) -> None:
        seen.append((config, fire))

    fire: Any = object()
    await files({"a": 1}, fire)
    assert seen == [({"a": 1}, fire)]


def plain(config: Any, fire: Fire) -> None:
    """Not async."""


async def lonely(config: Any) -> None:
    """Without fire."""


@pytest.mark.parametrize(
    ("name", "version", "config", "function", "complaint"),
    [
        ("a.b", "1", dict[str, Any], watch, "its name is not valid"),
        ("files", "", dict[str, Any], watch, "its version is ''; it is text, such as '1'"),
        ("files", 1, dict[str, Any], watch, "its version is 1"),
        ("files", "1", dict[str, Any], plain, "plain is no `async def` function: it would hold up its worker"),
        ("files", "1", dict[str, Any], lonely, "lonely takes (config: 'Any') -> 'None'; write it as (config, fire)"),
        ("files", "1", object(), watch, "the type of its configuration"),
    ],
)
def test_what_cannot_be_one_is_refused(name: Any, version: Any, config: Any, function: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        trigger_type(name, version=version, config=config)(function)
    assert complaint in str(refused.value)


async def test_a_worker_takes_a_list_of_them_with_different_names() -> None:
    client = AsyncClient(MemoryServer().connect())
    one = trigger_type("files", version="1", config=dict[str, Any])(watch)
    other = trigger_type("files", version="1", config=dict[str, Any])(Watcher().watch)
    assert Worker(client, [], trigger_types=[one]).trigger_types == ("files",)
    with pytest.raises(ConflictError, match="two trigger types are called 'files'"):
        Worker(client, [], trigger_types=[one, other])
    untyped: Any = Worker
    with pytest.raises(TypeError, match=r"decorate it with @trigger_type"):
        untyped(client, [], trigger_types=[watch])
    with pytest.raises(TypeError, match="is a list of them, not one"):
        untyped(client, [], trigger_types=one)
