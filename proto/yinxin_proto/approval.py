"""Approvals: an issuing authority's signature under what a region may do.

The approval key is held outside the region's servers, so whoever breaks into
them cannot issue in an authority's name. One JWS (``yinxin-approval+jwt``)
approves a batch: its payload, canonical JSON, commits to the Merkle root
(RFC 6962) over the requests' hashes in order; a single request is a batch of
one::

    {count, iat, iss, nonce, operation, region, root}

``operation`` is ``issue`` or the lifecycle operation of every change request
in the batch, so that a signing device can show what is being approved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from yinxin_proto.changerequest import ChangeRequest
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.issuerequest import Holder, IssueRequest, request_digest
from yinxin_proto.jose import UnverifiedJws, parse_compact, sign_compact
from yinxin_proto.member import Members
from yinxin_proto.merkle import HASH_SIZE, TreeHead, leaf_hash, root, verify_inclusion
from yinxin_proto.name import RegionCode, parse_region_code
from yinxin_proto.number import is_credit_code
from yinxin_proto.numericdate import read_moment, to_seconds
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_canonical_json

__all__ = [
    "ISSUE",
    "Approval",
    "ChangeRequest",
    "Holder",
    "IssueRequest",
    "UnverifiedApproval",
    "approval_digest",
    "approve",
    "parse_approval",
    "request_digest",
]

TYP: Final = "yinxin-approval+jwt"
ISSUE: Final = "issue"
"""The operation of a batch of issue requests."""
MAX_BATCH: Final = 10_000
"""Bound on the requests under one approval."""
MAX_APPROVAL_BYTES: Final = 8192
NONCE_BYTES: Final = 32

_MEMBERS: Final = ("count", "iat", "iss", "nonce", "operation", "region", "root")
_OPERATION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_TEXT: Final = re.compile(r"[0-9A-Z]{1,32}")


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval whose signature holds under the key that was given.

    Whether that key is the authority's, and the requests are its own, is for
    the caller to judge.
    """

    authority: str
    """Credit code of the approving authority."""
    region: RegionCode
    """Region that is to act on it."""
    operation: str
    """`ISSUE`, or a lifecycle operation."""
    issued_at: datetime
    """When it was signed, by the authority's clock, in UTC."""
    count: int
    """Number of requests approved."""
    root: bytes
    """Root of the Merkle tree over the requests' digests."""
    digest: bytes
    """SHA-256 of the compact JWS: what a log's leaf commits to."""

    def check_requests(self, request_digests: Sequence[bytes]) -> None:
        """Check that these are the requests approved, all of them, in order.

        Args:
            request_digests: SHA-256 of each request's exact bytes.

        Raises:
            VerificationError: Another number (``APPROVAL_COUNT``), another
                request or order (``APPROVAL_ROOT``).
        """
        if len(request_digests) != self.count:
            raise VerificationError(
                f"approval: {self.count} requests were approved", reason="APPROVAL_COUNT"
            )
        if root(request_digests) != self.root:
            raise VerificationError(
                "approval: other requests were approved", reason="APPROVAL_ROOT"
            )

    def check_request(self, request: bytes, index: int, proof: Sequence[bytes]) -> None:
        """Check that one request was approved, from its inclusion proof.

        Args:
            request: SHA-256 of the request's exact bytes.
            index: Its place in the batch.
            proof: Audit path, leaf to root.

        Raises:
            MalformedError: A proof of another form.
            VerificationError: It is not in the batch.
        """
        verify_inclusion(leaf_hash(request), index, proof, TreeHead(self.count, self.root))


