"""One active trigger: its function runs, begins anew when it fails, and is cancelled when it is not wanted any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.handling.trigger_type import TriggerType
    from dagnats.model.trigger_type import TriggerEntry
    from dagnats.runtime.triggers.firing import Firing

log = logging.getLogger("dagnats.trigger")

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""What has run for so long is well again."""


class Activity:
    """A trigger that is active here.

    Args:
        config: What its function is given.
        told: Called with why it fails, and with "" when it does not any more.

    Attributes:
        trigger: What it is.
    """

    def __init__(
        self,
        trigger_type: TriggerType[Any],
        trigger: TriggerEntry,
        config: Any,
        firing: Firing,
        told: Callable[[str, str], None],
    ) -> None:
        self.trigger = trigger
        self._type = trigger_type
        self._config = config
        self._firing = firing
        self._told = told
        self._pause_s = _FIRST_PAUSE_S
        self._task = asyncio.create_task(self._run(), name=f"trigger: {trigger.id}")

    async def stop(self, grace_s: float) -> None:
        """Cancel it, and return when it has cleaned up, or is left alone after `grace_s`. It fires no more."""
        self._firing.close()
        self._task.cancel()
        _, left = await asyncio.wait([self._task], timeout=grace_s)
        if left:
            log.warning(
                "trigger %s (%s) did not end within %g s of being cancelled, and is left alone",
                self.trigger.id,
                self._type.source,
                grace_s,
            )

    async def _run(self) -> None:
        while (error := await self._fails()) is not None:
            if self._task.cancelling():  # it has failed to clean up
                log.warning("trigger %s (%s) failed at its end", self.trigger.id, self._type.source, exc_info=error)
                return
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            log.warning(
                "trigger %s (%s) failed, and begins anew in %g s",
                self.trigger.id,
                self._type.source,
                self._pause_s,
                exc_info=error,
            )
            self._told(self.trigger.id, why)
            pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)
        log.info("trigger %s (%s) has nothing more to watch", self.trigger.id, self._type.source)
        self._told(self.trigger.id, "")

    async def _fails(self) -> BaseException | None:
        """Let the function run; gives what it raised."""
        well = asyncio.get_running_loop().call_later(STEADY_S, self._recover)
        try:
            await self._type.function(self._config, self._firing)
        except asyncio.CancelledError as error:
            if self._task.cancelling():
                raise
            return error  # it has cancelled itself
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the user's code may raise anything
            return error
        finally:
            well.cancel()
        return None

    def _recover(self) -> None:
        self._pause_s = _FIRST_PAUSE_S
        self._told(self.trigger.id, "")
