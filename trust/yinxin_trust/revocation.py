"""Revoking certificates, in every register that knows the key, and telling at once.

A key that was stolen is stolen whatever it was certified for: every
certificate of it is revoked, under every authority, and none will certify it
again. OCSP says so from the moment it is recorded; lists are signed anew and
published in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.register import CertificateRecord, Register
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import InvalidArgumentError, KeyStoreError, NotFoundError
from yinxin_trust.certification import (
    ROOT,
    RegisterFactory,
    crl_targets,
    get_crls,
    issuing_cas,
    list_name,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.publication import Publication
from yinxin_trust.region import Region
from yinxin_trust.trustlisting import get_anchors


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One certificate that is revoked now."""

    authority: str
    """Label of the authority that issued it."""
    serial: int


def registers_of(region: Region) -> dict[str, Register]:
    """Return the register of every authority of a region."""
    return registers_in(region.foundation.registers)


def registers_in(registers: RegisterFactory) -> dict[str, Register]:
    """Return every register that there is, by its authority's label."""
    return {label: registers(label) for label in registers.names()}


def revoke_certificates_of_key(
    registers: Mapping[str, Register], spki: bytes, reason: RevocationReason, at: datetime
) -> tuple[RevokedCertificate, ...]:
    """Revoke every certificate of a key, whoever issued it; a second call finds none left.

    What was announced and never seen signed is revoked too: whether a
    signature exists is not known.

    Args:
        registers: By the authority's name; see `registers_of`.
        spki: DER SubjectPublicKeyInfo of the key.
        reason: ``keyCompromise`` goes over an earlier reason.
        at: From when they are not to be relied upon.

    Returns:
        What was revoked by this call; `publish_revocations` tells others.
    """
    found = []
    for name, register in registers.items():
        for record in register.records():
            if record.spki == spki and _is_to_be_revoked(record, reason):
                register.record_revoked(record.serial, reason, at.replace(microsecond=0))
                found.append(RevokedCertificate(name, record.serial))
    return tuple(found)


def revoke_certificate(
    region: Region, serial: int, reason: RevocationReason, *, authority: str | None = None
) -> RevokedCertificate:
    """Revoke one certificate from now on.

    Args:
        region: Opened.
        serial: Its serial number.
        reason: Why.
        authority: Who issued it, where two authorities have the number.

    Raises:
        NotFoundError: No authority issued it (``CERTIFICATE_NOT_FOUND``).
        InvalidArgumentError: More than one did (``AUTHORITY``).
        FailedPreconditionError: It is revoked already (``ALREADY_REVOKED``).
    """
    name, _ = find_certificate(region, serial, authority=authority)
    region.foundation.registers(name).record_revoked(
        serial, reason, region.clock.now().replace(microsecond=0)
    )
    return RevokedCertificate(name, serial)


def find_certificate(
    region: Region, serial: int, *, authority: str | None = None
) -> tuple[str, CertificateRecord]:
    """Return a certificate's record, and who issued it.

    Raises:
        NotFoundError, InvalidArgumentError: As `revoke_certificate`.
    """
    return find_in(registers_of(region), serial, authority=authority)


def find_in(
    registers: Mapping[str, Register], serial: int, *, authority: str | None = None
) -> tuple[str, CertificateRecord]:
    """Return a certificate's record, and who issued it; see `find_certificate`."""
    found = [
        (name, record)
        for name, register in registers.items()
        if authority in (None, name) and (record := register.find(serial)) is not None
    ]
    if not found:
        raise NotFoundError(
            "no authority of this region issued a certificate of that serial number; see: "
            "yinxin certificate list",
            reason="CERTIFICATE_NOT_FOUND",
        )
    if len(found) > 1:
        raise InvalidArgumentError(
            "two authorities have that serial number; name one", reason="AUTHORITY"
        )
    return found[0]


def publish_revocations(region: Region, authorities: Collection[str]) -> None:
    """Sign the lists of these authorities anew, and publish them.

    Raises:
        FailedPreconditionError: The root's key is offline and not open
            (``OFFLINE_KEYS``): what it revoked is published once it is.
        KeyStoreError: An authority's key is nowhere (``KEY_NOT_FOUND``), so that
            it signs no list any more; those of the others are published.
    """
    publication = Publication(storage=region.storage, keyring=region.keyring, clock=region.clock)
    with region.storage.write() as conn:
        publication.lock(conn)
        opened: dict[str, CertificateAuthority] = {}
        missed: list[KeyStoreError] = []
        for label in _in_order(map(list_name, authorities)):
            try:
                opened[label] = _open(conn, region, label)
            except KeyStoreError as error:
                if error.reason != "KEY_NOT_FOUND":
                    raise
                missed.append(error)
        signed: dict[str, bytes] = {}
        for label, authority in opened.items():
            signed |= sign_lists(label, authority)
        put_crls(conn, signed, region.clock)
        changes = crl_targets({name: crl for name, crl in get_crls(conn).items() if name in signed})
        if changes:
            publication.publish(conn, {"crl": changes})
    if missed:
        raise missed[0]


def _open(conn: Connection, region: Region, label: str) -> CertificateAuthority:
    certificates = {ca.label: ca.certificate for ca in issuing_cas(conn)}
    return open_authority(
        label.partition("-")[0],
        anchors=get_anchors(conn),
        certificate=certificates.get(label),
        keyring=region.keyring.at(conn),
        registers=region.foundation.registers,
        clock=region.clock,
        entropy=region.entropy,
    )


def _in_order(authorities: Iterable[str]) -> list[str]:
    """Return the root first: if its key is not at hand, nothing else is signed in vain."""
    return sorted(set(authorities), key=lambda name: (name != ROOT, name))


def _is_to_be_revoked(record: CertificateRecord, reason: RevocationReason) -> bool:
    if record.revoked_at is None:
        return True
    compromise = RevocationReason.KEY_COMPROMISE
    return reason is compromise and record.reason is not compromise
