"""`policy.control_plane`: which workflows may register and start others while they run, and how much of it."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from dagnats.config.scalar import Whole
from dagnats.model.identifier import NAME, near

_Workflow = Annotated[str, Field(pattern=NAME)]
_CONFIG = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Quotas(BaseModel):
    """What everything below one root run may have."""

    model_config = _CONFIG

    max_active_runs: Whole = Field(default=100, ge=1, le=100_000, description="Runs at a time.")
    max_registered_defs: Whole = Field(default=500, ge=1, le=100_000, description="Workflows that they register.")
    max_depth: Whole = Field(default=3, ge=1, le=8, description="How deep such workflows may start further ones.")
    registers_per_minute: Whole = Field(default=60, ge=1, le=100_000, description="Registrations.")


class ControlPlane(BaseModel):
    """Nobody is granted anything that is not named here."""

    model_config = _CONFIG

    grant: tuple[_Workflow, ...] = Field(
        default=(), max_length=500, description="The workflows whose steps may register and start others."
    )
    promote: tuple[_Workflow, ...] = Field(
        default=(), max_length=500, description="Those of them whose workflows outlive their run."
    )
    quotas: Quotas = Field(default=Quotas(), description="How much of it, below one root run.")


NOBODY = ControlPlane()
"""The policy of who has none."""


class Policy(BaseModel):
    """What workflows may do beyond their own run."""

    model_config = _CONFIG

    control_plane: ControlPlane = Field(default=NOBODY, description="Register and start other workflows.")


def policy_faults(control_plane: Any) -> list[tuple[int, str, str]]:
    """Names that may promote without a grant, as (index, message, hint)."""
    if not isinstance(control_plane, dict):
        return []
    section = cast("dict[str, Any]", control_plane)
    grant, promote = section.get("grant", ()), section.get("promote", ())
    if not isinstance(grant, list | tuple) or not isinstance(promote, list | tuple):
        return []
    granted = [str(name) for name in cast("list[Any]", grant)]
    faults: list[tuple[int, str, str]] = []
    for index, name in enumerate(cast("list[Any]", promote)):
        if name not in granted:
            meant = near(str(name), granted)
            hint = f"did you mean {meant[0]!r}?" if meant else "name it under grant, too"
            faults.append((index, f"workflow {name!r} may promote, but is granted nothing", hint))
    return faults
