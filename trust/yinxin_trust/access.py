"""Who may call, and as what.

A principal is a name in a certificate's URI SAN; what it may do is in the
region's records alone, so it can be withdrawn at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yinxin_proto.error import FailedPreconditionError, PermissionDeniedError


class Role(StrEnum):
    """What a principal may be (design section 10)."""

    ISSUER = "issuer"
    VERIFIER = "verifier"
    REGISTRAR = "registrar"
    SEAL_MANAGER = "seal-manager"
    KEY_OPERATOR = "key-operator"
    AUDITOR = "auditor"
    SYSTEM_ADMINISTRATOR = "system-administrator"
    SECURITY_ADMINISTRATOR = "security-administrator"
    PEER_REGION = "peer-region"
    HOLDER = "holder"


EXCLUSIVE: Final = frozenset(
    {
        Role.SYSTEM_ADMINISTRATOR,
        Role.SECURITY_ADMINISTRATOR,
        Role.AUDITOR,
        Role.KEY_OPERATOR,
    }
)
"""No principal may have two of these: whoever acts is not whoever checks."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as the region's records have it."""

    principal_id: str
    display_name: str
    authority_code: str | None
    """The authority it acts for; an issuer acts for exactly one."""
    roles: frozenset[Role]
    enabled: bool

    def require(self, *accepted: Role) -> None:
        """Refuse unless the principal is enabled and has one of the roles, if any is named.

        Raises:
            PermissionDeniedError: It is disabled (``PRINCIPAL_DISABLED``) or
                has none of them (``ROLE``).
        """
        if not self.enabled:
            raise PermissionDeniedError(
                "this principal is disabled; a security administrator can enable it",
                reason="PRINCIPAL_DISABLED",
            )
        if accepted and self.roles.isdisjoint(accepted):
            wanted = " or ".join(role.value for role in accepted)
            raise PermissionDeniedError(
                f"this call needs the role {wanted}; a security administrator can assign it",
                reason="ROLE",
            )

    def require_authority(self, code: str) -> None:
        """Refuse unless the principal acts for the authority.

        Raises:
            PermissionDeniedError: It acts for another, or for none (``AUTHORITY``).
        """
        if self.authority_code != code:
            raise PermissionDeniedError(
                "this principal does not act for the authority that the request names",
                reason="AUTHORITY",
            )


def check_exclusive(roles: Iterable[Role]) -> None:
    """Refuse a set of roles that must be apart.

    Raises:
        FailedPreconditionError: Two of `EXCLUSIVE` in one hand (``ROLE_EXCLUSIVE``).
    """
    clash = sorted(role.value for role in EXCLUSIVE.intersection(roles))
    if len(clash) > 1:
        raise FailedPreconditionError(
            f"the roles {' and '.join(clash)} exclude each other; give them to two people",
            reason="ROLE_EXCLUSIVE",
        )
