"""`access`: who is let in over HTTP with a password, or on the word of a proxy. Tokens are made by command."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from dagnats.config.scalar import Place
from dagnats.model.access import PATTERN, Scope

_CONFIG = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("it is no address and no network; such are '10.0.0.7' and '10.0.0.0/8'") from None


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Pattern = Annotated[str, Field(pattern=PATTERN)]
_Patterns = Annotated[tuple[_Pattern, ...], BeforeValidator(_one_or_more), Field(max_length=64)]
_Network = Annotated[str, AfterValidator(_network)]
_User = Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]{1,128}$")]
_LIMITED = "Patterns of the workflows that it is limited to: `order-*`. Without it, all."


class Person(BaseModel):
    """Somebody who signs in with a password."""

    model_config = _CONFIG

    password: SecretStr = Field(default=SecretStr(""), description="The password.")
    password_file: Place = Field(default="", description="The file that holds it.")
    scope: Scope = Field(default="read", description="`read`, `run`, `operate` or `admin`.")
    workflows: _Patterns = Field(default=(), description=_LIMITED)


class Forward(BaseModel):
    """A proxy in front that has asked who somebody is."""

    model_config = _CONFIG

    proxies: Annotated[tuple[_Network, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=64)] = Field(
        description="Addresses and networks of the proxies. What others say in the header counts for nothing."
    )
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = Field(
        default="X-Forwarded-User", description="The header in which they say who it is."
    )
    scope: Scope = Field(default="read", description="What everybody may do whom they name.")
    users: dict[_User, Scope] = Field(
        default={}, max_length=1_000, description="Who may do something else: `ann: admin`."
    )
    workflows: _Patterns = Field(default=(), description=_LIMITED)


class AccessSettings(BaseModel):
    """Who is let in over HTTP, besides those with a token."""

    model_config = _CONFIG

    basic: dict[_User, Person] = Field(
        default={}, max_length=1_000, description="Who signs in with a password, by name."
    )
    forward: Forward | None = Field(default=None, description="A proxy whose word counts.")


def access_faults(section: Any) -> list[tuple[str, str]]:
    """Users without a password, or with two, as (name, message)."""
    users: Any = cast("dict[str, Any]", section).get("basic") if isinstance(section, dict) else None
    faults: list[tuple[str, str]] = []
    for name, said in cast("dict[str, Any]", users).items() if isinstance(users, dict) else ():
        values = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        given = [key for key in ("password", "password_file") if values.get(key)]
        if len(given) != 1:
            what = "neither 'password' nor 'password_file'" if not given else "both 'password' and 'password_file'"
            faults.append((name, f"user {name!r} has {what}; one of them counts"))
    return faults
