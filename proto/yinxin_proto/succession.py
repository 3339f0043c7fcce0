"""What may follow a trust list, and what changed from one to the next.

A trust list keeps its history: keys and logs are never dropped, a compromise is
final, and what was said to be unsafe never becomes safe again (design
section 5). TUF refuses an older list; this refuses a newer one that forgets.
"""

from __future__ import annotations

from collections.abc import Iterator

from yinxin_proto.error import VerificationError
from yinxin_proto.keyrecord import KeyRecord, KeyState
from yinxin_proto.logkey import LogKey
from yinxin_proto.trustlist import Authority, TrustList


def check_succession(old: TrustList, new: TrustList) -> None:
    """Check that ``new`` may follow ``old``.

    Raises:
        VerificationError: ``SUCCESSION_REGION`` for another region or domain;
            ``SUCCESSION_TIME`` when it was issued before; ``KEY_DROPPED`` for
            a key gone, or given to another owner, purpose or suite;
            ``KEY_REVIVED`` for a compromised key that is so no more;
            ``PIN_RAISED`` when a pin admits more entries as safe, or is of
            another log or tree; ``LOG_CHANGED`` for a log gone, rekeyed,
            thawed, or frozen at another tree of the same size.
    """
    if (old.region, old.domain) != (new.region, new.domain):
        raise VerificationError("trust list: of another region", reason="SUCCESSION_REGION")
    if new.issued_at < old.issued_at:
        raise VerificationError("trust list: issued before", reason="SUCCESSION_TIME")
    for owner, key in old.owned_keys():
        _check_key(owner, key, new.find_key(key.thumbprint))
    for log in old.logs:
        _check_log(log, new.log(log.origin))


def _check_key(
    owner: Authority | None, key: KeyRecord, found: tuple[Authority | None, KeyRecord] | None
) -> None:
    if found is None or _identity(owner, key) != _identity(*found):
        raise VerificationError(
            f"trust list: {_name(key)} is gone or someone else's", reason="KEY_DROPPED"
        )
    later = found[1]
    if key.state is not KeyState.COMPROMISED:
        return
    if later.state is not KeyState.COMPROMISED:
        raise VerificationError(
            f"trust list: {_name(key)} was compromised and stays so", reason="KEY_REVIVED"
        )
    # Without a pin nothing stood yet: the first one follows the reconciliation.
    if key.pin is not None and later.pin is not None:
        raised = later.pin.n_safe > key.pin.n_safe
        # Of other sizes the trees may agree; of one size there is one tree.
        same_size = later.pin.n_stop == key.pin.n_stop
        swapped = same_size and later.pin.root != key.pin.root
        if raised or swapped or later.pin.origin != key.pin.origin:
            raise VerificationError(
                f"trust list: n_safe of {_name(key)} only falls", reason="PIN_RAISED"
            )


def _check_log(log: LogKey, later: LogKey | None) -> None:
    if later is None or (log.kind, log.vkey) != (later.kind, later.vkey):
        raise VerificationError("trust list: a log is gone or rekeyed", reason="LOG_CHANGED")
    if log.frozen_at is None:
        return
    same_size = later.frozen_at is not None and later.frozen_at.size == log.frozen_at.size
    if same_size and later.frozen_at != log.frozen_at:
        raise VerificationError("trust list: a log is frozen at another tree", reason="LOG_CHANGED")
    if later.frozen_at is None or later.frozen_at.size > log.frozen_at.size:
        raise VerificationError("trust list: a frozen log was thawed", reason="LOG_CHANGED")


def _identity(owner: Authority | None, key: KeyRecord) -> tuple[object, ...]:
    return (None if owner is None else owner.code, key.suite, key.purpose)


def _name(key: KeyRecord) -> str:
    return f"{key.purpose} key {key.thumbprint.hex()[:16]}"


def changes(old: TrustList, new: TrustList) -> tuple[str, ...]:
    """Return what changed, one line each, for whoever is about to sign ``new``."""
    return (*_key_changes(old, new), *_authority_changes(old, new), *_log_changes(old, new))


def _key_changes(old: TrustList, new: TrustList) -> Iterator[str]:
    for owner, key in new.owned_keys():
        holder = "region" if owner is None else owner.code
        before = old.find_key(key.thumbprint)
        if before is None:
            yield f"+ {holder}: {_name(key)}, {key.state}"
        elif before[1] != key:
            yield f"~ {holder}: {_name(key)}, {before[1].state} → {key.state}"
    for owner, key in old.owned_keys():
        if new.find_key(key.thumbprint) is None:
            yield f"- {'region' if owner is None else owner.code}: {_name(key)}"


def _authority_changes(old: TrustList, new: TrustList) -> Iterator[str]:
    for authority in new.authorities:
        before = old.authority(authority.code)
        if before is None:
            yield f"+ authority {authority.code}"
        elif set(before.types) != set(authority.types):
            gained = {scope.type for scope in authority.types if scope not in before.types}
            lost = {scope.type for scope in before.types if scope not in authority.types}
            yield f"~ authority {authority.code}: types +{sorted(gained)} -{sorted(lost)}"
    for authority in old.authorities:
        if new.authority(authority.code) is None:
            yield f"- authority {authority.code}"


def _log_changes(old: TrustList, new: TrustList) -> Iterator[str]:
    for log in new.logs:
        before = old.log(log.origin)
        if before != log:
            yield f"{'+' if before is None else '~'} log {log.origin}"
    for log in old.logs:
        if new.log(log.origin) is None:
            yield f"- log {log.origin}"
    if old.anchors != new.anchors:
        yield "~ anchors"
    if old.witnesses != new.witnesses:
        yield "~ witnesses"
