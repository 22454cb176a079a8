"""What names may look like. All of them become NATS subject tokens and key parts, so the rules are NATS's."""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"
"""Workflow names and step ids, as people write them."""

SCOPED = rf"^(agent\.[A-Za-z0-9-][A-Za-z0-9_-]{{0,127}}|promoted)\.{NAME[1:]}"
"""Names of workflows that runs have registered: `agent.<root run>.<name>`, which leave with that run, and
`promoted.<name>`, which stay."""

TASK_TYPE = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
"""Task types: tokens joined by single dots; at most `TASK_TYPE_LENGTH` characters."""

TASK_TYPE_LENGTH = 128

GROUP = r"^[A-Za-z0-9_-]{1,64}$"
"""Worker groups: one subject token."""

_KEY = r"(\\[.\\]|[^.\\])+"

DOT_PATH = rf"^{_KEY}(\.{_KEY})*$"
"""Dot paths into a JSON value: keys and array indexes, joined by dots. A backslash escapes a dot or a backslash."""

_TOKEN = r"[!-)+,/-=?-~-]+"  # printable ASCII without the dot and the wildcards

EVENT = rf"^{_TOKEN}(\.{_TOKEN})*$"
"""Event types and literal subjects: what NATS can publish to."""

SUBJECT = rf"^(({_TOKEN}|\*)(\.({_TOKEN}|\*))*(\.>)?|>)$"
"""Subjects with wildcards: what NATS can subscribe to."""

URL_PATH = r'^/[!-"$-)+->@-~]*$'
"""Paths of webhooks and HTTP triggers: no query, no fragment, no wildcard."""

HEADER = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
"""Names of HTTP headers."""

REFERENCE = rf"^(input|step\.(?P<step>[A-Za-z0-9][A-Za-z0-9_-]{{0,127}})\.output)\.{_KEY}(\.{_KEY})*$"
"""What an event is compared with: a dot path into the run's input or into a step's output."""

_WORKFLOW = re.compile(rf"{NAME}|{SCOPED}")
_RUN_ID = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,127}")


@functools.lru_cache(maxsize=16_384)  # each event asks, and a run has many
def is_run_id(text: str) -> bool:
    """Whether `text` can name a run: one subject token that is not reserved. DagNats makes 32 lower-case hex digits."""
    return _RUN_ID.fullmatch(text) is not None


def is_workflow_name(text: str) -> bool:
    """Whether `text` can name a registered workflow: one that people have written, or one that a run has."""
    return _WORKFLOW.fullmatch(text) is not None


def is_scoped(name: str) -> bool:
    """Whether a run has registered a workflow of this name."""
    return "." in name


def root_of(name: str) -> str:
    """The run that a workflow leaves with: of `agent.<root>.<name>`; "" for one that stays."""
    space, _, rest = name.partition(".")
    return rest.partition(".")[0] if space == "agent" else ""


def name_token(name: str) -> str:
    """A workflow's name as one subject token, and back: where the dots of a scoped name would be others."""
    return name.replace(".", "/") if "." in name else name.replace("/", ".")


def is_reserved(text: str) -> bool:
    """Whether a history by this name is no run's, but DagNats's own: `_ops.retention`."""
    return text.startswith("_")


def worker_token(worker_id: str) -> str:
    """A worker's name as one subject token. A name that has to be changed gets a hash, so that two cannot meet."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", worker_id)
    if plain == worker_id and worker_id:
        return worker_id
    return f"{plain}-{hashlib.sha256(worker_id.encode(errors='surrogatepass')).hexdigest()[:16]}"


def near(name: str, known: Iterable[str]) -> list[str]:
    """The names in `known` that `name` was probably meant to be, best first, at most two.

    Similar spellings, then names that `name` is the beginning of.
    """
    names = list(known)
    similar = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    longer = sorted(other for other in names if len(name) >= 3 and other.startswith(name) and other not in similar)
    return [*similar, *longer][:2]
