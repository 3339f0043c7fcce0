"""A small signed world in memory: one region, its keys, its log, its licences.

Everything is real (certificates, trust list, TUF repository, log, status list),
and the holder of this object plays every part, the thief's included. Nothing
is stored; time stands where the clock is set. All people and bodies are
invented: birth dates lie in the 1800s.
"""

# ruff: noqa: ANN401 - changes are passed on to dataclasses.replace

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.clock import FixedClock, SeededEntropy
from support.hierarchy import AUTHORITY, DOMAIN, ORGANISATION, REGION, Hierarchy
from support.trust_repository import PublishedRepository
from yinxin_ca.profile import LICENCE, STATUS
from yinxin_ca.subject import Subject
from yinxin_proto import merkle, sdjwt
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.cosignature import CosignatureSigner
from yinxin_proto.identifier import new as new_identifier
from yinxin_proto.issuer import issue
from yinxin_proto.issuerequest import Holder, IssueRequest
from yinxin_proto.jose import encode_x5c
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState
from yinxin_proto.leaf import Opening, evidence_hash
from yinxin_proto.licence import LicenceFile, build_claims
from yinxin_proto.logkey import FrozenHead, LogCosigner, LogKey, LogKind, Witnesses
from yinxin_proto.merkle import TreeHead
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.name import parse_region_code
from yinxin_proto.note import LineSigner, NoteSigner
from yinxin_proto.number import IdentifierType
from yinxin_proto.number import parse as parse_number
from yinxin_proto.receipt import Receipt
from yinxin_proto.scope import Authority, TypeScope
from yinxin_proto.statuslist import StatusList, StatusReference, StatusToken
from yinxin_proto.suite import ES256, SigningKey
from yinxin_proto.trustlist import Anchors, TrustList
from yinxin_verifier.assembly import read_revocations, region_trust
from yinxin_verifier.evidence import TrustSet
from yinxin_verifier.packfile import Manifest, TreeFile
from yinxin_verifier.path import Hop
from yinxin_verifier.pinnedtree import Blocks, PinnedTree, layout
from yinxin_verifier.region import Freshness

CODE = AUTHORITY.organisation_code or ""
TYPE = "11100000MB03271699001"
ORIGIN = f"{DOMAIN}/log/{REGION}/licences/1"
STATUS_URI = f"https://{DOMAIN}/status/1"
PERSON = "350302188503150016"
"""Born in 1885; belongs to nobody."""
LIST_ENTRIES = 1024
STATUS_LIFETIME = timedelta(days=1)

ClaimChange = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Issued:
    """One licence, and everything that went into it."""

    sd_jwt: str
    """With every field disclosed."""
    index: int
    """In the log."""
    status_index: int
    opening: Opening
    claims: dict[str, Any]


