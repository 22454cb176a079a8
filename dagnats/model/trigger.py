"""Triggers: what starts runs of a workflow by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from dagnats.model.config import Cron, Timezone
from dagnats.model.identifier import GROUP
from dagnats.model.scalar import (
    MAX_COUNT,
    SPELT,
    ZERO,
    DotPath,
    Duration,
    HeaderName,
    JsonObject,
    Part,
    StepId,
    Subject,
    UrlPath,
    Within,
)

LONGEST_DEBOUNCE = timedelta(days=7)
KINDS = ("cron", "subject", "webhook", "http", "external")
_ONE_KIND: dict[str, Any] = {
    "oneOf": [{"required": [kind], "properties": {kind: {"type": "object"}}} for kind in KINDS],
}


class CronTrigger(Part, frozen=True):
    """Starts a run at every minute a cron expression matches."""

    expression: Cron = Field(description="Minute, hour, day of month, month, day of week: `0 9 * * 1-5`.")
    timezone: Timezone = Field(default="UTC", description="The IANA time zone of the expression.")
    backfill: bool = Field(default=False, description="Whether minutes that were missed are made up for.")


class SubjectTrigger(Part, frozen=True):
    """Starts a run for every message on a NATS subject."""

    subject: Subject = Field(description="A subject, with wildcards: `events.incoming.>`.")


class WebhookTrigger(Part, frozen=True):
    """Starts a run for every POST, and does not wait for it."""

    path: UrlPath = Field(description="Where it listens: `/hooks/deploy`.")
    secret: str = Field(
        default="", max_length=1024, description="Requests must be signed with this; empty: not signed."
    )


class Authentication(Part, frozen=True):
    """How callers authenticate, for the API's description. It is not enforced."""

    name: str = Field(description="The scheme's name in the description.")
    type: Literal["http", "apiKey", "oauth2", "openIdConnect"] = Field(description="Its kind.")
    scheme: str = Field(default="", description="For `http`: `bearer`, `basic`.")
    bearer_format: str = Field(default="", description="For `bearer`: `JWT`.")
    in_: Literal["", "query", "header", "cookie"] = Field(default="", alias="in", description="Where the key is.")
    header_name: str = Field(default="", description="For `apiKey`: the name of the header.")
    description: str = Field(default="", description="For people.")


class HttpTrigger(Part, frozen=True):
    """Starts a run for every request, and answers with what its `respond` step says."""

    path: UrlPath = Field(description="Where it listens: `/api/quote`.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(description="For which method.")
    timeout_ms: Annotated[int, SPELT] = Field(
        default=30_000, ge=1, le=MAX_COUNT, description="How long the caller waits, in milliseconds."
    )
    max_body_bytes: Annotated[int, SPELT] = Field(
        default=1_048_576, ge=1, le=MAX_COUNT, description="Longer bodies are refused."
    )
    secret: Annotated[str, StringConstraints(min_length=16, max_length=1024)] | None = Field(
        default=None, description="Requests must be signed with this; at least 16 characters."
    )
    idempotency_header: HeaderName | None = Field(
        default=None, description="Requests with the same value in this header start one run."
    )
    authentication: Authentication | None = Field(default=None, description="How callers authenticate.")


class ExternalTrigger(Part, frozen=True):
    """Starts runs by a trigger type that a worker provides."""

    kind: Annotated[str, StringConstraints(pattern=GROUP)] = Field(description="The trigger type.")
    config: JsonObject = Field(default={}, description="What the trigger type is told.")


class Debounce(Part, frozen=True):
    """Many firings within a while start one run."""

    period: Annotated[Duration, Within(most=LONGEST_DEBOUNCE)] = Field(
        description="A run starts when there was no firing for this long; at most 7 days."
    )
    timeout: Annotated[Duration, Within(least=ZERO, most=LONGEST_DEBOUNCE)] = Field(
        default=ZERO, description="A run starts after this long in any case; not shorter than `period`; 0 means never."
    )
    key: DotPath | None = Field(default=None, description="Dot path into the data: each of its values by itself.")


class Trigger(Part, frozen=True, json_schema_extra=_ONE_KIND):
    """What starts runs of the workflow. Exactly one of `cron`, `subject`, `webhook`, `http` and `external`."""

    id: StepId = Field(description="Unique among all triggers.")
    enabled: Annotated[bool, SPELT] = Field(default=True, description="Whether it starts runs.")
    cron: CronTrigger | None = Field(default=None, description="At times.")
    subject: SubjectTrigger | None = Field(default=None, description="On NATS messages.")
    webhook: WebhookTrigger | None = Field(default=None, description="On POSTs that nobody waits for.")
    http: HttpTrigger | None = Field(default=None, description="On requests that are answered.")
    external: ExternalTrigger | None = Field(default=None, description="By a worker's trigger type.")
    debounce: Debounce | None = Field(default=None, description="Many firings, one run; not with `cron`.")
