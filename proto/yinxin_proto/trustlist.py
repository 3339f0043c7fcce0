"""The trust list 信任清单: who may sign what in one region, and with which keys.

It is the target ``trust.json`` of a region's trust repository, vouched for by
the offline roles alone (design section 7). Canonical JSON (RFC 8785), schema
1; bytes are base64url without padding, times are Unix seconds. Whatever it
does not name is not trusted, and a member that this schema does not know makes
a reader refuse the whole list.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.keyrecord import (
    KeyPurpose,
    KeyRecord,
    KeyState,
    Pin,
    ranges_of,
)
from yinxin_proto.logkey import (
    FrozenHead,
    LogCosigner,
    LogKey,
    LogKind,
    Witnesses,
    as_certificate,
)
from yinxin_proto.member import Members
from yinxin_proto.name import parse_region_code
from yinxin_proto.scope import Authority, TypeScope
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_canonical_json
from yinxin_proto.vkey import VerifierKey

__all__ = [
    "MAX_TRUST_LIST_BYTES",
    "SCHEMA",
    "Anchors",
    "Authority",
    "FrozenHead",
    "KeyPurpose",
    "KeyRecord",
    "KeyState",
    "LogCosigner",
    "LogKey",
    "LogKind",
    "Pin",
    "TrustList",
    "TypeScope",
    "Witnesses",
    "ranges_of",
]

SCHEMA: Final = 1
MAX_TRUST_LIST_BYTES: Final = 8 << 20
MAX_ANCHORS: Final = 64
MAX_AUTHORITIES: Final = 10_000
MAX_STATUS_KEYS: Final = 1024
MAX_LOGS: Final = 256

_REGION: Final = re.compile(r"[0-9]{6}")
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_EPOCH: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
_MEMBERS: Final = (
    "schema",
    "region",
    "domain",
    "issued_at",
    "anchors",
    "authorities",
    "status_keys",
    "logs",
    "witnesses",
    "recognitions",
)


def _unique(values: Iterable[Hashable], what: str, reason: str) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise MalformedError(f"trust list: {what} occurs twice", reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """The region's certificates, DER; the verifier parses and links them.

    Raises:
        MalformedError: ``DUPLICATE_ANCHOR`` when one certificate stands twice,
            since each CA issues for one purpose.
    """

    root: bytes
    """The root CA."""
    licence: tuple[bytes, ...] = ()
    """Issuing CAs of licence-signing certificates, past ones included."""
    status: tuple[bytes, ...] = ()
    """Issuing CAs of status-signing certificates."""
    tls: tuple[bytes, ...] = ()
    """Issuing CAs of TLS certificates, and of nothing else."""
    pq_root: bytes | None = None
    """The parallel ML-DSA-65 root, which certifies the logs' cosigners alone."""

    def __post_init__(self) -> None:
        parallel = () if self.pq_root is None else (self.pq_root,)
        _unique(
            (self.root, *parallel, *self.licence, *self.status, *self.tls),
            "a certificate",
            "DUPLICATE_ANCHOR",
        )

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {
            "root": b64url_encode(self.root),
            "licence": [b64url_encode(der) for der in self.licence],
            "status": [b64url_encode(der) for der in self.status],
            "tls": [b64url_encode(der) for der in self.tls],
            "pq_root": None if self.pq_root is None else b64url_encode(self.pq_root),
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> Anchors:
        """Read the anchors at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("root", "licence", "status", "tls", "pq_root"))
        return cls(
            root=members.one("root", as_certificate),
            licence=members.each("licence", as_certificate, max_items=MAX_ANCHORS),
            status=members.each("status", as_certificate, max_items=MAX_ANCHORS),
            tls=members.each("tls", as_certificate, max_items=MAX_ANCHORS),
            pq_root=members.one_or_none("pq_root", as_certificate),
        )


@dataclass(frozen=True, kw_only=True)
class TrustList:
    """Everything that a verifier believes about one region's signers.

    Raises:
        MalformedError: ``REGION_CODE``, ``DUPLICATE_AUTHORITY``, ``DUPLICATE_KEY`` (one key in
            two records, whoever's), ``DUPLICATE_LOG``, ``KEY_PURPOSE`` (a
            status key with another purpose), ``LOG_ORIGIN`` (a log named for
            another region, domain or kind), ``LOG_COSIGNER`` (a log's cosigner
            without a parallel root), ``WITNESS_VKEY`` (a witness with a
            log's key), ``PIN_ORIGIN`` (a pin in a log that is not a licences
            log of the list).
    """

    region: str
    """GB/T 2260 code, six digits."""
    domain: str
    """The region's DNS name, lower case: the host of every ``iss``."""
    issued_at: int
    anchors: Anchors
    authorities: tuple[Authority, ...] = ()
    status_keys: tuple[KeyRecord, ...] = ()
    logs: tuple[LogKey, ...] = ()
    witnesses: Witnesses = field(default_factory=Witnesses)

    def __post_init__(self) -> None:
        try:
            parse_region_code(self.region)
        except InvalidArgumentError as error:
            raise MalformedError(error.message, reason=error.reason) from error
        _unique(
            (authority.code for authority in self.authorities),
            "an authority's code",
            "DUPLICATE_AUTHORITY",
        )
        keys = [key for _, key in self.owned_keys()]
        _unique((key.spki for key in keys), "a key", "DUPLICATE_KEY")
        _unique((log.origin for log in self.logs), "a log's origin", "DUPLICATE_LOG")
        if any(key.purpose is not KeyPurpose.STATUS for key in self.status_keys):
            raise MalformedError(
                "trust list: status_keys holds status keys alone", reason="KEY_PURPOSE"
            )
        self._check_logs(keys)

    def _check_logs(self, keys: Iterable[KeyRecord]) -> None:
        for log in self.logs:
            prefix = f"{self.domain}/log/{self.region}/{log.kind.value}/"
            epoch = log.origin.removeprefix(prefix)
            if epoch == log.origin or _EPOCH.fullmatch(epoch) is None:
                raise MalformedError(
                    "trust list: a log's origin is <domain>/log/<region>/<kind>/<epoch>",
                    reason="LOG_ORIGIN",
                )
        # A witness that held a log's key would vouch for itself.
        witnesses = {VerifierKey.parse(key).public_key for key in self.witnesses.keys}
        own = [log.vkey for log in self.logs]
        own += [log.cosigner.vkey for log in self.logs if log.cosigner is not None]
        if len(own) > len(self.logs) and self.anchors.pq_root is None:
            raise MalformedError(
                "trust list: a log's cosigner needs the parallel root that certifies it",
                reason="LOG_COSIGNER",
            )
        if any(VerifierKey.parse(key).public_key in witnesses for key in own):
            raise MalformedError("trust list: a log is its own witness", reason="WITNESS_VKEY")
        pinnable = {log.origin for log in self.logs if log.kind is LogKind.LICENCES}
        if any(key.pin is not None and key.pin.origin not in pinnable for key in keys):
            raise MalformedError(
                "trust list: a pin names no licences log of this list", reason="PIN_ORIGIN"
            )

    def owned_keys(self) -> Iterator[tuple[Authority | None, KeyRecord]]:
        """Yield every key with its owner; the region itself is None."""
        for authority in self.authorities:
            for key in authority.keys:
                yield authority, key
        for key in self.status_keys:
            yield None, key

    @cached_property
    def _by_thumbprint(self) -> dict[bytes, tuple[Authority | None, KeyRecord]]:
        return {key.thumbprint: (authority, key) for authority, key in self.owned_keys()}

    @cached_property
    def _by_code(self) -> dict[str, Authority]:
        return {authority.code: authority for authority in self.authorities}

    def find_key(self, thumbprint: bytes) -> tuple[Authority | None, KeyRecord] | None:
        """Return a key's record and its owner; the region itself is None.

        Args:
            thumbprint: SHA-256 of the key's SPKI.

        Returns:
            None when the list does not name the key: reject it whatever its
            chain.
        """
        return self._by_thumbprint.get(thumbprint)

    def authority(self, code: str) -> Authority | None:
        """Return the authority of a credit code, if the list names it."""
        return self._by_code.get(code)

    def log(self, origin: str) -> LogKey | None:
        """Return the log of an origin, if the list names it."""
        return next((log for log in self.logs if log.origin == origin), None)

    def to_bytes(self) -> bytes:
        """Serialise; the exact inverse of `parse`.

        Raises:
            MalformedError: ``TOO_LARGE`` beyond `MAX_TRUST_LIST_BYTES`, or
                whatever `parse` would refuse.
        """
        data = canonical_json(
            {
                "schema": SCHEMA,
                "region": self.region,
                "domain": self.domain,
                "issued_at": self.issued_at,
                "anchors": self.anchors.to_json(),
                "authorities": [authority.to_json() for authority in self.authorities],
                "status_keys": [key.to_json() for key in self.status_keys],
                "logs": [log.to_json() for log in self.logs],
                "witnesses": self.witnesses.to_json(),
                "recognitions": [],
            }
        )
        # A list that every verifier refuses must not leave the publisher.
        TrustList.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> TrustList:
        """Read a trust list; the caller has checked who vouches for the bytes.

        Raises:
            MalformedError: Not canonical JSON (RFC 8785), too large, a member
                unknown, absent or not of its form, ``SCHEMA`` for another
                schema version, or an invariant of a part broken.
        """
        value = parse_canonical_json(data, max_bytes=MAX_TRUST_LIST_BYTES)
        # Before the members: another schema may have others.
        schema = value.get("schema") if isinstance(value, dict) else None
        if type(schema) is not int or schema != SCHEMA:
            raise MalformedError("trust list: not of schema 1", reason="SCHEMA")
        members = Members(value, "trust list", _MEMBERS)
        members.each("recognitions", _no_recognition, max_items=1)
        return cls(
            region=members.text("region", _REGION),
            domain=members.text("domain", _DOMAIN),
            issued_at=members.integer("issued_at"),
            anchors=members.one("anchors", Anchors.from_json),
            authorities=members.each("authorities", Authority.from_json, max_items=MAX_AUTHORITIES),
            status_keys=members.each("status_keys", KeyRecord.from_json, max_items=MAX_STATUS_KEYS),
            logs=members.each("logs", LogKey.from_json, max_items=MAX_LOGS),
            witnesses=members.one("witnesses", Witnesses.from_json),
        )


def _no_recognition(_: Json, where: str) -> None:
    raise MalformedError(
        f"{where}: schema 1 knows no recognition statements", reason="UNKNOWN_MEMBER"
    )