@dataclass(frozen=True, slots=True)
class UnverifiedApproval:
    """A well-formed approval of which nothing is believed yet."""

    jws: UnverifiedJws
    """The JWS."""
    claimed: Approval
    """What it says; its authority is whose key to look up."""

    def verify_signature(self, key: PublicKey) -> Approval:
        """Check type, algorithm and signature.

        Raises:
            VerificationError: Another type (``TYP``), another algorithm, or a
                signature that does not hold.
        """
        self.jws.verify(key, typ=TYP)
        return self.claimed

    def verify(self, key: PublicKey, request_digests: Sequence[bytes]) -> Approval:
        """Check the signature, and that it approves these requests.

        Raises:
            VerificationError: See `verify_signature` and
                `Approval.check_requests`.
        """
        approval = self.verify_signature(key)
        approval.check_requests(request_digests)
        return approval


def approve(
    requests: Sequence[bytes],
    *,
    signer: Signer,
    authority: str,
    region: str,
    clock: Clock,
    entropy: Entropy,
    operation: str = ISSUE,
) -> str:
    """Sign an approval of requests and return the compact JWS.

    Args:
        requests: Exact bytes of 1 to 10,000 requests, in the order in which
            they will be handed over.
        signer: The authority's approval key.
        authority: Credit code of the authority.
        region: Region that is to act.
        clock: When it is signed.
        entropy: Source of 32 random bytes: without them, equal batches would
            show in the log.
        operation: `ISSUE`, or the operation of every change request.

    Raises:
        InvalidArgumentError: No or too many requests (``APPROVAL_COUNT``), or
            a code that is none.
    """
    if not 1 <= len(requests) <= MAX_BATCH:
        raise InvalidArgumentError(
            f"approval: 1 to {MAX_BATCH} requests are expected", reason="APPROVAL_COUNT"
        )
    if not is_credit_code(authority) or _OPERATION.fullmatch(operation) is None:
        raise InvalidArgumentError(
            "approval: a credit code and an operation are expected", reason="APPROVAL_FORM"
        )
    payload: dict[str, Json] = {
        "count": len(requests),
        "iat": to_seconds(clock.now()),
        "iss": authority,
        "nonce": b64url_encode(entropy.token(NONCE_BYTES)),
        "operation": operation,
        "region": parse_region_code(region),
        "root": b64url_encode(root(map(request_digest, requests))),
    }
    header = {"kid": b64url_encode(signer.public_key.thumbprint)}
    return sign_compact(signer, typ=TYP, header=header, payload=canonical_json(payload))


def parse_approval(token: str | bytes) -> UnverifiedApproval:
    """Parse an approval.

    Raises:
        MalformedError: Not a JWS, not canonical JSON, or a member that is
            unknown, missing or of another form.
    """
    jws = parse_compact(token, max_bytes=MAX_APPROVAL_BYTES)
    claims = parse_canonical_json(jws.payload, max_bytes=MAX_APPROVAL_BYTES)
    members = Members(claims, "approval", _MEMBERS)
    members.octets("nonce", min_bytes=NONCE_BYTES, max_bytes=NONCE_BYTES)
    members.integer("iat")
    count = members.integer("count", at_least=1)
    if count > MAX_BATCH:
        raise MalformedError(f"approval: more than {MAX_BATCH} requests", reason="TOO_LARGE")
    approval = Approval(
        authority=_credit_code(members.text("iss", _TEXT)),
        region=_region(members.text("region", _TEXT)),
        operation=members.text("operation", _OPERATION),
        issued_at=read_moment(claims, "iat"),
        count=count,
        root=members.octets("root", min_bytes=HASH_SIZE, max_bytes=HASH_SIZE),
        digest=approval_digest(jws.token),
    )
    return UnverifiedApproval(jws, approval)


def approval_digest(token: str) -> bytes:
    """Return SHA-256 of the exact compact JWS."""
    return sha256(token.encode("ascii")).digest()


def _credit_code(text: str) -> str:
    if not is_credit_code(text):
        raise MalformedError("approval: iss is not a credit code", reason="MEMBER_FORM")
    return text


def _region(text: str) -> RegionCode:
    try:
        return parse_region_code(text)
    except InvalidArgumentError as error:
        raise MalformedError("approval: region is not a region", reason="MEMBER_FORM") from error
