"""Whether the licence is in force at the moment asked about: dates and status.

Both are judged at ``at``. A status list speaks for a licence only if it was
signed after the licence was logged; what could not be had is said to be
unknown, never "revoked" and never "valid" (design section 6).
"""

from __future__ import annotations

from datetime import timedelta

from yinxin_proto.error import MalformedError
from yinxin_proto.statuslist import StatusValue
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.status import StatusSnapshot
from yinxin_verifier.step import Grounds

_FINDINGS: dict[int, Finding] = {
    StatusValue.INVALID: reason.REVOKED,
    StatusValue.SUSPENDED: reason.SUSPENDED,
    StatusValue.FROZEN: reason.FROZEN,
}


def check_validity(x: Examination) -> Finding | None:
    """Check ``nbf`` and ``exp`` at the moment asked about (RFC 7519 §4.1.4, §4.1.5)."""
    payload = x.payload
    if x.at < payload["nbf"]:
        return reason.NOT_YET_VALID
    expires = payload.get("exp")
    if expires is not None and x.at >= expires:
        return reason.EXPIRED
    return None


def ground_validity(x: Examination) -> Grounds:
    """Describe the period of validity."""
    start = x.payload.get("ZZYXQQSRQ", "—")
    end = x.payload.get("ZZYXQJZRQ", "—")
    return Grounds(Text(f"有效期 {start} 至 {end}", f"valid from {start} to {end}"))


def check_status(x: Examination) -> Finding | None:
    """Look the licence up in the status list that was in force at ``at``."""
    snapshot = x.known_region.statuses.lookup(x.status_uri, x.evidence.fetched, x.at, x.now)
    if isinstance(snapshot, Finding):
        return snapshot
    x.snapshot = snapshot
    policy = x.policy
    # Judged where the list is used: an old moment is answered by an old list.
    if x.at - snapshot.issued_at > policy.status_seconds:
        return reason.STATUS_STALE
    if policy.hard_status_expiry and x.at >= snapshot.expires_at:
        return reason.STATUS_STALE
    if _is_older(x, snapshot):
        return reason.STATUS_OLDER
    try:
        value = snapshot.list.get(x.status_index)
    except MalformedError:
        return reason.STATUS_INDEX
    return _FINDINGS.get(value, reason.STATUS_UNKNOWN) if value else None


def _is_older(x: Examination, snapshot: StatusSnapshot) -> bool:
    """Whether the list was made before the licence: then it cannot speak for it."""
    receipt, size = x.receipt, snapshot.log_size
    # The logs of licences are epochs of one tree: sizes compare across them.
    if receipt is not None and x.checkpoint is not None and size is not None:
        return size <= receipt.index
    return snapshot.issued_at < x.issued_at


def ground_status(x: Examination) -> Grounds:
    """Describe the list that was asked, and how old it is."""
    if x.snapshot is None:
        return Grounds(Text("没有可用的状态列表", "no usable status list"))
    return Grounds(
        Text(
            f"签名状态列表，反映日志前 {x.snapshot.log_size or '—'} 条",
            f"signed status list, reflecting {x.snapshot.log_size or '—'} log entries",
        ),
        timedelta(seconds=x.now - x.snapshot.issued_at),
    )
