"""Addresses of servers, as they may be shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

HIDDEN = "***"
_USER = re.compile(r"(^|//|,)[^/,]*@")


def without_secrets(url: str) -> str:
    """A server's URL, or several with commas between, without users and passwords. It need not be a valid one."""
    return _USER.sub(rf"\g<1>{HIDDEN}@", url)


def is_http(url: str) -> bool:
    """Whether a URL is one of HTTP, with a host in it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no port
        return False


def is_loopback(host: str) -> bool:
    """Whether a host, as an address has it, is this machine and nothing else."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
