"""What an authority signed, was about to sign, and took back.

An authority records what it is *about* to sign before it signs, so that a
power cut between the two leaves a record and no certificate can exist that
nobody knows of. One register belongs to one authority: serial and CRL numbers
are unique within it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from cryptography import x509

from yinxin_ca import der
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.der import elements
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    FailedPreconditionError,
    IntegrityError,
    NotFoundError,
)

_NO_SIGNATURE: Final = b"\x03\x01\x00"


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """One certificate, from the intent to sign it onwards."""

    serial: int
    """Serial number."""
    profile: str
    """Name of the profile it was made by."""
    tbs: bytes
    """DER TBSCertificate, recorded before it was signed."""
    der: bytes | None = None
    """DER certificate; ``None`` if the signing never finished."""
    revoked_at: datetime | None = None
    """When it was revoked, UTC."""
    reason: RevocationReason | None = None
    """Why it was revoked."""

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo of the key that it certifies."""
        return elements(self.tbs)[6]

    def read(self) -> Certificate:
        """Return what it says, whether or not it was ever signed."""
        return parse(self.der if self.der is not None else unsigned(self.tbs))


class Register(Protocol):
    """What every register offers; each record is durable when its call returns."""

    def record_intent(self, serial: int, profile: str, tbs: bytes) -> None:
        """Record what is about to be signed.

        Raises:
            AlreadyExistsError: The serial number is taken (``SERIAL_EXISTS``).
        """
        ...

    def record_issued(self, serial: int, der: bytes) -> None:
        """Record the certificate that came of an intent.

        Raises:
            NotFoundError: No such intent (reason ``CERTIFICATE_NOT_FOUND``).
            IntegrityError: The certificate is not what was to be signed
                (``TBS_MISMATCH``).
            ConflictError: Another was recorded already (``ISSUED_TWICE``):
                one intent makes one certificate.
        """
        ...

    def record_revoked(self, serial: int, reason: RevocationReason, at: datetime) -> None:
        """Record a revocation; also of an intent whose signing never finished.

        A second one is refused, but for a reason that turns out to be
        ``keyCompromise``: that replaces a lesser reason, the date stays the
        earlier.

        Raises:
            NotFoundError: No such certificate (``CERTIFICATE_NOT_FOUND``).
            FailedPreconditionError: Revoked already (``ALREADY_REVOKED``).
        """
        ...

    def record_crl(self, number: int, tbs: bytes) -> None:
        """Record a CRL that is about to be signed.

        Raises:
            ConflictError: The number is not higher than the last (reason
                ``CRL_NUMBER``): another process makes lists too; try again.
        """
        ...

    def find(self, serial: int) -> CertificateRecord | None:
        """Return a certificate's record, or ``None``."""
        ...

    def records(self) -> tuple[CertificateRecord, ...]:
        """Return every record, by serial number."""
        ...

    def revoked(self) -> tuple[CertificateRecord, ...]:
        """Return every revoked certificate, by serial number."""
        ...

    def unfinished(self) -> tuple[CertificateRecord, ...]:
        """Return every intent that no certificate came of, by serial number.

        Each is to be revoked after a crash: whether its signature was made is
        not known.
        """
        ...

    def crl_number(self) -> int:
        """Return the highest CRL number recorded, 0 before the first."""
        ...


class InMemoryRegister:
    """A register that ends with the process: for tests, and inside other registers."""

    def __init__(self) -> None:
        self._records: dict[int, CertificateRecord] = {}
        self._crl_number = 0

    def record_intent(self, serial: int, profile: str, tbs: bytes) -> None:
        """See `Register.record_intent`."""
        record = CertificateRecord(serial=serial, profile=profile, tbs=tbs)
        if self._records.setdefault(serial, record) is not record:
            raise AlreadyExistsError(
                "the serial number is taken; draw another", reason="SERIAL_EXISTS"
            )

    def record_issued(self, serial: int, der: bytes) -> None:
        """See `Register.record_issued`."""
        record = self._known(serial)
        check_issued(record, der)
        self._records[serial] = replace(record, der=der)

    def record_revoked(self, serial: int, reason: RevocationReason, at: datetime) -> None:
        """See `Register.record_revoked`."""
        self._records[serial] = with_revocation(self._known(serial), reason, at)

    def record_crl(self, number: int, tbs: bytes) -> None:  # noqa: ARG002 - nothing to keep it for
        """See `Register.record_crl`."""
        if number <= self._crl_number:
            raise ConflictError(
                f"CRL number {number} is not above {self._crl_number}; make the list again",
                reason="CRL_NUMBER",
            )
        self._crl_number = number

    def find(self, serial: int) -> CertificateRecord | None:
        """See `Register.find`."""
        return self._records.get(serial)

    def records(self) -> tuple[CertificateRecord, ...]:
        """See `Register.records`."""
        return tuple(r for _, r in sorted(self._records.items()))

    def revoked(self) -> tuple[CertificateRecord, ...]:
        """See `Register.revoked`."""
        return tuple(r for _, r in sorted(self._records.items()) if r.revoked_at is not None)

    def unfinished(self) -> tuple[CertificateRecord, ...]:
        """See `Register.unfinished`."""
        return tuple(r for _, r in sorted(self._records.items()) if r.der is None)

    def crl_number(self) -> int:
        """See `Register.crl_number`."""
        return self._crl_number

    def _known(self, serial: int) -> CertificateRecord:
        record = self._records.get(serial)
        if record is None:
            raise NotFoundError(
                "no certificate of that serial number is recorded", reason="CERTIFICATE_NOT_FOUND"
            )
        return record


def is_compromised(register: Register, spki: bytes) -> bool:
    """Tell whether a certificate of a key was revoked because the key was stolen."""
    return any(
        record.reason is RevocationReason.KEY_COMPROMISE and record.spki == spki
        for record in register.revoked()
    )


def unsigned(tbs: bytes) -> bytes:
    """Return a TBSCertificate as a certificate with an empty signature, to be read."""
    return der.sequence(tbs, elements(tbs)[2], _NO_SIGNATURE)


def check_issued(record: CertificateRecord, der: bytes) -> None:
    """Refuse a certificate that is not the one that ``record`` announced.

    Raises:
        IntegrityError: Other content, or no certificate (``TBS_MISMATCH``).
        ConflictError: Another was recorded already (``ISSUED_TWICE``).
    """
    try:
        tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise IntegrityError(
            "what was recorded as issued is not a certificate", reason="TBS_MISMATCH"
        ) from error
    if tbs != record.tbs:
        raise IntegrityError(
            "the certificate is not what was about to be signed", reason="TBS_MISMATCH"
        )
    # Two signatures over one intent would be two certificates of one serial number.
    if record.der is not None and record.der != der:
        raise ConflictError("the intent was signed twice", reason="ISSUED_TWICE")


def with_revocation(
    record: CertificateRecord, reason: RevocationReason, at: datetime
) -> CertificateRecord:
    """Return ``record`` revoked; see `Register.record_revoked`.

    Raises:
        FailedPreconditionError: Revoked already (``ALREADY_REVOKED``).
    """
    if record.revoked_at is None:
        return replace(record, revoked_at=at, reason=reason)
    compromise = RevocationReason.KEY_COMPROMISE
    if reason is not compromise or record.reason is compromise:
        raise FailedPreconditionError(
            "the certificate is revoked already", reason="ALREADY_REVOKED"
        )
    return replace(record, revoked_at=min(at, record.revoked_at), reason=reason)
