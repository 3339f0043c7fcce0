"""What a verifier believes of one region: its trust list, indexed for use.

Everything here was vouched for before it came: the trust list by the offline
roles, status tokens and checkpoints by keys that the list names. The caches
remember answers, never decide them: the same question without a cache has the
same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yinxin_proto.checkpoint import Checkpoint, VerifiedCheckpoint
from yinxin_proto.checkpoint import parse as parse_checkpoint
from yinxin_proto.cosignature import CosignatureVerifier
from yinxin_proto.error import MalformedError
from yinxin_proto.logkey import LogKind
from yinxin_proto.merkle import TreeHead
from yinxin_proto.scope import Authority
from yinxin_proto.trustlist import TrustList
from yinxin_verifier.certification import Certifier, HeaderFacts
from yinxin_verifier.knownlog import KnownLog
from yinxin_verifier.path import RecognitionPath
from yinxin_verifier.pinnedtree import PinnedTree
from yinxin_verifier.status import StatusBook

MAX_CACHED: Final = 256
"""Entries of each cache; a region has few signing keys and fewer checkpoints in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """When the trust repository was signed, and until when it may be used."""

    issued_at: int
    """When its timestamp was signed, Unix seconds: what the age counts from."""
    expires: int
    """First second at which its root or trust list no longer holds."""


class RegionTrust:
    """One region's trust, ready to be asked; immutable but for its caches.

    Args:
        trust_list: As the offline roles signed it.
        path: How the region was reached, itself last.
        freshness: Ages and expiry of the repository.
        statuses: The region's status tokens, verified.
        certifier: Judges certificate chains against the region's anchors.
        checkpoints: Signed notes by origin; each must verify.
        consistency: Proofs by (origin, smaller size, larger size).
        trees: Tiles of pinned and frozen trees.
        distrusts_ed25519: Count the logs' ML-DSA-44 signatures alone.

    Raises:
        VerificationError: A checkpoint that its log has not signed.
        MalformedError: A checkpoint of a log that the list does not name.
    """

    def __init__(
        self,
        *,
        trust_list: TrustList,
        path: RecognitionPath,
        freshness: Freshness,
        statuses: StatusBook,
        certifier: Certifier,
        checkpoints: Mapping[str, bytes],
        consistency: Mapping[tuple[str, int, int], Sequence[bytes]],
        trees: Iterable[PinnedTree] = (),
        distrusts_ed25519: bool = False,
    ) -> None:
        self.trust_list = trust_list
        self.path = path
        self.hop = path[-1]
        self.freshness = freshness
        self.statuses = statuses
        self._certifier = certifier
        self._consistency = consistency
        self._facts: dict[int, HeaderFacts] = {}
        self._checkpoints: dict[bytes, VerifiedCheckpoint] = {}
        self.witnesses = tuple(CosignatureVerifier(key) for key in trust_list.witnesses.keys)
        self.logs: Mapping[str, KnownLog] = {
            log.origin: KnownLog(log, distrusts_ed25519=distrusts_ed25519)
            for log in trust_list.logs
        }
        self._trees = {tree.head: tree for tree in trees}
        for origin, note in checkpoints.items():
            named = self.logs.get(origin)
            if named is None:
                raise MalformedError(
                    "checkpoint: of a log that the trust list does not name", reason="LOG_UNKNOWN"
                )
            named.head = self.checkpoint(named, note).head
        # Epochs of one tree: whatever one of them is tied to, they all are.
        known = [log for log in self.logs.values() if log.kind is LogKind.LICENCES]
        self.licence_logs: tuple[str, ...] = tuple(log.origin for log in known)
        """Origins of the epochs of the tree of licences."""
        anchors = {log.anchor for log in known if log.anchor is not None}
        self.anchors = tuple(sorted(anchors, key=lambda head: head.size, reverse=True))
        """Heads of that tree that receipts are held against, the largest first."""

    @property
    def domain(self) -> str:
        """The region's domain, as its issuers' ``iss`` carries it."""
        return self.trust_list.domain

    def issuers(self) -> Mapping[str, Authority]:
        """Return the authorities by the ``iss`` of their licences."""
        return {
            f"https://{self.domain}/authorities/{authority.code}": authority
            for authority in self.trust_list.authorities
        }

    def header_facts(self, header: Mapping[str, Any]) -> HeaderFacts:
        """Return what a token's header leads to: a key record and a chain.

        Args:
            header: The parser's read-only view, which equal headers share.
        """
        # By identity: the parser has already told equal headers from unequal
        # ones, and the facts keep the header alive, so no other can take its id.
        facts = self._facts.get(id(header))
        if facts is None:
            facts = self._certifier.facts(header)
            _remember(self._facts, id(header), facts)
        return facts

    def checkpoint(self, log: KnownLog, note: bytes) -> VerifiedCheckpoint:
        """Verify a checkpoint of ``log``; a note seen before is not verified again.

        Raises:
            MalformedError: Not a checkpoint.
            VerificationError: As `KnownLog.verify`.
        """
        verified = self._checkpoints.get(note)
        if verified is None or verified.origin != log.origin:
            verified = log.verify(parse_checkpoint(note), self.witnesses)
            _remember(self._checkpoints, note, verified)
        return verified

    def known_checkpoint(self, note: bytes) -> Checkpoint | None:
        """Return what a note says that was verified before; None if it was not."""
        verified = self._checkpoints.get(note)
        return None if verified is None else verified.checkpoint

    def consistency(self, origin: str, smaller: int, larger: int) -> Sequence[bytes] | None:
        """Return the proof that ties two sizes of a log, if we hold it."""
        return self._consistency.get((origin, smaller, larger))

    def tree(self, head: TreeHead) -> PinnedTree | None:
        """Return the tiles of a pinned tree, if we hold them."""
        return self._trees.get(head)


def _remember(cache: dict[Any, Any], key: object, value: object) -> None:
    if len(cache) >= MAX_CACHED:
        # The oldest goes; a racing thread may have taken it already.
        cache.pop(next(iter(cache), None), None)
    cache[key] = value
