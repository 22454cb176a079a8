"""The syrupy extension that pins a workflow's JSON: one file a snapshot, compared byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension

from dagnats.dsl.workflow import Workflow
from dagnats.model.definition import WorkflowDef

if TYPE_CHECKING:
    from collections.abc import Iterator


class CompiledJson(SingleFileSnapshotExtension):
    """Pins what `dagnats build` writes: `assert wf == snapshot(extension_class=CompiledJson)`.

    A workflow and its definition are compiled; bytes, such as `wf.to_json("go")`, are taken as they are.
    """

    file_extension = "json"

    def serialize(self, data: Any, **_: Any) -> bytes:
        """The exact bytes of the snapshot.

        Raises:
            DefinitionError: The workflow is not valid.
            TypeError: `data` is something else.
        """
        if isinstance(data, Workflow | WorkflowDef):
            return data.to_json()
        if isinstance(data, bytes):
            return data
        raise TypeError(f"a workflow, a definition or bytes are expected, not {data!r}")

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Iterator[str]:
        """The difference in lines of text: bytes would be one long line."""
        return super().diff_lines(*(data.decode(errors="replace") for data in (serialized_data, snapshot_data)))
