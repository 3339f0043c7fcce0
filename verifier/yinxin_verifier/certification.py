"""From a token's header to a key of the trust list, and a chain to an anchor.

Nothing here depends on time: what a chain says about when is kept beside it,
and the steps judge it at the proven moment. So one header's facts can be
remembered, and a thousand licences of one authority cost one chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yinxin_proto import certificate
from yinxin_proto.certificate import (
    Certificate,
    CertificatePurpose,
    check_permitted,
    verify_link,
)
from yinxin_proto.crl import RevocationList
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError, YinxinError
from yinxin_proto.identifier import IdentifierSeries
from yinxin_proto.jose import x5c_chain
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord
from yinxin_proto.scope import Authority, TypeScope
from yinxin_proto.signature import PublicKey, Suite
from yinxin_proto.suite import names, suite
from yinxin_proto.trustlist import TrustList
from yinxin_verifier import reason
from yinxin_verifier.reason import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A licence-signing key of the trust list, and whose it is."""

    record: KeyRecord
    key: PublicKey
    authority: Authority
    thumbprint: bytes
    """SHA-256 of the key's SPKI, 32 bytes."""
    scopes: Mapping[str, tuple[TypeScope, ...]]
    """The authority's scopes by licence type."""
    series: Mapping[str, IdentifierSeries]
    """The identifiers it may give, by licence type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """What a chain says, once its signatures and constraints hold."""

    leaf: Certificate
    not_before: int
    """First second at which every certificate of the chain is valid."""
    not_after: int
    """Last second at which every certificate of the chain is valid."""
    leaf_revoked_at: int | None
    """Revocation of the signing key's own certificate; None: none is known."""
    authority_revoked_at: int | None
    """Earliest revocation of a certificate above it; None: none is known."""
    revocation_issued_at: int | None
    """Issue of the oldest CRL consulted; None where one is missing."""
    revocation_until: int
    """When the first of the CRLs consulted is due to be replaced; 0 where one is missing."""

    @property
    def revoked_at(self) -> int | None:
        """Earliest revocation of a certificate in the chain; None: none is known."""
        known = (self.leaf_revoked_at, self.authority_revoked_at)
        return min((found for found in known if found is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """What one protected header leads to; either part may be a finding instead."""

    header: Mapping[str, Any]
    """Kept alive, since it is looked up by identity."""
    issuer: Issuer | None = None
    issuer_finding: Finding | None = None
    certification: Certification | None = None
    chain_finding: Finding | None = None


class Certifier:
    """Judges headers against one region's trust list and anchors.

    Args:
        trust_list: As the offline roles signed it.
        purpose: What the certificates must be for.
        revocations: The region's revocation lists, verified.

    Raises:
        MalformedError: An anchor that is no certificate.
        VerificationError: An anchor that the region's root did not issue.
    """

    def __init__(
        self,
        *,
        trust_list: TrustList,
        purpose: CertificatePurpose,
        revocations: Iterable[RevocationList] = (),
    ) -> None:
        anchors = trust_list.anchors
        self._list = trust_list
        self._purpose = purpose
        self._root = certificate.parse(anchors.root)
        self._revocations: dict[bytes, list[RevocationList]] = {}
        for listed in revocations:
            self._revocations.setdefault(listed.issuer, []).append(listed)
        issuing = (
            anchors.licence if purpose is CertificatePurpose.LICENCE_SIGNING else anchors.status
        )
        self._anchors = tuple(map(certificate.parse, issuing))
        for anchor in self._anchors:
            verify_link(anchor, self._root, suite_of(self._root), intermediates=0)

    def facts(self, header: Mapping[str, Any]) -> HeaderFacts:
        """Return what a header leads to."""
        try:
            chain = [certificate.parse(der) for der in x5c_chain(header)]
        except MalformedError as error:
            finding = reason.NO_CHAIN.because(error.reason)
            return HeaderFacts(header=header, issuer_finding=finding)
        issuer = self._issuer(chain[0], header)
        if isinstance(issuer, Finding):
            return HeaderFacts(header=header, issuer_finding=issuer)
        certification = self.certify(chain, self._name_of(issuer.authority))
        if isinstance(certification, Finding):
            return HeaderFacts(header=header, issuer=issuer, chain_finding=certification)
        return HeaderFacts(header=header, issuer=issuer, certification=certification)

    def _name_of(self, authority: Authority) -> str:
        return f"https://{self._list.domain}/authorities/{authority.code}"

    def _issuer(self, leaf: Certificate, header: Mapping[str, Any]) -> Issuer | Finding:
        found = self._list.find_key(leaf.thumbprint)
        if found is None:
            return reason.KEY_NOT_TRUSTED
        authority, record = found
        if authority is None or record.purpose is not KeyPurpose.LICENCE:
            return reason.KEY_NOT_TRUSTED.because("KEY_PURPOSE")
        try:
            key = record.public_key
        except ConfigurationError:
            return reason.SUITE_UNKNOWN
        if header.get("alg") != key.suite.jose_alg:
            return reason.ALGORITHM
        types = {scope.type for scope in authority.types}
        return Issuer(
            record=record,
            key=key,
            authority=authority,
            thumbprint=record.thumbprint,
            scopes={t: tuple(s for s in authority.types if s.type == t) for t in types},
            series={t: IdentifierSeries(type=t, issuer=authority.code) for t in types},
        )

    def certify(self, chain: Sequence[Certificate], name: str | None) -> Certification | Finding:
        """Check a chain, leaf first, against the anchors; not when it was valid.

        Args:
            chain: As presented; it may repeat its anchor and the root.
            name: URI that the leaf must carry if it carries any.
        """
        known = {self._root.der, *(anchor.der for anchor in self._anchors)}
        if not chain or chain[0].der in known:
            return reason.NO_CHAIN.because("CHAIN_LENGTH")
        found = self._path(chain)
        if found is None:
            return reason.NO_CHAIN
        path, anchor = found
        try:
            path[0].check_purpose(self._purpose)
            check_permitted([*path, anchor])
            for depth, (child, above) in enumerate(zip(path, [*path[1:], anchor], strict=True)):
                verify_link(child, above, suite_of(above), intermediates=depth)
        except YinxinError as error:
            return reason.CHAIN_CONSTRAINTS.because(error.reason)
        if name is not None and path[0].uris and name not in path[0].uris:
            return reason.CHAIN_CONSTRAINTS.because("CERTIFICATE_NAME")
        return self._certification([*path, anchor])

    def _path(
        self, chain: Sequence[Certificate]
    ) -> tuple[Sequence[Certificate], Certificate] | None:
        """Return the shortest path from the leaf to an anchor, and the anchor.

        What is presented beyond it is another path, or nothing: an authority
        that was certified by two roots has two certificates of one key, and
        its holders carry the one that was current when they were issued.
        """
        for length, last in enumerate(chain, start=1):
            anchor = self._anchor_of(last)
            if anchor is not None:
                return chain[:length], anchor
        return None

    def _anchor_of(self, last: Certificate) -> Certificate | None:
        for anchor in self._anchors:
            if last.issuer == anchor.subject and (
                last.authority_key_id is None or last.authority_key_id == anchor.subject_key_id
            ):
                return anchor
        return None

    def _certification(self, path: Sequence[Certificate]) -> Certification:
        # A shard speaks for the certificates that name it; what a list of the same
        # issuer does say of a serial number counts wherever it stands.
        speaking = [
            [listed for listed in self._revocations.get(found.issuer, ()) if listed.covers(found)]
            for found in path
        ]
        known = [listed for lists in speaking for listed in lists]
        complete = all(speaking)
        return Certification(
            leaf=path[0],
            not_before=max(_seconds(found.not_before) for found in path),
            not_after=min(_seconds(found.not_after) for found in path),
            leaf_revoked_at=self._revoked_at(path[:1]),
            authority_revoked_at=self._revoked_at(path[1:]),
            revocation_issued_at=(
                min(_seconds(listed.this_update) for listed in known) if complete else None
            ),
            revocation_until=min((_seconds(listed.next_update) for listed in known), default=0)
            if complete
            else 0,
        )

    def _revoked_at(self, path: Sequence[Certificate]) -> int | None:
        revoked = [
            entry.revoked_at
            for found in path
            for listed in self._revocations.get(found.issuer, ())
            if (entry := listed.entries.get(found.serial_number)) is not None
        ]
        return _seconds(min(revoked)) if revoked else None


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def suite_of(issuer: Certificate) -> Suite:
    """Return the suite that an anchor's key belongs to.

    An anchor is trusted as a whole, its key's kind included, so its own SPKI
    may say which suite it is; a message never may.

    Raises:
        VerificationError: No suite of this build (``CHAIN_ALGORITHM``).
    """
    for name in names():
        found = suite(name)
        try:
            found.load_public(issuer.spki)
        except MalformedError:
            continue
        return found
    raise VerificationError(
        "certificate: a key of no suite of this build", reason="CHAIN_ALGORITHM"
    )
