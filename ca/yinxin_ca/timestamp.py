"""A time-stamp authority (RFC 3161): answers requests with signed tokens.

What a token says is encoded by asn1crypto; the frame around it is put together
here, and signed by any `Signer`: so keys in hardware and suites that no CMS
library knows stamp the same way. Number and
time are recorded durably before anything is signed (`yinxin_ca.timestampbook`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from hashlib import sha256, sha512
from typing import Final

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509

from yinxin_ca import der
from yinxin_ca.timestampbook import TimestampBook
from yinxin_proto.certificate import Certificate, CertificatePurpose, parse
from yinxin_proto.clock import Clock
from yinxin_proto.der import content
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    MalformedError,
    VerificationError,
)
from yinxin_proto.signature import Signer
from yinxin_proto.timestamp import (
    DIGESTS,
    POLICY,
    SHA256,
    SHA512,
    SM3,
    TimestampRequest,
    parse_request,
    sm3,
)
from yinxin_proto.timestamp_token import SIGNED_DATA, TST_INFO

ACCURACY: Final = timedelta(seconds=1)
"""How far off our clock may be: what NTP keeps, with room, and genTime's own second."""
_SHA_2: Final = frozenset(DIGESTS) - {SM3}
_SUITE_DIGESTS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "ES256": (SHA256, lambda data: sha256(data).digest()),
    "SM2": (SM3, sm3),
    # RFC 9882 §3.1: a digest no weaker than the key.
    "ML-DSA-65": (SHA512, lambda data: sha512(data).digest()),
}
"""The digest that each suite's signatures take."""
_SET: Final = 0x31
_VERSION_1: Final = b"\x02\x01\x01"
_VERSION_3: Final = b"\x02\x01\x03"
_GRANTED: Final = tsp.PKIStatusInfo({"status": "granted"}).dump()


class Failure(IntEnum):
    """PKIFailureInfo (RFC 3161 §2.4.2): the bit that says why."""

    BAD_ALGORITHM = 0
    BAD_REQUEST = 2
    BAD_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16


@dataclass(frozen=True, slots=True)
class TimestampReply:
    """What is sent back."""

    der: bytes
    """DER TimeStampResp."""
    failure: Failure | None = None
    """Why there is no token; None where there is one."""


