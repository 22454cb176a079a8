"""How payloads become Python values and back: one codec per type.

Types made of msgspec Structs go through msgspec, everything else through pydantic (models, dataclasses,
TypedDicts, builtins). Top-level `bytes` is base64, and top-level `msgspec.Raw` the JSON itself.
"""

from __future__ import annotations

import base64
import functools
import math
import types
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Union, cast, get_args, get_origin

import msgspec
from msgspec.inspect import CustomType
from pydantic import (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from dagnats.handling.schema import BASE64, Direction, Schema, pydantic_schema, struct_schema, types_in

if TYPE_CHECKING:
    from collections.abc import Iterator


class CodecError(Exception):
    """A payload does not fit its type; the text names every place that does not."""


class UnsupportedType(Exception):
    """No codec can carry this type."""


class Codec(Protocol):
    """Reads and writes values of one type."""

    def decode(self, data: bytes) -> Any:
        """The value in `data` (JSON; empty reads as null). Raises CodecError."""
        ...

    def encode(self, value: Any) -> bytes:
        """`value` as JSON. Raises CodecError when it is not of the codec's type."""
        ...

    def schema(self, direction: Direction) -> Schema:
        """What can be read, or what is written; always the same object."""
        ...


def codec_for(declared: Any) -> Codec:
    """The codec of a type annotation.

    Raises:
        UnsupportedType: The type mixes msgspec and pydantic classes, or neither library can carry it.
    """
    return _class_codec(declared) if isinstance(declared, type) and not get_args(declared) else _codec(declared)


def _codec(declared: Any) -> Codec:
    if declared is bytes:
        return _Bytes()
    if declared is msgspec.Raw:
        return _Raw()
    classes = set(_classes(declared))
    structs = {found for found in classes if issubclass(found, msgspec.Struct)}
    if structs:
        others = {found for found in classes if hasattr(found, "__pydantic_core_schema__")}
        if others:
            names = sorted(found.__name__ for found in structs | others)
            raise UnsupportedType(f"{type_name(declared)} mixes msgspec and pydantic types ({', '.join(names)})")
        return _Msgspec(declared)
    return _Pydantic(declared)


_class_codec = functools.lru_cache(maxsize=1024)(_codec)
"""Classes are what handlers share: one codec for each, one schema, one comparison of two."""


def type_name(declared: Any) -> str:
    """A type as its author wrote it, near enough: `Order`, `list[Order]`, `str | None`."""
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is None or declared is type(None):
        return "None"
    if declared is ...:
        return "..."
    if origin is Annotated:
        return type_name(arguments[0])
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_name, arguments))
    if origin is not None and origin is not Literal:
        return f"{type_name(origin)}[{', '.join(map(type_name, arguments))}]"
    if isinstance(declared, list):
        return f"[{', '.join(map(type_name, cast('list[Any]', declared)))}]"
    if isinstance(declared, type):
        return declared.__qualname__.rpartition("<locals>.")[2]
    return str(declared).replace("typing.", "")


def _classes(declared: Any) -> Iterator[type]:
    """Every class named in a type annotation."""
    named = get_origin(declared) or declared
    if isinstance(named, type):
        yield named
    for argument in get_args(declared):
        yield from _classes(argument)


class _Described(ABC):
    """Makes each schema once: comparing types over thousands of edges goes by identity."""

    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._schemas: dict[Direction, Schema] = {}

    def schema(self, direction: Direction) -> Schema:
        if direction not in self._schemas:
            self._schemas[direction] = self._schema(direction)
        return self._schemas[direction]

    @abstractmethod
    def _schema(self, direction: Direction) -> Schema: ...


class _Pydantic(_Described):
    def __init__(self, declared: Any) -> None:
        super().__init__(declared)
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(declared)
            self._adapter.rebuild()  # models may put it off; a name that is missing shows only here
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UnsupportedType(f"{type_name(declared)} cannot be carried as JSON: {reason}") from None
        self._is_plain = _is_plain(declared)
        # The adapter's own methods do no more than pass all their options on, which takes longer than most values do.
        self._validator, self._serializer = self._adapter.validator, self._adapter.serializer

    def decode(self, data: bytes) -> Any:
        try:
            return self._validator.validate_json(data or b"null")
        except ValidationError as error:
            raise CodecError(_listed(error)) from None

    def encode(self, value: Any) -> bytes:
        try:
            if self._is_plain and self._validator.isinstance_python(value, strict=True):
                data = self._serializer.to_json(value)  # nothing to warn of; asking for that costs ten times as much
            else:
                # Both are needed: pydantic writes None and lacking keys without a word, and reads a dict for a model.
                self._validator.validate_python(value)
                data = self._serializer.to_json(value, by_alias=True, warnings="error")
        except ValidationError as error:
            raise _misfit(value, self._declared, _listed(error)) from None
        except (PydanticSerializationError, ValueError) as error:
            raise _misfit(value, self._declared, str(error).splitlines()[-1].strip()) from None
        if b"null" in data:
            _refuse_nan(self._adapter.dump_python(value))
        return data

    def _schema(self, direction: Direction) -> Schema:
        return pydantic_schema(self._adapter, direction)


