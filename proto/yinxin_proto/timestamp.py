"""Time-stamps (RFC 3161): requests, and what a token says.

Both are read strictly; that a token holds is checked in
`yinxin_proto.timestamp_token`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384, sha512
from typing import Final

from cryptography.hazmat.primitives import hashes

from yinxin_proto.der import content, dotted, elements, integer
from yinxin_proto.error import MalformedError

MAX_REQUEST_BYTES: Final = 4_096
MAX_NONCE_BYTES: Final = 32
_MAX_SECONDS: Final = 86_400
"""A clock that may be off by more is none."""

POLICY: Final = "1.2.840.113556.1.8000.2554.2302.13935.50334.23028.41059.8660800.14668120"
"""Our policy: a clock within the stated accuracy, genTime never going back, every
serial number recorded before it is signed. Of UUID 08fe366f-c49e-59f4-a063-842740dfd158."""

_BOOLEAN, _INTEGER, _OCTETS, _NULL, _OID = 0x01, 0x02, 0x04, 0x05, 0x06
_TIME, _SEQUENCE = 0x18, 0x30
_TAG_0: Final = 0xA0

Digest = Callable[[bytes], bytes]


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest (GB/T 32905)."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
SM3: Final = "1.2.156.10197.1.401"
DIGESTS: Final[dict[str, tuple[int, Digest]]] = {
    SHA256: (32, lambda data: sha256(data).digest()),
    "2.16.840.1.101.3.4.2.2": (48, lambda data: sha384(data).digest()),
    SHA512: (64, lambda data: sha512(data).digest()),
    SM3: (32, sm3),
}
"""Digests that may be time-stamped: their OIDs, sizes and functions. No SHA-1."""


@dataclass(frozen=True, slots=True)
class Imprint:
    """The digest that is time-stamped (MessageImprint)."""

    algorithm: str
    """OID."""
    digest: bytes

    @classmethod
    def of(cls, data: bytes, algorithm: str = SHA256) -> Imprint:
        """Return the imprint of ``data``."""
        return cls(algorithm, DIGESTS[algorithm][1](data))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampRequest:
    """TimeStampReq (RFC 3161 §2.4.1), as it parses."""

    imprint: Imprint
    policy: str | None = None
    """OID of the policy asked for."""
    nonce: int | None = None
    wants_certificates: bool = False
    has_extensions: bool = False
    """Any extension: none is known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """What a token says (TSTInfo), whether or not anybody has verified it."""

    policy: str
    imprint: Imprint
    serial: int
    at: datetime
    """genTime, UTC."""
    accuracy: timedelta
    """How far off the authority's clock may be; zero where it does not say."""
    nonce: int | None

    @property
    def no_later_than(self) -> datetime:
        """The latest moment at which the digest was shown: genTime and accuracy."""
        return self.at + self.accuracy


