"""Operations that can break trust, as officers sign them.

An operation 操作 is canonical JSON (RFC 8785)::

    {action, expires, issued_at, nonce, parameters, region, target}

Each officer 安全员 signs its digest with a personal key: one compact JWS
(``yinxin-operation+jwt``) per officer, payload ``{digest, officer}``. Whoever
holds the offline keys counts distinct persons; the service that asks for the
operation has no part in it (design section 10).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.jose import UnverifiedJws, parse_compact, sign_compact
from yinxin_proto.member import Members
from yinxin_proto.name import parse_region_code
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import b64url_encode, canonical_json, parse_canonical_json

TYP: Final = "yinxin-operation+jwt"
MAX_OPERATION_BYTES: Final = 4096
NONCE_BYTES: Final = 32
DIGEST_BYTES: Final = 32
MAX_LIFETIME: Final = timedelta(days=7)
"""An operation that was not carried out by then is decided anew."""
CLOCK_TOLERANCE: Final = timedelta(minutes=5)

_MEMBERS: Final = ("action", "expires", "issued_at", "nonce", "parameters", "region", "target")
_ACTION: Final = re.compile(r"[a-z]+(-[a-z]+)*")
_TARGET: Final = re.compile(r"[\x21-\x7e]{1,255}")
_REGION: Final = re.compile(r"[0-9]{6}")
OFFICER: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
"""How an officer is named."""


class Action(StrEnum):
    """What an operation does to trust."""

    SUSPEND_KEY = "suspend-key"
    """A key is not to be relied on for now 停用."""
    RESUME_KEY = "resume-key"
    """A suspended key counts again 恢复."""
    COMPROMISE_KEY = "compromise-key"
    """A key was stolen or misused; its pin says what stands 泄露."""
    FREEZE_LOG = "freeze-log"
    """A log stands at its last good head and no further 封存."""
    BREAK_LOG_KEY = "break-log-key"
    """A log's Ed25519 key is declared broken; its post-quantum cosignatures count."""
    REPLACE_ROOT = "replace-root"
    """The region's root CA, or its post-quantum root, becomes another."""
    WITHDRAW_ANCHOR = "withdraw-anchor"
    """An issuing CA is no longer an anchor."""
    REMOVE_AUTHORITY = "remove-authority"
    """An authority leaves the trust list."""
    CHANGE_TRUST = "change-trust"
    """Any other change that verifiers would feel and that no other action names."""
    ADD_OFFICER = "add-officer"
    """A person may sign operations."""
    REMOVE_OFFICER = "remove-officer"
    """A person may sign operations no more."""


OPERATIONS: Final[Mapping[Action, int]] = MappingProxyType(
    {
        # Alone: waiting for a second person would leave the thief signing.
        Action.SUSPEND_KEY: 1,
        Action.RESUME_KEY: 2,
        Action.COMPROMISE_KEY: 2,
        Action.FREEZE_LOG: 2,
        Action.BREAK_LOG_KEY: 2,
        Action.REPLACE_ROOT: 2,
        Action.WITHDRAW_ANCHOR: 2,
        Action.REMOVE_AUTHORITY: 2,
        Action.CHANGE_TRUST: 2,
        Action.ADD_OFFICER: 2,
        Action.REMOVE_OFFICER: 2,
    }
)
"""How many persons each action needs; documentation and tests read this table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation, before anybody signed it.

    Raises:
        MalformedError: ``OPERATION_TERM`` when it ends before it begins, or
            lives longer than `MAX_LIFETIME`; ``MEMBER_FORM`` for a member of
            another form.
    """

    action: Action
    target: str
    """What it is about: a key's thumbprint in hexadecimal, a log's origin, an officer."""
    region: str
    nonce: bytes
    """32 random bytes: the signer carries out each once."""
    issued_at: int
    """Unix seconds."""
    expires: int
    """First second at which it may no longer be carried out."""
    parameters: bytes
    """SHA-256 of what exactly is to come of it, in canonical JSON."""

    def __post_init__(self) -> None:
        if not self.issued_at < self.expires <= self.issued_at + MAX_LIFETIME.total_seconds():
            raise MalformedError(
                f"operation: it ends after it begins, within {MAX_LIFETIME.days} days",
                reason="OPERATION_TERM",
            )
        sizes = len(self.nonce) == NONCE_BYTES and len(self.parameters) == DIGEST_BYTES
        if not sizes or _TARGET.fullmatch(self.target) is None:
            raise MalformedError("operation: a member is not of its form", reason="MEMBER_FORM")

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; the exact inverse of `parse`."""
        return canonical_json(
            {
                "action": self.action.value,
                "expires": self.expires,
                "issued_at": self.issued_at,
                "nonce": b64url_encode(self.nonce),
                "parameters": b64url_encode(self.parameters),
                "region": self.region,
                "target": self.target,
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`: what officers sign."""
        return sha256(self.to_bytes()).digest()

    @property
    def persons(self) -> int:
        """How many distinct officers must sign."""
        return OPERATIONS[self.action]

    def check_time(self, now: datetime) -> None:
        """Refuse an operation outside its term.

        Raises:
            VerificationError: ``OPERATION_EXPIRED``, or ``OPERATION_FUTURE`` when it was
                issued later than now: one of two clocks is wrong.
        """
        if now.timestamp() >= self.expires:
            raise VerificationError(
                "operation: it has expired; prepare it anew and have it signed again",
                reason="OPERATION_EXPIRED",
            )
        if self.issued_at - now.timestamp() > CLOCK_TOLERANCE.total_seconds():
            raise VerificationError(
                "operation: it was issued in the future; set this machine's clock right",
                reason="OPERATION_FUTURE",
            )

    @classmethod
    def parse(cls, data: bytes) -> Operation:
        """Parse an operation.

        Raises:
            MalformedError: Not canonical JSON, a member that is unknown, missing
                or of another form, an action unknown here (``OPERATION_ACTION``).
        """
        members = Members(
            parse_canonical_json(data, max_bytes=MAX_OPERATION_BYTES), "operation", _MEMBERS
        )
        action = members.text("action", _ACTION)
        if action not in set(Action):
            raise MalformedError("operation: no such action", reason="OPERATION_ACTION")
        return cls(
            action=Action(action),
            target=members.text("target", _TARGET),
            region=members.text("region", _REGION),
            nonce=members.octets("nonce", min_bytes=NONCE_BYTES, max_bytes=NONCE_BYTES),
            issued_at=members.integer("issued_at"),
            expires=members.integer("expires"),
            parameters=members.octets("parameters", min_bytes=DIGEST_BYTES, max_bytes=DIGEST_BYTES),
        )


