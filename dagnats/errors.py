"""Every error DagNats raises, and the two orders a handler may raise.

    DagnatsError
    ├── DefinitionError    the author must change the workflow; carries every Problem
    ├── InputError         the value breaks the workflow's schema; carries every Problem
    │   └── ConfigurationError   the same of dagnats.yaml, the environment and flags
    ├── NotFoundError      kind and name
    ├── ConflictError      someone was first: reload and try again
    ├── DecodeError        bytes or facts that are not ours
    ├── RefusedError       NATS will never take this message as it is
    ├── FullError          the store has room only for the runs under way; nothing was stored
    ├── UnavailableError   NATS did not answer; safe to retry
    ├── ControlPlaneError  the control plane has not done what a handler asked it for; carries the kind
    │   ├── DeniedError            whoever asks may not
    │   ├── InvalidDefError        the definition cannot be registered
    │   ├── InvalidInputError      the input is none of the workflow's
    │   ├── NamespaceError         the name is another tree's, or nobody's to give
    │   ├── UnresolvableNameError  nothing is registered under the name
    │   ├── QuotaExceededError     wait until runs have ended
    │   ├── DepthExceededError     too many runs are above this one
    │   ├── RateLimitedError       wait a minute
    │   └── TransportError         no server has answered, or the request is too large
    ├── ResultTimeout      the run goes on; ask again
    └── RunError           the run ended, but not as hoped
        ├── RunFailed
        ├── RunCompensated
        └── RunCancelled

Raised by handlers, outside that tree: `Retry` and `Abort`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class DagnatsError(Exception):
    """The root of everything DagNats raises. `hint`, when set, is one sentence that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition.

    Attributes:
        path: Where, as a JSON path below the root `$`: `steps[2].retry.max_attempts`. "" for what is no part of a
            definition, such as a handler.
        rule: The stable slug of the broken rule: `unknown-step`. Programs compare this, never the message.
        message: What is wrong, the value, and what would be right.
        hint: A suggestion, such as a name that was probably meant.
        source: `file:line` of the Python line that said it, when a builder did.
    """

    path: str
    rule: str
    message: str
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        where = f" ({self.source})" if self.source else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{path}{self.message}{hint} [{self.rule}]{where}"


class DefinitionError(DagnatsError):
    """A workflow definition or a handler breaks rules; its author has to change it.

    Attributes:
        problems: All of them.
        name: The workflow's name, or "" when it cannot be read or no workflow is to blame.
        title: What is wrong as a whole, without the problems.
    """

    def __init__(self, problems: Sequence[Problem], *, name: str = "", title: str = "") -> None:
        self.problems = tuple(problems)
        self.name = name
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        who = f"workflow {name!r}" if name else "the workflow definition"
        self.title = title or f"{who} has {count}"
        super().__init__("\n".join([f"{self.title}:", *(f"  {problem}" for problem in self.problems)]))


class InputError(DagnatsError):
    """A value that somebody gave breaks the schema it is meant to follow; nothing was stored.

    Attributes:
        problems: All of them.
        title: What is wrong as a whole, without the problems.
    """

    def __init__(self, title: str, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{title}:", *(f"  {problem}" for problem in self.problems)]), hint=hint)


class ConfigurationError(InputError):
    """What `dagnats.yaml`, the environment and flags say together cannot be. Its problems name file and line."""


class NotFoundError(DagnatsError):
    """There is no such thing. `kind` says what was looked for (`run`, `workflow`, …), `name` which one."""

    def __init__(self, kind: str, name: str, *, near: Iterable[str] = (), hint: str = "") -> None:
        self.kind = kind
        self.name = name
        near = list(near)
        if near and not hint:
            hint = f"did you mean {' or '.join(repr(candidate) for candidate in near)}?"
        super().__init__(f"no {kind} {name!r}", hint=hint)


class ConflictError(DagnatsError):
    """Someone was first, or the thing is no longer in the state this call needs. Reload, then decide again."""


class DecodeError(DagnatsError):
    """These bytes are not what their subject promises. `data` holds them as they came."""

    def __init__(self, message: str, *, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class RefusedError(DagnatsError):
    """NATS refused this message for good: sending the same bytes again cannot succeed. `code` is NATS's own."""

    def __init__(self, message: str, *, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class FullError(DagnatsError):
    """The store is nearly full: what is left is for the runs under way. Nothing was stored; make room first."""


class UnavailableError(DagnatsError):
    """NATS did not answer, so the outcome is unknown. Everything that raises this may be called again."""


ControlPlaneKind = Literal[
    "denied",
    "invalid_def",
    "invalid_input",
    "namespace",
    "unresolvable_name",
    "quota_exceeded",
    "depth_exceeded",
    "rate_limited",
    "transport",
]


class ControlPlaneError(DagnatsError):
    """The control plane has not done what a handler asked it for. Each reason has a class of its own.

    Attributes:
        kind: The reason as a word, the same in every language.
    """

    kind: ClassVar[ControlPlaneKind]


class DeniedError(ControlPlaneError):
    """The attempt is over, its workflow is not granted it, or the request does not prove where it comes from."""

    kind = "denied"


class InvalidDefError(ControlPlaneError):
    """The definition is not valid, or has triggers."""

    kind = "invalid_def"


class InvalidInputError(ControlPlaneError):
    """The input does not fit the workflow's schema, or cannot be an input."""

    kind = "invalid_input"


class NamespaceError(ControlPlaneError):
    """A name belongs to another tree of runs, or is one that only the control plane gives."""

    kind = "namespace"


class UnresolvableNameError(ControlPlaneError):
    """No such workflow is registered."""

    kind = "unresolvable_name"


class QuotaExceededError(ControlPlaneError):
    """The tree of runs has all that it may have. It may have more when some of its runs have ended."""

    kind = "quota_exceeded"


class DepthExceededError(ControlPlaneError):
    """The run is too far below the first one."""

    kind = "depth_exceeded"


class RateLimitedError(ControlPlaneError):
    """The tree of runs registers too fast: the same may be granted in a minute."""

    kind = "rate_limited"


class TransportError(ControlPlaneError):
    """No server has answered for a minute, or the request is larger than a NATS message."""

    kind = "transport"


class ResultTimeout(DagnatsError):
    """The run had not ended when the wait was over. It goes on; ask again."""

    def __init__(self, run_id: str, timeout: timedelta) -> None:
        self.run_id = run_id
        super().__init__(
            f"run {run_id} did not end within {timeout.total_seconds():g} s",
            hint="it goes on: wait again, or see `dagnats run status`",
        )


class RunError(DagnatsError):
    """A run ended without completing.

    Attributes:
        run_id: Which run.
        step: The step that failed, or "" when no step is to blame (cancelled, run timeout).
        error: That step's error text, as its handler gave it.
    """

    outcome = "ended"

    def __init__(self, run_id: str, *, step: str = "", error: str = "") -> None:
        self.run_id = run_id
        self.step = step
        self.error = error
        at = f" at step {step!r}" if step else ""
        why = f": {error}" if error else ""
        super().__init__(f"run {run_id} {self.outcome}{at}{why}")


class RunFailed(RunError):
    """The run failed; a failed compensation (`compensate_failed`) counts as failed too."""

    outcome = "failed"


class RunCompensated(RunError):
    """A step failed and everything completed before it was undone."""

    outcome = "was compensated after a failure"


class RunCancelled(RunError):
    """Somebody cancelled the run."""

    outcome = "was cancelled"


class Retry(Exception):
    """Raised by a handler: try again after `after`, clamped to 100 ms … 1 h, whatever the step's backoff says.

    It uses the step's retry budget: without a retry policy, or when its retries are used up, the step fails.
    """

    def __init__(self, reason: str = "the handler asked for a retry", *, after: timedelta) -> None:
        super().__init__(reason)
        self.after = after


class Abort(Exception):
    """Raised by a handler: trying again cannot help. The step fails at once (`non_retriable`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
