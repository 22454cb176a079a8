"""The description of the API, OpenAPI 3.1, made from the list of what it does."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic.json_schema import GenerateJsonSchema

import dagnats
from dagnats.client.document import Document
from dagnats.runtime.api.body import Body
from dagnats.runtime.api.operation import JSON, Operation
from dagnats.runtime.api.problem import ProblemDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

_REF = "#/components/schemas/{}"
_NAME = re.compile(r"\{(\w+)\}")


class ErrorDocument(Document, frozen=True, kw_only=True):
    """Why a request was not carried out. Programs compare `type`."""

    type: str
    title: str
    status: int
    detail: str
    problems: tuple[ProblemDocument, ...]


def description(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    answers = [each for operation in operations for each in (operation.answer, operation.streams) if each is not None]
    schemas, components = msgspec.json.schema_components([*answers, ErrorDocument], ref_template=_REF.format("{name}"))
    by_answer = dict(zip(map(repr, answers), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for path in operation.paths:
            told = _operation(operation, path, by_answer)
            paths.setdefault(path, {})[operation.method.lower()] = told
            components |= _parts(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DagNats",
            "version": dagnats.__version__,
            "summary": "Durable workflows: everything the command line does.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"token": []}, {"password": []}, {}],
    }


def _operation(operation: Operation, path: str, answers: dict[str, Any]) -> dict[str, Any]:
    names = _NAME.findall(path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ] + _query(operation)
    module = operation.work.__module__.rpartition(".")[2]
    old = "" if path.startswith("/v1/") else "old_"
    told: dict[str, Any] = {
        "operationId": f"{old}{module}_{operation.work.__name__}",
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        **({"x-dagnats-scope": operation.scope} if operation.scope is not None else {"security": []}),
        "parameters": parameters,
        **({"deprecated": True} if old else {}),
    }
    if operation.body is not None:
        told["requestBody"] = _body(operation)
    told["responses"] = {str(int(operation.status)): _success(operation, answers), "default": _failure()}
    if operation.streams is not None:
        told["responses"]["204"] = {"description": "The stream that is asked for again has ended."}
    return told


def _query(operation: Operation) -> list[dict[str, Any]]:
    schema = _schema_of(operation.query)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]


def _body(operation: Operation) -> dict[str, Any]:
    kind = operation.body
    assert kind is not None, "asked for operations with a body only"
    if not issubclass(kind, Body):
        return {"required": False, "content": {JSON: {"schema": {}}}}
    required = bool(_schema_of(kind).get("required"))
    return {"required": required, "content": {JSON: {"schema": {"$ref": _REF.format(kind.__name__)}}}}


def _success(operation: Operation, answers: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer is not None:
        content[JSON] = {"schema": answers[repr(operation.answer)]}
    if operation.streams is not None:
        content["text/event-stream"] = {
            "schema": {"type": "string"},
            "x-dagnats-data": answers[repr(operation.streams)],
        }
    return {"description": HTTPStatus(operation.status).phrase, "content": content}


def _failure() -> dict[str, Any]:
    schema = {"$ref": _REF.format(ErrorDocument.__name__)}
    return {"description": "It was not carried out.", "content": {"application/problem+json": {"schema": schema}}}


def _parts(operation: Operation) -> dict[str, Any]:
    """The components of a body: itself; its members need none."""
    kind = operation.body
    if kind is None or not issubclass(kind, Body):
        return {}
    return {kind.__name__: _schema_of(kind)}


class _Schema(GenerateJsonSchema):
    """Takes payloads for what they are: any JSON."""

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012  # as it is in its parent

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return {}


def _schema_of(kind: type[Body]) -> dict[str, Any]:
    return kind.model_json_schema(schema_generator=_Schema)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>DagNats API</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .8rem .2rem 0 }
code { font-size: .9em }
</style>
<h1>DagNats API</h1>
<p>Machines read <a href="/openapi.json">/openapi.json</a>.</p>
<table><tr><th>Method<th>Path<th>Scope<th>What it does</tr>
ROWS
</table>
</html>
"""


def page(operations: Sequence[Operation]) -> str:
    """The list for people."""
    rows = (
        f"<tr><td>{each.method}<td><code>{each.paths[0]}</code><td>{each.wants}<td>{each.summary}</tr>"
        for each in operations
        if not each.older
    )
    return PAGE.replace("ROWS", "\n".join(rows))
