"""What may follow a trust list, and what changed from one to the next.

A trust list keeps its history: keys and logs are never dropped, a retirement
and a compromise are final, and what was said to be unsafe never becomes safe
again (design section 5). TUF refuses an older list; this refuses a newer one that forgets.
"""

from __future__ import annotations

from collections.abc import Iterator

from yinxin_proto.error import VerificationError
from yinxin_proto.keyrecord import KeyRecord, KeyState, Pin
from yinxin_proto.logkey import FrozenHead, LogKey
from yinxin_proto.trustlist import Authority, TrustList


def check_succession(old: TrustList, new: TrustList) -> None:
    """Check that ``new`` may follow ``old``.

    Raises:
        VerificationError: ``SUCCESSION_REGION`` for another region or domain;
            ``SUCCESSION_TIME`` when it was issued before; ``KEY_DROPPED`` for
            a key gone, or given to another owner, purpose or suite;
            ``KEY_REVIVED`` for a key that was compromised or retired under a
            pin and is so no more; ``PIN_RAISED`` when a pin is gone, admits
            more entries, or is of another log or tree; ``LOG_CHANGED`` for a
            log gone or rekeyed (its cosigner counts), reopened, thawed, ended
            later or at another tree of the same size, or whose broken key is
            whole again.
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
    if key.state is KeyState.COMPROMISED:
        _check_compromised(key, later)
    elif key.pin is not None:
        _check_retired(key, key.pin, later)


def _check_compromised(key: KeyRecord, later: KeyRecord) -> None:
    if later.state is not KeyState.COMPROMISED:
        raise VerificationError(
            f"trust list: {_name(key)} was compromised and stays so", reason="KEY_REVIVED"
        )
    # Without a pin nothing stood yet: the first one follows the reconciliation. One that
    # was there and is gone would be forgotten, and the next could be any.
    if key.pin is None:
        return
    if later.pin is None or _is_raised(key.pin, later.pin) or _is_swapped(key.pin, later.pin):
        raise VerificationError(
            f"trust list: n_safe of {_name(key)} only falls", reason="PIN_RAISED"
        )


def _is_raised(pin: Pin, later: Pin) -> bool:
    return later.n_safe > pin.n_safe or later.n_stop > pin.n_stop


def _check_retired(key: KeyRecord, pin: Pin, later: KeyRecord) -> None:
    if later.state is KeyState.ACTIVE:
        raise VerificationError(
            f"trust list: {_name(key)} was retired and stays so", reason="KEY_REVIVED"
        )
    if later.state is not KeyState.COMPROMISED:
        if later.pin != pin:
            raise VerificationError(
                f"trust list: the pin of {_name(key)} was moved or taken away", reason="PIN_RAISED"
            )
        return
    # Whatever it signed in honesty is below its pin: a later theft adds nothing.
    if later.pin is None or _is_raised(pin, later.pin) or _is_swapped(pin, later.pin):
        raise VerificationError(
            f"trust list: {_name(key)} was retired; its pin only falls", reason="PIN_RAISED"
        )


def _is_swapped(pin: Pin, later: Pin) -> bool:
    # Of other sizes the trees may agree; of one size there is one tree.
    same_size = later.n_stop == pin.n_stop
    return later.origin != pin.origin or (same_size and later.root != pin.root)


def _check_log(log: LogKey, later: LogKey | None) -> None:
    if later is None or (log.kind, log.vkey) != (later.kind, later.vkey):
        raise VerificationError("trust list: a log is gone or rekeyed", reason="LOG_CHANGED")
    # A renewed certificate is no other key.
    if log.cosigner is not None and (
        later.cosigner is None or later.cosigner.vkey != log.cosigner.vkey
    ):
        raise VerificationError(
            "trust list: a log's cosigner is gone or another", reason="LOG_CHANGED"
        )
    if log.ed25519_broken and not later.ed25519_broken:
        raise VerificationError(
            "trust list: a log's broken key is to count again", reason="LOG_CHANGED"
        )
    if log.frozen_at is not None:
        _check_end(log.frozen_at, later.frozen_at)
    elif log.closed_at is not None:
        # A key stolen after its retirement freezes its log, at no larger tree.
        _check_closed(log.closed_at, later)


def _check_closed(closed: FrozenHead, later: LogKey) -> None:
    if later.frozen_at is None and later.closed_at != closed:
        raise VerificationError(
            "trust list: a closed log was reopened or moved", reason="LOG_CHANGED"
        )
    _check_end(closed, later.frozen_at or later.closed_at)


def _check_end(before: FrozenHead, after: FrozenHead | None) -> None:
    if after is not None and after.size == before.size and after != before:
        raise VerificationError("trust list: a log ends at another tree", reason="LOG_CHANGED")
    if after is None or after.size > before.size:
        raise VerificationError("trust list: a log that ended grows again", reason="LOG_CHANGED")


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
            yield f"+ {holder}: {_name(key)}, {key.state}{_pinned(key.pin)}"
        elif before[1] != key:
            yield f"~ {holder}: {_name(key)}, {before[1].state} → {key.state}{_pinned(key.pin)}"
    for owner, key in old.owned_keys():
        if new.find_key(key.thumbprint) is None:
            yield f"- {'region' if owner is None else owner.code}: {_name(key)}"


def _pinned(pin: Pin | None) -> str:
    if pin is None:
        return ""
    if pin.is_plain:
        return f", within the first {pin.n_stop} entries of {pin.origin}"
    attested = sum(end - start for start, end in pin.reattested)
    return (
        f", the first {pin.n_safe} entries of {pin.origin} stand and {attested} attested anew"
        f" before {pin.n_stop}"
    )


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
            yield f"{'+' if before is None else '~'} log {log.origin}{_log_state(log)}"
    for log in old.logs:
        if new.log(log.origin) is None:
            yield f"- log {log.origin}"
    if old.anchors != new.anchors:
        parallel = "" if old.anchors.pq_root == new.anchors.pq_root else ", the ML-DSA root too"
        yield f"~ anchors{parallel}"
    if old.witnesses != new.witnesses:
        yield "~ witnesses"


def _log_state(log: LogKey) -> str:
    end = ""
    if log.closed_at is not None:
        end = f", closed at {log.closed_at.size} entries"
    elif log.frozen_at is not None:
        end = f", frozen at {log.frozen_at.size} entries"
    cosigner = "" if log.cosigner is None else ", cosigned by ML-DSA-44"
    return f"{end}{cosigner}{', its Ed25519 key broken' if log.ed25519_broken else ''}"
