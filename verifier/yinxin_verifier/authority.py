"""Whether the issuer may issue this: its key, its certificates, its scope.

The trust list decides; certificates and revocation lists can only take away
(design section 6). All of it is judged at the proven time: the licence existed
no later than ``proven_at``, and by its own word not before ``iat``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from yinxin_proto.keyrecord import KeyState
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination, ProvenBy
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.step import Grounds


def check_key(x: Examination) -> Finding | None:
    """Find the signing key in the trust list, under the authority that ``iss`` names."""
    facts = x.known_region.header_facts(x.sd_jwt.jws.header)
    issuer = facts.issuer
    if issuer is None:
        return facts.issuer_finding
    if x.authority is not issuer.authority:
        return reason.KEY_OF_ANOTHER
    x.issuer = issuer
    x.facts = facts
    return None


def ground_key(x: Examination) -> Grounds:
    """Describe the list that was asked."""
    region = x.known_region
    listed = region.trust_list
    keys = sum(len(authority.keys) for authority in listed.authorities)
    return Grounds(
        Text(
            f"信任列表：{len(listed.authorities)} 家机构、{keys} 个密钥",
            f"trust list: {len(listed.authorities)} authorities, {keys} keys",
        ),
        timedelta(seconds=x.now - region.freshness.issued_at),
    )


def check_chain(x: Examination) -> Finding | None:
    """Check that the certificates lead to the region's licence CA, for this purpose."""
    facts = x.facts
    if facts.certification is None:
        return facts.chain_finding
    x.certification = facts.certification
    return None


def ground_chain(x: Examination) -> Grounds:
    """Describe the anchors."""
    count = len(x.known_region.trust_list.anchors.licence)
    return Grounds(
        Text(f"证照签发机构证书 {count} 张", f"{count} licence CA certificates in the trust list")
    )


def check_period(x: Examination) -> Finding | None:
    """Judge the certificates' validity at the proven time."""
    chain = x.certification
    if x.issued_at < chain.not_before:
        return reason.CERTIFICATE_EARLY
    if x.proven_at > chain.not_after:
        return reason.CERTIFICATE_EXPIRED
    return None


def ground_period(x: Examination) -> Grounds:
    """Describe which moment was judged, and why that one."""
    text = _JUDGED_AT[x.proven_by]
    if x.proven_by is ProvenBy.NOBODY:
        return Grounds(text)
    return Grounds(text, timedelta(seconds=x.now - x.proven_at))


_JUDGED_AT: Final = {
    ProvenBy.NOBODY: Text("按核验时间判断", "judged at the moment of verification"),
    ProvenBy.WITNESSES: Text("按见证时间判断", "judged at the time that witnesses vouch for"),
    ProvenBy.PIN: Text("按签发密钥的停用时间判断", "judged at the end of the signing key"),
}


def check_revocation(x: Examination) -> Finding | None:
    """Judge revocations of the certificates at the proven time.

    A stolen key's own certificate is revoked for the theft. Where the pin has
    found the entry and admits it, the offline roles have judged that theft
    more finely than any date can. So they have where an authority was revoked:
    a certificate buys nobody a place in the trust list, and a list that was
    signed since and names the key anyway says that the key stands.
    """
    chain = x.certification
    is_judged = x.is_pinned and x.issuer.record.state is KeyState.COMPROMISED
    known = [None if is_judged else chain.leaf_revoked_at]
    authority_revoked_at = chain.authority_revoked_at
    listed_at = x.known_region.trust_list.issued_at
    if authority_revoked_at is not None and listed_at < authority_revoked_at:
        known.append(authority_revoked_at)
    revoked_at = min((found for found in known if found is not None), default=None)
    if revoked_at is not None:
        if x.issued_at >= revoked_at:
            return reason.CERTIFICATE_REVOKED
        if x.proven_at >= revoked_at:
            return reason.CERTIFICATE_REVOKED_NO_POE
    if x.policy.require_revocation and x.now >= chain.revocation_until:
        return reason.REVOCATION_UNKNOWN
    return reason.REVOCATION_NOT_AT_HAND if chain.revocation_issued_at is None else None


def ground_revocation(x: Examination) -> Grounds:
    """Describe the revocation lists."""
    issued_at = x.certification.revocation_issued_at
    if issued_at is None:
        return Grounds(
            Text("没有完整的证书吊销列表", "no complete set of revocation lists was at hand")
        )
    return Grounds(
        Text("证书吊销列表", "certificate revocation lists"),
        timedelta(seconds=x.now - issued_at),
    )


def check_scope(x: Examination) -> Finding | None:
    """Check issuer × type × time: may this authority issue this type, then?"""
    ended = listed = False
    for scope in x.issuer.scopes.get(x.licence_type, ()):
        listed = True
        if scope.covers(x.issued_at):
            if scope.covers(x.proven_at):
                return None
            ended = True
    if ended:
        return reason.SCOPE_ENDED
    return reason.SCOPE_NOT_THEN if listed else reason.TYPE_NOT_IN_SCOPE


def ground_scope(x: Examination) -> Grounds:
    """Describe the authority's scope."""
    count = len(x.issuer.authority.types)
    return Grounds(
        Text(
            f"信任列表列明该机构 {count} 项颁发权限",
            f"the trust list names {count} scopes of this authority",
        ),
        timedelta(seconds=x.now - x.known_region.freshness.issued_at),
    )
