"""Gathering what a verdict lacks, from whoever can be asked.

Fetching decides nothing. What could not be had is put into the evidence as
not had, and the verdict says "cannot be confirmed": a network fault reported
as "revoked" or as "valid" is a lie either way (design section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from yinxin_proto import sdjwt
from yinxin_proto.error import (
    DeadlineExceededError,
    MalformedError,
    UnavailableError,
)
from yinxin_proto.licence import LicenceFile
from yinxin_proto.statuslist import StatusReference
from yinxin_verifier.evidence import Evidence, LogAnswer, TrustSet
from yinxin_verifier.policy import Policy, ReceiptRule


@dataclass(frozen=True, slots=True)
class LogProof:
    """What a region's own log gives for a licence that it holds."""

    opening: bytes
    """Canonical JSON of the leaf's opening."""
    receipt: bytes
    """Proof of inclusion (C2SP tlog-proof)."""


class EvidenceSource(Protocol):
    """Whoever can be asked: the region's service, a mirror, a test."""

    def status_token(self, uri: str) -> str:
        """Return the current status token of a list.

        Raises:
            UnavailableError: It could not be had now.
            DeadlineExceededError: It took too long.
        """
        ...

    def log_proof(self, identifier: str) -> LogProof | None:
        """Return the log's proof of a licence; None where the log denies it.

        Raises:
            UnavailableError: The log could not be asked.
            DeadlineExceededError: It took too long.
        """
        ...


def gather(
    licence: bytes | str, trust: TrustSet, source: EvidenceSource, *, policy: Policy
) -> Evidence:
    """Return evidence for one licence, asked for where the policy wants it.

    Args:
        licence: As presented; a malformed one is left for the verdict to say so.
        trust: What is believed about regions.
        source: Whom to ask.
        policy: Whether a licence without receipt is asked for in the log.
    """
    presented = licence.encode("utf-8", "replace") if isinstance(licence, str) else licence
    try:
        file = LicenceFile.parse(presented)
        payload = sdjwt.parse(file.sd_jwt).payload
        reference = StatusReference.from_claims(payload)
    except MalformedError:
        return Evidence(licence=licence, trust=trust)
    fetched = {} if reference is None else {reference.uri: _status(source, reference.uri)}
    identifier = payload.get("ZZBS")
    if (
        policy.receipt is not ReceiptRule.OR_LOG_ASKED
        or (file.receipt is not None and file.opening is not None)
        or not isinstance(identifier, str)
    ):
        return Evidence(licence=licence, trust=trust, fetched=fetched)
    answer, proof = _ask_log(source, identifier)
    return Evidence(
        licence=licence,
        trust=trust,
        fetched=fetched,
        log_answer=answer,
        opening=None if proof is None else proof.opening,
        receipt=None if proof is None else proof.receipt,
    )


def _status(source: EvidenceSource, uri: str) -> str | None:
    try:
        return source.status_token(uri)
    except (UnavailableError, DeadlineExceededError):
        return None


def _ask_log(source: EvidenceSource, identifier: str) -> tuple[LogAnswer, LogProof | None]:
    try:
        proof = source.log_proof(identifier)
    except (UnavailableError, DeadlineExceededError):
        return LogAnswer.UNREACHABLE, None
    return (LogAnswer.ABSENT if proof is None else LogAnswer.CONFIRMED), proof
