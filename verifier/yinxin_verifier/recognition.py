"""Whether the issuing region counts here, and whether what we know of it is current.

Home recognises itself; any other region has to be reached by a statement that
home signed (design section 7). Regions are namespaces of their own: which
region a licence belongs to is read from its ``iss``, and from then on only that
region's list is asked.
"""

from __future__ import annotations

from datetime import timedelta

from yinxin_proto.error import MalformedError
from yinxin_proto.licence import parse_issuer
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination
from yinxin_verifier.policy import MAX_PURPOSE_CHARACTERS
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.status import CLOCK_TOLERANCE
from yinxin_verifier.step import Grounds


def check_region(x: Examination) -> Finding | None:
    """Find the issuing region, which must be home or recognised by home."""
    iss = x.payload.get("iss")
    trust = x.evidence.trust
    found = trust.issuer(iss)
    if found is not None:
        x.known_region, x.authority = found
        x.region = x.known_region
        return None
    try:
        domain, _ = parse_issuer(iss)
    except MalformedError:
        return reason.ISSUER
    region = trust.region(domain)
    if region is None:
        return reason.REGION
    x.region = x.known_region = region
    # A known region that does not list the authority: its keys are not trusted,
    # which is the next step's to say.
    x.authority = None
    return None


def ground_region(x: Examination) -> Grounds:
    """Describe by what the region was reached."""
    region = x.region
    if region is None:
        return Grounds(Text("未找到互认关系", "no recognition was found"))
    hop = region.hop
    if region is x.evidence.trust.home:
        return Grounds(
            Text(f"本地区 {hop.region}（{hop.domain}）", f"home region {hop.region} ({hop.domain})")
        )
    return Grounds(
        Text(
            f"互认地区 {hop.region}（{hop.domain}）",
            f"recognised region {hop.region} ({hop.domain})",
        )
    )


def check_freshness(x: Examination) -> Finding | None:
    """Refuse to conclude anything from a trust list that has run out."""
    freshness = x.known_region.freshness
    if x.now >= freshness.expires:
        return reason.TRUST_EXPIRED
    age = x.now - freshness.issued_at
    if age > x.policy.trust_seconds:
        return reason.TRUST_STALE
    if age < -CLOCK_TOLERANCE:
        # An online key that dates ahead would otherwise never grow old.
        return reason.TRUST_STALE.because("TRUST_FROM_FUTURE")
    return None


def ground_freshness(x: Examination) -> Grounds:
    """Describe which versions were used, and how old they are."""
    region = x.known_region
    hop = region.hop
    return Grounds(
        Text(
            f"信任根第 {hop.root_version} 版，信任列表第 {hop.trust_version} 版",
            f"trust root version {hop.root_version}, trust list version {hop.trust_version}",
        ),
        timedelta(seconds=x.now - region.freshness.issued_at),
    )


def check_purpose(x: Examination) -> Finding | None:
    """Check the purpose stated (用证事由) against what the policy serves."""
    purpose = None if x.request is None else x.request.purpose
    if purpose is not None and not 0 < len(purpose.strip()) <= MAX_PURPOSE_CHARACTERS:
        return reason.PURPOSE.because("PURPOSE_LENGTH")
    if x.policy.purposes is None:
        return reason.PURPOSE_NOT_ASKED if purpose is None else None
    if purpose is None:
        return reason.PURPOSE_MISSING
    return None if purpose in x.policy.purposes else reason.PURPOSE


def ground_purpose(x: Examination) -> Grounds:
    """Describe what the purpose was held against; the purpose itself is not repeated."""
    allowed = x.policy.purposes
    if allowed is None:
        return Grounds(Text("策略不限定事由", "the policy names no purposes"))
    return Grounds(
        Text(f"策略允许 {len(allowed)} 种事由", f"the policy names {len(allowed)} purposes")
    )
