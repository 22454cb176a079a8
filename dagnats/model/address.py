"""Addresses of servers, as they may be shown."""

from __future__ import annotations

import re

HIDDEN = "***"
_USER = re.compile(r"(^|//|,)[^/,]*@")


def without_secrets(url: str) -> str:
    """A server's URL, or several with commas between, without users and passwords. It need not be a valid one."""
    return _USER.sub(rf"\g<1>{HIDDEN}@", url)