@dataclass
class RegionBuilder:
    """One region's worth of keys, and whatever is done with them."""

    clock: FixedClock = field(default_factory=FixedClock)
    entropy: SeededEntropy = field(default_factory=SeededEntropy)
    domain: str = DOMAIN
    witnesses: int = 0

    def __post_init__(self) -> None:
        self.hierarchy = Hierarchy(clock=self.clock, entropy=self.entropy)
        self.since = int(self.clock.now().timestamp())
        self.key: SigningKey = ES256.load_deterministic(301)
        self.chain = self.certify(self.key)
        self.status_key: SigningKey = ES256.load_deterministic(302)
        self.status_chain = self.certify_status(self.status_key)
        self.origin = ORIGIN
        self.log_signer = NoteSigner(name=ORIGIN, key=b"\x05" * 32)
        self.cosigner_key = ML_DSA_44.load_seed(b"\x06" * 32)
        self.cosigner: LineSigner | None = self.cosigner_of(ORIGIN)
        self.past_logs: list[LogKey] = []
        self.ed25519_broken = False
        self.witness_signers = [self._witness(place) for place in range(self.witnesses)]
        self.leaves: list[bytes] = []
        self.values: dict[int, int] = {}
        self.crls: list[bytes] = []
        self.records: dict[bytes, KeyRecord] = {}
        self.add_key(self.key)
        self.scopes: tuple[TypeScope, ...] = (TypeScope(type=TYPE, not_before=self.since),)
        self.frozen: FrozenHead | None = None
        self.closed: FrozenHead | None = None

    def _witness(self, place: int) -> LineSigner:
        key = Ed25519PrivateKey.from_private_bytes(bytes([100 + place]) * 32)
        return CosignatureSigner(name=f"witness-{place}.example", key=key, clock=self.clock)

    def cosigner_of(self, origin: str) -> CosignatureSigner:
        """Return the ML-DSA-44 cosigner of a log."""
        return CosignatureSigner(name=origin, key=self.cosigner_key, clock=self.clock)

    def succeed(self, *, frozen: FrozenHead | None = None) -> None:
        """Start the next epoch of the log: the same tree, under another key.

        Args:
            frozen: What the past epoch was frozen at; it was closed at the
                present head when omitted.
        """
        head = self.head()
        closed = FrozenHead(size=head.size, root=head.root) if frozen is None else None
        self.past_logs.append(
            dataclasses.replace(self.log_key(), closed_at=closed, frozen_at=frozen)
        )
        kind, epoch = self.origin.rsplit("/", 1)
        self.origin = f"{kind}/{int(epoch) + 1}"
        self.log_signer = NoteSigner(name=self.origin, key=bytes([len(self.past_logs)]) * 32)
        self.cosigner = self.cosigner_of(self.origin)

    def log_key(self) -> LogKey:
        """Return what the trust list says of the log."""
        cosigner = None
        if self.cosigner is not None:
            key = self.cosigner_key.public_key
            certificate = self.hierarchy.cosigner_certificate(self.origin, key)
            cosigner = LogCosigner(vkey=self.cosigner.vkey.to_text(), certificate=certificate)
        return LogKey(
            origin=self.origin,
            kind=LogKind.LICENCES,
            vkey=self.log_signer.vkey.to_text(),
            closed_at=self.closed,
            frozen_at=self.frozen,
            cosigner=cosigner,
            ed25519_broken=self.ed25519_broken,
        )

    # --- keys and certificates ------------------------------------------------

    def certify(self, key: SigningKey) -> tuple[bytes, ...]:
        """Return a licence-signing chain for ``key``, leaf first."""
        leaf = self.hierarchy.licences.issue(LICENCE, subject=AUTHORITY, public_key=key.public_key)
        return self.hierarchy.licences.chain(leaf)

    def certify_status(self, key: SigningKey) -> tuple[bytes, ...]:
        """Return a status-signing chain for ``key``, leaf first."""
        subject = Subject(organisation=ORGANISATION, common_name="status 1")
        leaf = self.hierarchy.status.issue(STATUS, subject=subject, public_key=key.public_key)
        return self.hierarchy.status.chain(leaf)

    def add_key(
        self,
        key: SigningKey,
        *,
        purpose: KeyPurpose = KeyPurpose.LICENCE,
        state: KeyState = KeyState.ACTIVE,
        **changes: Any,
    ) -> None:
        """Put a key of the authority into the trust list, or change its record."""
        self.records[key.public_key.thumbprint] = KeyRecord(
            suite="ES256",
            purpose=purpose,
            spki=key.public_key.spki,
            state=state,
            **{"not_before": self.since, **changes},
        )

    # --- licences -------------------------------------------------------------

    def request(self, *, fields: int = 0, **changes: Any) -> IssueRequest:
        """Return an issue request for an invented person."""
        request = IssueRequest(
            region=parse_region_code(REGION),
            type=TYPE,
            type_version=1,
            issuer=CODE,
            number="虚构证字第00001号",
            issued_on=date(2026, 1, 1),
            valid_from=date(2026, 1, 1),
            valid_until=date(2035, 12, 31),
            holders=(Holder("虚构人甲", parse_number(IdentifierType.CITIZEN_ID, PERSON)),),
            fields={f"KZ_F{place}": f"虚构内容{place}" for place in range(fields)},
            holder_key=None,
            nonce=self.entropy.token(32),
        )
        return dataclasses.replace(request, **changes)

    def issue(
        self,
        *,
        request: IssueRequest | None = None,
        change: ClaimChange | None = None,
        key: SigningKey | None = None,
        chain: Sequence[bytes] | None = None,
        typ: str = sdjwt.TYP,
        header: Mapping[str, Any] | None = None,
        logged: bool = True,
    ) -> Issued:
        """Sign a licence and log it; ``change`` edits its claims before signing."""
        request = request or self.request()
        index, status_index = len(self.leaves), len(self.values)
        self.values[status_index] = 0
        identifier = new_identifier(type=request.type, issuer=request.issuer, serial=f"{index:020}")
        claims = build_claims(
            request,
            identifier=identifier,
            status=StatusReference(STATUS_URI, status_index),
            domain=self.domain,
            type_name="虚构许可证",
            authority_name=AUTHORITY.organisation,
            issued_at=self.clock.now(),
        )
        if change is not None:
            change(claims)
        signer = key or self.key
        x5c = {"x5c": encode_x5c(tuple(self.chain if chain is None else chain))}
        issued = issue(
            claims,
            signer=signer,
            entropy=self.entropy,
            typ=typ,
            header=x5c if header is None else header,
        )
        opening = Opening(
            approval=self.entropy.token(32),
            evidence=evidence_hash(self.chain, b""),
            request=request.digest,
            salt=self.entropy.token(32),
        )
        entry = opening.licence_entry(
            issued.issuer_jwt.encode(),
            signer.public_key.thumbprint,
            str(claims.get("ZZBS", "")) or "-",
            STATUS_URI,
            status_index,
        )
        if logged:
            self.leaves.append(merkle.leaf_hash(entry))
        return Issued(
            sd_jwt=issued.to_text(),
            index=index,
            status_index=status_index,
            opening=opening,
            claims=claims,
        )

    def undisclosed(self, issued: Issued) -> str:
        """Return the presentation that shows nothing selective."""
        return sdjwt.parse(issued.sd_jwt).select(lambda _: False).to_text()

    # --- log ------------------------------------------------------------------

    def fill_log(self, count: int) -> None:
        """Log entries of no interest."""
        self.leaves += [merkle.leaf_hash(self.entropy.token(32)) for _ in range(count)]

    def node(self, level: int, index: int) -> bytes:
        """Return a node of the log; see `merkle.NodeReader`."""
        width = 1 << level
        return merkle.root_of_hashes(b"".join(self.leaves[index * width : (index + 1) * width]))

    def head(self, size: int | None = None) -> TreeHead:
        """Return the log's head, or an earlier one."""
        size = len(self.leaves) if size is None else size
        return TreeHead(size, merkle.root_of_hashes(b"".join(self.leaves[:size])))

    def checkpoint(
        self,
        size: int | None = None,
        *,
        root: bytes | None = None,
        signer: NoteSigner | None = None,
        witnesses: Sequence[LineSigner] | None = None,
    ) -> bytes:
        """Return the log's signed checkpoint, or an earlier one."""
        head = self.head(size)
        signers: Sequence[LineSigner] = self.witness_signers if witnesses is None else witnesses
        log = signer or self.log_signer
        if self.cosigner is not None and signer is None:
            signers = [self.cosigner, *signers]
        checkpoint = Checkpoint(
            origin=log.vkey.name, size=head.size, root=head.root if root is None else root
        )
        return checkpoint.sign([log, *signers])

    def consistency(self, smaller: int, larger: int) -> tuple[bytes, ...]:
        """Return the proof that ties two sizes of the log."""
        return tuple(merkle.consistency_proof(smaller, larger, self.node))

    def tree_bytes(self, size: int, blocks: Blocks) -> bytes:
        """Return the tiles of an earlier tree, as a pack carries them."""
        parts = []
        for tile in layout(size, blocks):
            first = tile.index * 256
            level = 8 * (tile.level or 0)
            parts += [self.node(level, first + at) for at in range(tile.width)]
        return b"".join(parts)

    def receipt(self, issued: Issued, *, size: int | None = None) -> Receipt:
        """Return a licence's receipt, under the current head or an earlier one."""
        size = len(self.leaves) if size is None else size
        return Receipt(
            index=issued.index,
            proof=tuple(merkle.inclusion_proof(issued.index, size, self.node)),
            checkpoint=self.checkpoint(size),
        )

    def file(
        self,
        issued: Issued,
        *,
        sd_jwt: str | None = None,
        receipt: Receipt | None = None,
        size: int | None = None,
    ) -> bytes:
        """Return the licence as its holder keeps it, receipt and all."""
        receipt = receipt or self.receipt(issued, size=size)
        return LicenceFile(
            sd_jwt or issued.sd_jwt, issued.opening.to_bytes(), receipt.to_bytes()
        ).to_bytes()

    # --- status ---------------------------------------------------------------

    def status_token(
        self,
        *,
        key: SigningKey | None = None,
        chain: Sequence[bytes] | None = None,
        **changes: Any,
    ) -> str:
        """Return the region's status list, signed now."""
        filled = StatusList.filled(size=LIST_ENTRIES)
        token = StatusToken(
            uri=STATUS_URI,
            issued_at=self.clock.now(),
            expires_at=self.clock.now() + STATUS_LIFETIME,
            ttl=timedelta(hours=1),
            log_size=len(self.leaves),
            list=filled.replace({at: value for at, value in self.values.items() if value}),
        )
        return dataclasses.replace(token, **changes).sign(
            key or self.status_key, self.status_chain if chain is None else chain
        )

    # --- trust ----------------------------------------------------------------

    def trust_list(self, **changes: Any) -> TrustList:
        """Return the region's trust list as it is now."""
        hierarchy = self.hierarchy
        listed = TrustList(
            region=REGION,
            domain=self.domain,
            issued_at=int(self.clock.now().timestamp()),
            anchors=Anchors(
                root=hierarchy.root.certificate,
                licence=(hierarchy.licences.certificate,),
                status=(hierarchy.status.certificate,),
                tls=(hierarchy.tls.certificate,),
                pq_root=hierarchy.parallel.certificate,
            ),
            authorities=(
                Authority(
                    code=CODE,
                    name=AUTHORITY.organisation,
                    types=self.scopes,
                    keys=tuple(self.records.values()),
                ),
            ),
            status_keys=(
                KeyRecord(
                    suite="ES256",
                    purpose=KeyPurpose.STATUS,
                    spki=self.status_key.public_key.spki,
                    state=KeyState.ACTIVE,
                    not_before=self.since,
                ),
            ),
            logs=(
                *self.past_logs,
                self.log_key(),
            ),
            witnesses=Witnesses(
                quorum=len(self.witness_signers),
                keys=tuple(signer.vkey.to_text() for signer in self.witness_signers),
            ),
        )
        return dataclasses.replace(listed, **changes)

    def trust(
        self,
        *,
        trust_list: TrustList | None = None,
        tokens: Sequence[str] | None = None,
        checkpoint: bytes | None = None,
        proofs: Sequence[tuple[int, int]] = (),
        trees: Sequence[tuple[int, Blocks]] = (),
        pq_root: bytes | None = None,
        lifetime: timedelta = timedelta(days=365),
    ) -> TrustSet:
        """Return what a verifier at home believes now, without a repository around it."""
        listed = trust_list or self.trust_list()
        now = int(self.clock.now().timestamp())
        checkpoints = {self.origin: checkpoint or self.checkpoint()} if self.leaves else {}
        home = region_trust(
            listed,
            hop=Hop(region=REGION, domain=listed.domain, root_version=1, trust_version=1),
            freshness=Freshness(issued_at=now, expires=now + int(lifetime.total_seconds())),
            tokens=[self.status_token()] if tokens is None else tokens,
            revocations=read_revocations(listed, self.crls),
            checkpoints=checkpoints,
            consistency={(self.origin, a, b): self.consistency(a, b) for a, b in proofs},
            trees=[
                PinnedTree(self.head(size), blocks, self.tree_bytes(size, blocks))
                for size, blocks in trees
            ],
            pq_root=pq_root,
        )
        return TrustSet(home=home)

    # --- pack -----------------------------------------------------------------

    def repository(self) -> PublishedRepository:
        """Publish a trust repository with the trust list, status list and CRLs."""
        published = PublishedRepository(clock=self.clock)
        published.update("targets", {"trust.json": self.trust_list().to_bytes()})
        stale: dict[str, bytes | None] = dict.fromkeys(published.load().paths("status"))
        published.update("status", {**stale, "status/1.jwt": self.status_token().encode()})
        lists: dict[str, bytes | None] = dict.fromkeys(published.load().paths("crl"))
        fresh = {f"crl/{place}.crl": der for place, der in enumerate(self.crls)}
        published.update("crl", {**lists, **fresh})
        return published

    def pack(
        self,
        *,
        repository: PublishedRepository | None = None,
        proofs: Sequence[tuple[int, int]] = (),
        trees: Sequence[tuple[int, tuple[tuple[int, int], ...]]] = (),
    ) -> dict[str, bytes]:
        """Return the files of an offline pack."""
        published = repository or self.repository()
        manifest = Manifest(
            checkpoints={self.origin: "checkpoints/0"},
            consistency={(self.origin, a, b): self.consistency(a, b) for a, b in proofs},
            trees={
                self.head(size): TreeFile(file=f"trees/{place}", blocks=blocks)
                for place, (size, blocks) in enumerate(trees)
            },
        )
        tiles = {
            f"trees/{place}": self.tree_bytes(size, blocks)
            for place, (size, blocks) in enumerate(trees)
        }
        return {
            **published.files,
            **tiles,
            "pack.json": manifest.to_bytes(),
            "checkpoints/0": self.checkpoint(),
        }