def new_operation(
    action: Action,
    target: str,
    parameters: bytes,
    *,
    region: str,
    clock: Clock,
    entropy: Entropy,
    lifetime: timedelta = timedelta(days=1),
) -> Operation:
    """Return an operation with a nonce of its own, to be signed from now on."""
    now = to_seconds(clock.now())
    return Operation(
        action=action,
        target=target,
        region=parse_region_code(region),
        nonce=entropy.token(NONCE_BYTES),
        issued_at=now,
        expires=now + int(lifetime.total_seconds()),
        parameters=parameters,
    )


@dataclass(frozen=True, slots=True)
class OfficerSignature:
    """One officer's signature, of which nothing is believed yet."""

    jws: UnverifiedJws
    officer: str
    """Who signed, by its own word."""
    digest: bytes
    """Digest of the operation that it is under."""

    def verify(self, key: PublicKey, operation: Operation) -> None:
        """Check the signature, and that it is under this operation.

        Raises:
            VerificationError: Another operation (``OPERATION_DIGEST``), another type or
                algorithm, or a signature that does not hold.
        """
        if self.digest != operation.digest:
            raise VerificationError(
                "operation: the signature is under another operation", reason="OPERATION_DIGEST"
            )
        self.jws.verify(key, typ=TYP)

    @classmethod
    def parse(cls, token: str) -> OfficerSignature:
        """Parse a signature.

        Raises:
            MalformedError: Not a JWS, or not with exactly these members.
        """
        jws = parse_compact(token.strip(), max_bytes=MAX_OPERATION_BYTES)
        payload = parse_canonical_json(jws.payload, max_bytes=MAX_OPERATION_BYTES)
        members = Members(payload, "operation signature", ("digest", "officer"))
        return cls(
            jws=jws,
            officer=members.text("officer", OFFICER),
            digest=members.octets("digest", min_bytes=DIGEST_BYTES, max_bytes=DIGEST_BYTES),
        )


def sign_operation(operation: Operation, *, officer: str, signer: Signer) -> str:
    """Sign an operation's digest with an officer's personal key; return the compact JWS.

    Raises:
        InvalidArgumentError: No officer's name (``OFFICER``).
    """
    check_officer(officer)
    payload = canonical_json({"digest": b64url_encode(operation.digest), "officer": officer})
    header = {"kid": b64url_encode(signer.public_key.thumbprint)}
    return sign_compact(signer, typ=TYP, header=header, payload=payload)


def check_officer(officer: str) -> None:
    """Refuse what cannot name an officer.

    Raises:
        InvalidArgumentError: ``OFFICER``.
    """
    if OFFICER.fullmatch(officer) is None:
        raise InvalidArgumentError(
            "an officer's name is 1 to 64 lower-case letters, digits, dots or hyphens",
            reason="OFFICER",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOperation:
    """An operation with what officers signed."""

    operation: Operation
    signatures: tuple[OfficerSignature, ...]
