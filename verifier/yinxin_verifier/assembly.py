"""From a verified trust repository to what a verdict can be formed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from yinxin_proto import certificate
from yinxin_proto.certificate import Certificate, CertificatePurpose
from yinxin_proto.crl import RevocationList, parse_crl
from yinxin_proto.error import VerificationError
from yinxin_proto.repository import RepositoryView
from yinxin_proto.repository_metadata import ROOT, TARGETS, TIMESTAMP, TRUST_LIST
from yinxin_proto.trustlist import TrustList
from yinxin_verifier.certification import Certifier, suite_of
from yinxin_verifier.parallelroot import check_cosigners
from yinxin_verifier.path import Hop
from yinxin_verifier.pinnedtree import PinnedTree
from yinxin_verifier.region import Freshness, RegionTrust
from yinxin_verifier.status import StatusBook, StatusVerifier

NO_PROOFS: Mapping[tuple[str, int, int], Sequence[bytes]] = {}


def assemble(
    view: RepositoryView,
    *,
    checkpoints: Mapping[str, bytes],
    consistency: Mapping[tuple[str, int, int], Sequence[bytes]] = NO_PROOFS,
    trees: Iterable[PinnedTree] = (),
    pq_root: bytes | None = None,
) -> RegionTrust:
    """Read a region's trust out of its repository.

    Args:
        view: The repository, walked from a pinned root.
        checkpoints: Signed notes by origin; they travel outside TUF.
        consistency: Proofs by (origin, smaller size, larger size).
        trees: Tiles of pinned and frozen trees.
        pq_root: The parallel root, where the verifier has pinned it: the logs'
            ML-DSA-44 signatures alone count then.

    Raises:
        MalformedError: A target that does not parse.
        VerificationError: Anchors, cosigners, revocation lists or checkpoints
            that do not hold, another parallel root than the pinned one
            (``PQ_ROOT_PINNED``), or a key in two roles (``KEY_PURPOSE``). A status token that
            does not hold is left out instead.
    """
    trust_list = TrustList.parse(view.target(TRUST_LIST))
    revocations = read_revocations(trust_list, map(view.target, view.paths("crl")))
    tokens = [_text(view.target(path)) for path in view.paths("status")]
    roles = view.roles
    hop = Hop(
        region=trust_list.region,
        domain=trust_list.domain,
        root_version=roles[ROOT].version,
        trust_version=roles[TARGETS].version,
    )
    return region_trust(
        trust_list,
        hop=hop,
        freshness=Freshness(
            issued_at=int(roles[TIMESTAMP].issued_at.timestamp()),
            expires=int(min(roles[ROOT].expires, roles[TARGETS].expires).timestamp()),
        ),
        tokens=tokens,
        revocations=revocations,
        checkpoints=checkpoints,
        consistency=consistency,
        trees=trees,
        pq_root=pq_root,
    )


def region_trust(
    trust_list: TrustList,
    *,
    hop: Hop,
    freshness: Freshness,
    tokens: Iterable[str] = (),
    revocations: Sequence[RevocationList] = (),
    checkpoints: Mapping[str, bytes] | None = None,
    consistency: Mapping[tuple[str, int, int], Sequence[bytes]] = NO_PROOFS,
    trees: Iterable[PinnedTree] = (),
    pq_root: bytes | None = None,
) -> RegionTrust:
    """Put a region's trust together from its parts; errors as `assemble`."""
    _check_separation(trust_list)
    check_cosigners(trust_list, pinned=pq_root)
    signers = Certifier(
        trust_list=trust_list,
        purpose=CertificatePurpose.STATUS_SIGNING,
        revocations=revocations,
    )
    return RegionTrust(
        trust_list=trust_list,
        path=(hop,),
        freshness=freshness,
        statuses=StatusBook(
            verifier=StatusVerifier(trust_list=trust_list, certifier=signers), tokens=tokens
        ),
        certifier=Certifier(
            trust_list=trust_list,
            purpose=CertificatePurpose.LICENCE_SIGNING,
            revocations=revocations,
        ),
        checkpoints=checkpoints or {},
        consistency=consistency,
        trees=trees,
        distrusts_ed25519=pq_root is not None,
    )


def _check_separation(trust_list: TrustList) -> None:
    """Refuse a key in two roles: each CA certifies for one purpose, and signs nothing else."""
    anchors = trust_list.anchors
    parallel = () if anchors.pq_root is None else (anchors.pq_root,)
    roles = ((anchors.root,), parallel, anchors.licence, anchors.status, anchors.tls)
    # A CA that was renewed has two certificates of one key, both in its own role.
    keys = [{certificate.parse(der).thumbprint for der in ders} for ders in roles]
    keys.append({record.thumbprint for _, record in trust_list.owned_keys()})
    if len(set().union(*keys)) != sum(map(len, keys)):
        raise VerificationError(
            "trust list: one key in two roles, or a CA that signs more than certificates",
            reason="KEY_PURPOSE",
        )


def read_revocations(trust_list: TrustList, lists: Iterable[bytes]) -> tuple[RevocationList, ...]:
    """Verify revocation lists against the region's CAs.

    Raises:
        MalformedError: Not a complete CRL.
        VerificationError: A list that no CA of the trust list has signed. It is
            refused rather than left out: leaving it out would un-revoke.
    """
    anchors = trust_list.anchors
    ders = (anchors.root, *anchors.licence, *anchors.status, *anchors.tls)
    authorities = [certificate.parse(der) for der in ders]
    return tuple(_revocation(der, authorities) for der in lists)


def _revocation(der: bytes, authorities: Sequence[Certificate]) -> RevocationList:
    listed = parse_crl(der)
    refused: VerificationError | None = None
    for ca in authorities:
        # A CA that was renewed has two certificates of one name.
        if ca.subject == listed.content.issuer:
            try:
                return listed.verify(ca, suite=suite_of(ca))
            except VerificationError as error:
                refused = error
    raise refused or VerificationError(
        "CRL: no CA of the trust list is its issuer", reason="CRL_ISSUER"
    )


def _text(token: bytes) -> str:
    # What is not ASCII is no token: its parser says so, and the others stand.
    return token.decode("ascii", "replace").strip()