def parse_request(data: bytes) -> TimestampRequest:
    """Parse a DER TimeStampReq.

    Raises:
        MalformedError: Not one (reason ``TIMESTAMP_REQUEST``), a digest of no
            known kind (``TIMESTAMP_DIGEST``), or beyond a bound (``TOO_LARGE``).
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise MalformedError(
            f"time-stamp request: more than {MAX_REQUEST_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        fields = elements(data)
        if integer(fields[0]) != 1:
            raise _bad_request("version 1 is read")
        imprint, rest = _imprint(fields[1]), fields[2:]
        policy = dotted(rest.pop(0)) if rest and rest[0][0] == _OID else None
        nonce = _nonce(rest.pop(0)) if rest and rest[0][0] == _INTEGER else None
        # DEFAULT FALSE: DER leaves the default out.
        wants = bool(rest) and rest[0] == bytes([_BOOLEAN, 1, 0xFF])
        rest = rest[1:] if wants else rest
        extended = bool(rest) and rest[0][0] == _TAG_0
        if len(rest) != int(extended):
            raise _bad_request("there is more in it than the standard has")
    except (IndexError, MalformedError) as error:
        if isinstance(error, MalformedError) and error.reason != "DER":
            raise
        raise _bad_request("it is not one in DER") from error
    return TimestampRequest(
        imprint=imprint,
        policy=policy,
        nonce=nonce,
        wants_certificates=wants,
        has_extensions=extended,
    )


def parse_tst_info(der: bytes) -> Timestamp:
    """Parse a DER TSTInfo (RFC 3161 §2.4.2); nothing in it is believed yet.

    Raises:
        MalformedError: Not one (``TIMESTAMP``).
    """
    try:
        fields = elements(der)
        version, policy, imprint, serial, moment, *rest = fields
        accuracy = _accuracy(rest.pop(0)) if rest and rest[0][0] == _SEQUENCE else timedelta(0)
        if rest and rest[0][0] == _BOOLEAN:
            rest.pop(0)
        nonce = _nonce(rest.pop(0)) if rest and rest[0][0] == _INTEGER else None
        # tsa [0]; an extension [1] would have to be understood.
        if rest and rest[0][0] == _TAG_0:
            rest.pop(0)
        if rest or integer(version) != 1:
            raise malformed()
        said = Timestamp(
            policy=dotted(policy),
            imprint=_imprint(imprint),
            serial=integer(serial),
            at=_moment(content(moment, _TIME)),
            accuracy=accuracy,
            nonce=nonce,
        )
        _ = said.no_later_than  # beyond the year 9999 there is none
    except (IndexError, OverflowError, ValueError) as error:
        raise malformed() from error
    except MalformedError as error:
        raise error if error.reason != "DER" else malformed() from error
    return said


def _imprint(element: bytes) -> Imprint:
    algorithm, digest = elements(element)
    oid, value = algorithm_of(algorithm), content(digest, _OCTETS)
    if oid not in DIGESTS or len(value) != DIGESTS[oid][0]:
        raise MalformedError(
            "time-stamp: a digest is one of SHA-256, SHA-384, SHA-512 or SM3, in full",
            reason="TIMESTAMP_DIGEST",
        )
    return Imprint(oid, value)


def algorithm_of(element: bytes) -> str:
    """Return the OID of an AlgorithmIdentifier without parameters.

    Raises:
        MalformedError: Something else (``DER`` or ``TIMESTAMP``).
    """
    oid, *parameters = elements(element)
    if parameters not in ([], [bytes([_NULL, 0])]):
        raise malformed()
    return dotted(oid)


def _accuracy(element: bytes) -> timedelta:
    total = timedelta(0)
    units = {_INTEGER: (_MAX_SECONDS, 1_000_000), 0x80: (999, 1_000), 0x81: (999, 1)}
    for part in elements(element):
        most, microseconds = units.pop(part[0], (0, 0))
        count = integer(bytes([_INTEGER]) + part[1:])
        # A negative one would make the token older than its own time.
        if not most or not 0 <= count <= most:
            raise malformed()
        total += timedelta(microseconds=microseconds * count)
    return total


def _moment(text: bytes) -> datetime:
    """Read a GeneralizedTime in DER: seconds, an optional fraction, Z (X.690 §11.7)."""
    digits = text.decode("ascii")
    whole, dot, fraction = digits.removesuffix("Z").partition(".")
    if not digits.endswith("Z") or len(whole) != 14 or not whole.isdigit():
        raise ValueError("not a time in DER")
    if dot and (not fraction.isdigit() or fraction.endswith("0") or len(fraction) > 6):
        raise ValueError("not a time in DER")
    moment = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return moment + timedelta(microseconds=int(fraction.ljust(6, "0") or 0))


def _nonce(element: bytes) -> int:
    if len(element) > MAX_NONCE_BYTES + 2:
        raise MalformedError(
            f"time-stamp: a nonce has at most {MAX_NONCE_BYTES} bytes", reason="TOO_LARGE"
        )
    return integer(element)


def _bad_request(why: str) -> MalformedError:
    return MalformedError(f"not a time-stamp request: {why}", reason="TIMESTAMP_REQUEST")


def malformed() -> MalformedError:
    """Return the error for what is no token that is read here."""
    return MalformedError(
        "not a time-stamp token of one signer, in the form that is read here", reason="TIMESTAMP"
    )
