"""One verification under way: the question, and what the steps have found so far.

A step reads what earlier steps have put here and adds its own; the engine runs
a step only when those that it builds on have passed, so what is declared
without a first value is set before anything reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from yinxin_proto.checkpoint import Checkpoint, VerifiedCheckpoint
from yinxin_proto.receipt import Receipt
from yinxin_proto.scope import Authority
from yinxin_proto.sdjwt import SdJwt
from yinxin_verifier.certification import Certification, HeaderFacts, Issuer
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.policy import Policy
from yinxin_verifier.region import RegionTrust
from yinxin_verifier.status import StatusSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the licence is asked for, as the verifier put it to the holder."""

    purpose: str | None = None
    """用证事由, at most 200 characters."""
    audience: str | None = None
    """Who asks, as the key-binding JWT must name it."""
    nonce: str | None = None
    """The challenge that the key-binding JWT must repeat."""


class ProvenBy(Enum):
    """What a licence's proven time rests on."""

    NOBODY = auto()
    """Nothing: it is the moment of verification."""
    WITNESSES = auto()
    """A quorum of witnesses cosigned the receipt's checkpoint then."""
    PIN = auto()
    """Its entry is below its key's pin, and the key had ended by then."""


class Examination:
    """The working state of one verification; lives as long as its report.

    Times are seconds since 1970 UTC.
    """

    __slots__ = (
        "at",
        "authority",
        "certification",
        "checkpoint",
        "evidence",
        "facts",
        "is_pinned",
        "is_whole",
        "issued_at",
        "issuer",
        "known_region",
        "leaf",
        "licence_type",
        "linked",
        "now",
        "opening_bytes",
        "payload",
        "policy",
        "proven_at",
        "proven_by",
        "receipt",
        "receipt_bytes",
        "region",
        "request",
        "sd_jwt",
        "snapshot",
        "stated",
        "status_index",
        "status_uri",
    )

    def __init__(
        self, evidence: Evidence, policy: Policy, now: int, at: int, request: Request | None
    ) -> None:
        self.evidence = evidence
        self.policy = policy
        self.now = now
        self.at = at
        self.request = request
        self.payload: Mapping[str, Any] = {}
        """The signed payload, digests and all."""
        self.is_whole = False
        """Whether disclosures match their digests, so that claims can be put together."""
        self.region: RegionTrust | None = None
        """The issuing region; None where it was not reached."""
        self.receipt: Receipt | None = None
        self.stated: Checkpoint | None = None
        """What the receipt's checkpoint says, before its signature was checked."""
        self.checkpoint: VerifiedCheckpoint | None = None
        """The same, once its log's signature was found to hold."""
        self.linked = False
        """Whether the receipt's tree was tied to a head that we hold."""
        self.proven_at = now
        """The licence existed no later than this; see ``proven_by``."""
        self.proven_by = ProvenBy.NOBODY
        self.is_pinned = False
        """Whether the entry was found in the tree that the key's pin names."""
        self.snapshot: StatusSnapshot | None = None

    # format
    sd_jwt: SdJwt
    receipt_bytes: bytes | None
    opening_bytes: bytes | None
    # type
    licence_type: str
    # region, key, chain
    known_region: RegionTrust
    """The issuing region, where it was reached."""
    authority: Authority | None
    """The authority that ``iss`` names, if the region's list has it."""
    facts: HeaderFacts
    issuer: Issuer
    certification: Certification
    # claims
    issued_at: int
    """``iat``: the licence's own word on when."""
    status_uri: str
    status_index: int
    # opening
    leaf: bytes
    """Leaf hash recomputed from what was presented."""
