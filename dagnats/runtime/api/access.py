"""What lets callers in, and what they may do then. Whoever has nothing is let in on this machine only."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.model.access import SCOPES, Scope, allows, fits
from dagnats.runtime.api.problem import Fault

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from dagnats.config.access import Person as PersonSettings
    from dagnats.config.settings import Settings
    from dagnats.runtime.waitpoint import Place

    Network = IPv4Network | IPv6Network

REALM = 'realm="dagnats"'


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in with a password.

    Attributes:
        password: It.
        scope: What they may do.
        workflows: Patterns of the workflows that they are limited to; none for no limit.
    """

    password: str = field(repr=False)
    scope: Scope
    workflows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """A proxy in front of us that has asked who somebody is.

    Attributes:
        proxies: From where such requests come: what others say in that header counts for nothing.
        header: Where the proxy says who it is.
        scope: What whoever it names may do.
        users: Those who may do something else.
        workflows: Patterns of the workflows that they are all limited to; none for no limit.
    """

    proxies: tuple[Network, ...]
    header: str
    scope: Scope
    users: Mapping[str, Scope] = field(default_factory=dict[str, Scope])
    workflows: tuple[str, ...] = ()

    def trusts(self, address: str) -> bool:
        """Whether an address is a proxy's."""
        try:
            known = ipaddress.ip_address(address)
        except ValueError:  # a caller without an address
            return False
        known = getattr(known, "ipv4_mapped", None) or known
        return any(known in network for network in self.proxies)


@dataclass(frozen=True, slots=True)
class Access:
    """What lets callers in; any of it does.

    Attributes:
        token: One token for everything; "" for none.
        tokens: Whether tokens are wanted that were made with `dagnats token create`.
        basic: Who signs in with a password, by name.
        forward: The proxy whose word counts.
        insecure: Whether everybody is let in, wherever from.
    """

    token: str = field(default="", repr=False)
    tokens: bool = False
    basic: Mapping[str, Person] = field(default_factory=dict[str, Person])
    forward: Forward | None = None
    insecure: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing is wanted of a caller."""
        return not (self.token or self.tokens or self.basic or self.forward)

    @property
    def challenge(self) -> str:
        """What a caller has to bring, as the header `WWW-Authenticate` says it."""
        wanted = [f"Bearer {REALM}"] if self.token or self.tokens or not self.basic else []
        return ", ".join([*wanted, *([f'Basic {REALM}, charset="UTF-8"'] if self.basic else [])])


OPEN = Access()
"""Nothing is wanted: this machine is let in."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do: the guard leaves it in the request's scope.

    Attributes:
        scope: This, and what is before it.
        actor: Who it is, as it has proved; "" for whoever uses this machine.
        workflows: Patterns of the workflows that it is limited to; none for no limit.
        held: The wait whose token it has shown, and nothing else.
    """

    scope: Scope = SCOPES[-1]
    actor: str = ""
    workflows: tuple[str, ...] = ()
    held: Place | None = None

    def expect(self, scope: Scope) -> None:
        """Raise Fault 403 unless it may do what takes `scope`."""
        if allows(self.scope, scope):
            return
        challenge = f'Bearer {REALM}, error="insufficient_scope", scope="{scope}"'
        why = f"this takes the scope {scope!r}, and {self._who} has {self.scope!r}"
        raise Fault(403, "forbidden", why, headers={"WWW-Authenticate": challenge})

    def expect_workflow(self, name: str) -> None:
        """Raise Fault 403 unless it may do things with a workflow."""
        if not self.sees(name):
            raise Fault(403, "forbidden", f"{self._limited}, and workflow {name!r} is none of these")

    def expect_unlimited(self) -> None:
        """Raise Fault 403 unless it may do things with all workflows."""
        if self.workflows:
            raise Fault(403, "forbidden", f"{self._limited}, and this concerns all workflows")

    def sees(self, name: str) -> bool:
        """Whether it may know of a workflow."""
        return not self.workflows or fits(name, self.workflows)

    def signed(self, by: str) -> str:
        """Who does something, as histories say it: whoever a caller says that it is, and who it proved to be."""
        if not by or not self.actor or by == self.actor.partition(" ")[2]:
            return self.actor or by
        return f"{by} ({self.actor})"

    @property
    def _who(self) -> str:
        return self.actor or "the caller"

    @property
    def _limited(self) -> str:
        return f"{self._who} is limited to the workflows {', '.join(self.workflows)}"


def access_of(settings: Settings, *, token: str = "", insecure: bool = False) -> Access:
    """What a configuration lets in. Raises DagnatsError when a password cannot be read."""
    said = settings.access
    basic = {
        name: Person(_password(name, person), person.scope, person.workflows) for name, person in said.basic.items()
    }
    forward = said.forward
    return Access(
        token=token,
        tokens=settings.http_tokens,
        basic=basic,
        forward=Forward(
            tuple(map(ipaddress.ip_network, forward.proxies)),
            forward.header,
            forward.scope,
            forward.users,
            forward.workflows,
        )
        if forward is not None
        else None,
        insecure=insecure,
    )


def _password(name: str, person: PersonSettings) -> str:
    if not person.password_file:
        return person.password.get_secret_value()
    try:
        password = Path(person.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DagnatsError(f"the password of {name!r} cannot be read from {person.password_file!r}: {why}") from None
    if not password:
        raise DagnatsError(f"{person.password_file!r} is empty: {name!r} would need no password")
    return password
