"""The step that answers the HTTP request that started a run: `wf.respond`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dagnats.dsl.builder import Builder
from dagnats.dsl.said import given, text_map
from dagnats.dsl.step import Step


class RespondStep(Step[Any, Any]):
    """An answer; the run goes on after it."""

    type: ClassVar[str] = "respond"


class RespondBuilder(Builder):
    """Adds steps of type `respond`."""

    def respond(
        self,
        step_id: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body_from: str | None = None,
        content_type: str | None = None,
    ) -> RespondStep:
        """Add an answer to the HTTP request that started the run.

        Args:
            step_id: The step's id.
            status: The status code; 200 unless said.
            headers: Response headers.
            body_from: Dot path into the step's input; without it, the whole input is the body.
            content_type: The body's media type; `application/json` unless said.
        """
        texts = None if headers is None else text_map(headers, {})
        config = given(status=status, headers=texts, body_from=body_from, content_type=content_type)
        return self._add(RespondStep(self, step_id)._set("config", config))