class TimestampAuthority:
    """Stamps; safe to share between threads.

    Args:
        chain: Its DER certificates, its own first, without the root.
        signer: The key that the first one names.
        book: Records numbers and times.
        clock: Whose time is stamped.
        accuracy: How far off that clock may be.

    Raises:
        ConfigurationError: The certificate is for something else
            (``TIMESTAMP_CERTIFICATE``), or a suite without a digest for CMS
            (``TIMESTAMP_SUITE``).
        MalformedError: Not a certificate (``CERTIFICATE``).
    """

    def __init__(
        self,
        *,
        chain: tuple[bytes, ...],
        signer: Signer,
        book: TimestampBook,
        clock: Clock,
        accuracy: timedelta = ACCURACY,
    ) -> None:
        self._own = parse(chain[0])
        _check_certificate(self._own, signer)
        suite = signer.public_key.suite
        if suite.name not in _SUITE_DIGESTS:
            raise ConfigurationError(
                f"tokens are signed with one of {', '.join(_SUITE_DIGESTS)}",
                reason="TIMESTAMP_SUITE",
            )
        self._digest_oid, self._digest = _SUITE_DIGESTS[suite.name]
        self._accepted = _SHA_2 | {self._digest_oid}
        self._frame = _Frame.of(chain, self._digest_oid, self._digest)
        self._signer = signer
        self._book = book
        self._clock = clock
        self._accuracy = accuracy

    def answer(self, request: bytes) -> TimestampReply:
        """Answer a DER TimeStampReq; what cannot be stamped is told why.

        Raises:
            KeyStoreError, ResourceExhaustedError: The book cannot be written,
                or the key cannot be used: nothing was stamped.
        """
        try:
            asked = parse_request(request)
        except MalformedError as error:
            algorithm = error.reason == "TIMESTAMP_DIGEST"
            return _refusal(Failure.BAD_ALGORITHM if algorithm else Failure.BAD_FORMAT)
        now = self._clock.now().replace(microsecond=0)
        if (failure := self._why_not(asked, now)) is not None:
            return _refusal(failure)
        try:
            serial = self._book.reserve(now)
        except FailedPreconditionError:
            return _refusal(Failure.TIME_NOT_AVAILABLE)
        token = self._token(asked, serial, now)
        return TimestampReply(der.sequence(_GRANTED, token))

    def _why_not(self, asked: TimestampRequest, now: datetime) -> Failure | None:
        if asked.imprint.algorithm not in self._accepted:
            return Failure.BAD_ALGORITHM
        if asked.policy not in (None, POLICY):
            return Failure.UNACCEPTED_POLICY
        if asked.has_extensions:
            return Failure.UNACCEPTED_EXTENSION
        if not self._own.not_before <= now <= self._own.not_after:
            return Failure.TIME_NOT_AVAILABLE
        return None

    def _token(self, asked: TimestampRequest, serial: int, now: datetime) -> bytes:
        said = self._tst_info(asked, serial, now).dump()
        attributes = (*self._frame.attributes, _attribute("message_digest", self._digest(said)))
        covered = der.set_of(*attributes)
        key = self._signer.public_key
        signature = self._signer.sign(covered)
        # A faulty device or the wrong key must not get a bad signature published.
        key.verify(signature, covered)
        signer = der.sequence(
            _VERSION_1,
            self._frame.signer_id,
            self._frame.digest_algorithm,
            # [0] IMPLICIT: the tag takes the place of the SET's.
            der.tagged(0, content(covered, _SET)),
            der.algorithm(key.suite.x509_signature_oid()),
            der.octets(key.suite.to_x509_signature(signature)),
        )
        certificates = [self._frame.certificates] if asked.wants_certificates else []
        signed = der.sequence(
            _VERSION_3,
            der.set_of(self._frame.digest_algorithm),
            der.sequence(der.oid(TST_INFO), der.tagged(0, der.octets(said))),
            *certificates,
            der.set_of(signer),
        )
        return der.sequence(der.oid(SIGNED_DATA), der.tagged(0, signed))

    def _tst_info(self, asked: TimestampRequest, serial: int, now: datetime) -> tsp.TSTInfo:
        milliseconds, microseconds = divmod(self._accuracy.microseconds, 1_000)
        accuracy = {
            "seconds": self._accuracy.days * 86_400 + self._accuracy.seconds,
            "millis": milliseconds,
            "micros": microseconds,
        }
        fields = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": {
                "hash_algorithm": {"algorithm": asked.imprint.algorithm},
                "hashed_message": asked.imprint.digest,
            },
            "serial_number": serial,
            "gen_time": now,
            "accuracy": tsp.Accuracy({unit: n for unit, n in accuracy.items() if n}),
            # Two tokens of one second are not in order.
            "ordering": False,
        }
        if asked.nonce is not None:
            fields["nonce"] = asked.nonce
        return tsp.TSTInfo(fields)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is the same in every token of an authority, encoded once."""

    digest_algorithm: bytes
    signer_id: bytes
    """DER IssuerAndSerialNumber."""
    attributes: tuple[bytes, ...]
    """Content type, and the digest of the authority's certificate (RFC 5816)."""
    certificates: bytes
    """The chain, as SignedData has it."""

    @classmethod
    def of(
        cls, chain: tuple[bytes, ...], digest_oid: str, digest: Callable[[bytes], bytes]
    ) -> _Frame:
        own = asn1_x509.Certificate.load(chain[0])
        algorithm = algos.DigestAlgorithm({"algorithm": digest_oid})
        named = tsp.ESSCertIDv2({"hash_algorithm": algorithm, "cert_hash": digest(chain[0])})
        signer_id = cms.IssuerAndSerialNumber(
            {"issuer": own.issuer, "serial_number": own.serial_number}
        )
        return cls(
            digest_algorithm=algorithm.dump(),
            signer_id=signer_id.dump(),
            attributes=(
                _attribute("content_type", "tst_info"),
                _attribute("signing_certificate_v2", tsp.SigningCertificateV2({"certs": [named]})),
            ),
            certificates=der.tagged(0, content(der.set_of(*chain), _SET)),
        )


def _attribute(kind: str, value: object) -> bytes:
    encoded: bytes = cms.CMSAttribute({"type": kind, "values": [value]}).dump()
    return encoded


def _check_certificate(own: Certificate, signer: Signer) -> None:
    try:
        own.check_purpose(CertificatePurpose.TIME_STAMPING)
    except VerificationError as error:
        raise ConfigurationError(
            "the certificate is not one for time-stamping", reason="TIMESTAMP_CERTIFICATE"
        ) from error
    if own.spki != signer.public_key.spki:
        raise ConfigurationError(
            "the time-stamp authority's certificate names another key; open the key store that "
            "has its key",
            reason="TIMESTAMP_CERTIFICATE",
        )


def _refusal(failure: Failure) -> TimestampReply:
    bits = tuple(int(number == failure) for number in range(failure + 1))
    status = tsp.PKIStatusInfo({"status": "rejection", "fail_info": tsp.PKIFailureInfo(bits)})
    # asn1crypto knows no response without a token.
    return TimestampReply(der.sequence(status.dump()), failure)