_PLAIN = (str, int, float, bool, None, types.NoneType)


def _is_plain(declared: Any) -> bool:
    """Whether a type is made of nothing but JSON's own: a value that is exactly of it cannot be written otherwise."""
    if get_origin(declared) in (Union, types.UnionType, list, dict, tuple):
        return all(argument is ... or _is_plain(argument) for argument in get_args(declared))
    return any(declared is plain for plain in _PLAIN)


def _misfit(value: object, declared: Any, why: str) -> CodecError:
    return CodecError(f"got {type_name(type(value))}, which does not fit {type_name(declared)}: {why}")


def _refuse_nan(plain: Any) -> None:
    """JSON has no NaN and no infinities, and both libraries write null in their place."""
    waiting: list[Any] = [plain]
    for value in waiting:  # grows while it is read
        if isinstance(value, float) and not math.isfinite(value):
            raise CodecError(f"{value} cannot be written as JSON")
        if isinstance(value, dict):
            waiting += cast("dict[Any, Any]", value).values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += cast("list[Any]", value)


def _listed(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(str(part) for part in detail['loc']) or '$'}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(problems)


class _Msgspec(_Described):
    def __init__(self, declared: Any) -> None:
        super().__init__(declared)
        self._encoder = msgspec.json.Encoder()
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(declared)
        except (TypeError, NameError) as error:
            raise UnsupportedType(f"{type_name(declared)} cannot be carried as JSON: {error}") from None
        foreign = sorted(_foreign_classes(declared))
        if foreign:
            raise UnsupportedType(
                f"{type_name(declared)} cannot be carried as JSON: msgspec cannot read {', '.join(foreign)}"
            )

    def decode(self, data: bytes) -> Any:
        try:
            return self._decoder.decode(data or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CodecError(str(error)) from None

    def encode(self, value: Any) -> bytes:
        try:
            data = self._encoder.encode(value)
            self._decoder.decode(data)  # msgspec writes whatever it gets; reading it back is the type check
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise _misfit(value, self._declared, str(error)) from None
        if b"null" in data:
            _refuse_nan(msgspec.to_builtins(value))
        return data

    def _schema(self, direction: Direction) -> Schema:
        return struct_schema(self._declared, direction)


def _foreign_classes(declared: Any) -> set[str]:
    """The classes in a Struct's fields that msgspec takes for granted, and then cannot read."""
    return {type_name(part.cls) for part in types_in(declared) if isinstance(part, CustomType)}


class _Bytes:
    """Standard base64 in a JSON string; the URL-safe alphabet is read too."""

    def decode(self, data: bytes) -> bytes:
        try:
            text = msgspec.json.decode(data or b"null", type=str)
            return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except (msgspec.DecodeError, ValueError) as error:
            raise CodecError(f"not base64 in a JSON string: {error}") from None

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise CodecError(f"got {type_name(cast('type[object]', type(value)))}, which is not bytes")
        return b'"' + base64.b64encode(value) + b'"'

    def schema(self, direction: Direction) -> Schema:
        return BASE64


_syntax = msgspec.json.Decoder(msgspec.Raw)


class _Raw:
    """JSON as it is, for those who hand it on: nothing reads it, so nothing changes it."""

    def decode(self, data: bytes) -> msgspec.Raw:
        return msgspec.Raw(data or b"null")

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, msgspec.Raw):
            raise CodecError(f"got {type_name(cast('type[object]', type(value)))}, which is not msgspec.Raw")
        data = bytes(value) or b"null"
        try:
            _syntax.decode(data)
            data.decode()  # which msgspec does not look at in what it skips
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(f"got msgspec.Raw that is no JSON: {error}") from None
        return data

    def schema(self, direction: Direction) -> Schema:
        return _ANY


_ANY: Schema = {}
