"""Certificates of principals: whose key may be certified, and whose no longer counts.

A principal is certified under the name that the region's records give it. The
key must be its own: what is known to any of the region's records under
another name or purpose is refused, and what was stolen is refused to everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.enrolment import Enrolment, Entitlement
from yinxin_ca.profile import TLS_CLIENT
from yinxin_ca.register import CertificateRecord, Register
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import FailedPreconditionError, NotFoundError
from yinxin_proto.es256 import ES256
from yinxin_proto.signature import PublicKey
from yinxin_trust import schema
from yinxin_trust.certification import (
    IssuingCa,
    issuing_cas,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.keyadmission import holder_of, known_keys
from yinxin_trust.keystage import Stage
from yinxin_trust.registration import Registrar
from yinxin_trust.trustlisting import get_anchors

TLS: Final = "tls"
TLS_SUITE: Final = ES256
"""Of every TLS key, whatever suite the region signs with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalCertificates:
    """Admits, certifies and revokes principals' TLS keys."""

    registrar: Registrar

    def admit(self, conn: Connection, principal_id: str, request: bytes) -> PublicKey:
        """Return the key that a request proves possession of, if it may be certified.

        Raises:
            InvalidArgumentError, PermissionDeniedError, FailedPreconditionError:
                As `yinxin_ca.enrolment.Enrolment.admit`.
        """
        uri = self._uri(principal_id)
        p = schema.principal.c
        authority = conn.execute(
            select(p.authority_code).where(p.principal_id == principal_id)
        ).scalar_one_or_none()
        enrolment = Enrolment(
            suite=TLS_SUITE,
            holder=uri,
            purpose=TLS_CLIENT.name,
            entitlement=Entitlement(organisation_code=authority, uri=uri),
        )
        registrar = self.registrar
        known = known_keys(conn, registers=registrar.registers, keyring=registrar.keyring)
        return enrolment.admit(request, known)

    def certify(self, principal_id: str, key: PublicKey) -> tuple[bytes, ...]:
        """Certify an admitted key; leaf first."""
        return self.registrar.certify_principal(principal_id, key)

    def revoke(
        self,
        conn: Connection,
        principal_id: str,
        *,
        reason: RevocationReason,
        serial: int | None = None,
    ) -> tuple[int, ...]:
        """Revoke a principal's certificates, inside a write transaction.

        Every worker refuses them once it sees the new list, within a second.

        Args:
            conn: The transaction; the new list is part of it.
            principal_id: Whose certificates.
            reason: Why; after ``keyCompromise`` the key is certified for nobody.
            serial: One of them; None for all that are in force, and, where their
                keys were stolen, for those that were revoked for less.

        Returns:
            The serial numbers revoked.

        Raises:
            NotFoundError: The principal has no such certificate
                (``CERTIFICATE_NOT_FOUND``).
            FailedPreconditionError: It is revoked already (``ALREADY_REVOKED``).
        """
        uri, registers = self._uri(principal_id), self.registrar.registers
        cas = issuing_cas(conn, TLS)
        mine = [
            (ca, record)
            for ca in cas
            for record in registers(ca.label).records()
            if holder_of(record, ca.label) == uri
        ]
        if serial is not None:
            mine = [(ca, record) for ca, record in mine if record.serial == serial]
            if not mine:
                raise NotFoundError(
                    "the principal has no certificate of that serial number",
                    reason="CERTIFICATE_NOT_FOUND",
                )
        else:
            mine = [(ca, record) for ca, record in mine if self._is_to_be_revoked(record, reason)]
        # Whoever lost its key signs no list, and nobody accepts what a stolen one certified.
        silent = (Stage.DESTROYED, Stage.COMPROMISED)
        authorities = {
            ca.label: self._authority(conn, ca) for ca in cas if ca.key.stage not in silent
        }
        now = self.registrar.clock.now().replace(microsecond=0)
        for ca, record in mine:
            _revoke_once(registers(ca.label), record, reason, now)
        # Signed even where nothing was left to revoke: an interrupted call may have
        # put a revocation into the register and no list into the database.
        for label, authority in authorities.items():
            put_crls(conn, sign_lists(label, authority), self.registrar.clock)
        return tuple(record.serial for _, record in mine)

    def _is_to_be_revoked(self, record: CertificateRecord, reason: RevocationReason) -> bool:
        if record.revoked_at is None:
            return record.read().not_after >= self.registrar.clock.now()
        # Else its key, revoked for less, could be certified again.
        compromise = RevocationReason.KEY_COMPROMISE
        return reason is compromise and record.reason is not compromise

    def _uri(self, principal_id: str) -> str:
        return self.registrar.keyring.namespace.principal_uri(principal_id)

    def _authority(self, conn: Connection, ca: IssuingCa) -> CertificateAuthority:
        return open_authority(
            TLS,
            anchors=get_anchors(conn),
            certificate=ca.certificate,
            keyring=self.registrar.keyring.at(conn),
            registers=self.registrar.registers,
            clock=self.registrar.clock,
            entropy=self.registrar.entropy,
        )


def _revoke_once(
    register: Register, record: CertificateRecord, reason: RevocationReason, at: datetime
) -> None:
    try:
        register.record_revoked(record.serial, reason, at)
    except FailedPreconditionError:
        # The same revocation again: a call that was interrupted after the register.
        if record.reason is not reason:
            raise
