"""The policy that is in force, which may become another one while a server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.config.policy import ControlPlane, Quotas


class Charter:
    """A `ControlPlane` for whoever asks it anew each time. As a container it has the workflows that are granted it."""

    def __init__(self, policy: ControlPlane) -> None:
        self._policy = policy

    def replace(self, policy: ControlPlane) -> None:
        """Let another policy be in force from now on, as a whole."""
        self._policy = policy

    def __contains__(self, workflow: object) -> bool:
        return workflow in self._policy.grant

    @property
    def grant(self) -> tuple[str, ...]:
        return self._policy.grant

    @property
    def promote(self) -> tuple[str, ...]:
        return self._policy.promote

    @property
    def quotas(self) -> Quotas:
        return self._policy.quotas
