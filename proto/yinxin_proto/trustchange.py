"""What breaks trust between two trust lists, as operations that must cover it.

The signer of a trust list computes this itself, from the list that it signed
last and the one it is asked to sign. A new key, authority or anchor, and a key
that retires, are the daily business of whoever holds the offline keys; what
makes verifiers refuse what they accepted, or accept again what they refused,
takes officers (design section 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.keyrecord import KeyRecord, KeyState
from yinxin_proto.logkey import LogKey
from yinxin_proto.operation import Action
from yinxin_proto.strict import Json, b64url_decode, canonical_json
from yinxin_proto.trustlist import TrustList

_BROKEN: Final = "broken"
_DECIDED: Final = frozenset({KeyState.SUSPENDED, KeyState.COMPROMISED})


@dataclass(frozen=True, slots=True)
class TrustChange:
    """One change that officers must have signed."""

    action: Action
    target: str
    parameters: bytes
    """SHA-256 of what comes of it; see `parameters_of`."""

    def __str__(self) -> str:
        return f"{self.action.value} {self.target[:64]}"


def parameters_of(document: Json) -> bytes:
    """Return the digest under which an operation commits to what comes of it."""
    return sha256(canonical_json(document)).digest()


def key_change(record: KeyRecord, action: Action) -> TrustChange:
    """Return the change that makes a key's record what it is to be.

    A suspension and its end commit to no more than the key: an officer signs
    it before the moment is known. A compromise commits to the whole record,
    its pin included.
    """
    if action is Action.COMPROMISE_KEY:
        return TrustChange(action, record.thumbprint.hex(), parameters_of(record.to_json()))
    return TrustChange(action, record.thumbprint.hex(), parameters_of({}))


def trust_breaks(
    old: TrustList, new: TrustList, *, decided: TrustList | None = None
) -> tuple[TrustChange, ...]:
    """Return every change from ``old`` to ``new`` that an operation must cover.

    Args:
        old: What is published.
        new: What is to follow.
        decided: What was signed last, published or not: a suspension, a
            compromise or a frozen log in it stands.
    """
    decided = old if decided is None else decided
    return (
        *_keys(old, new, decided),
        *_authorities(old, new),
        *_logs(old, new, decided),
        *_anchors(old, new),
    )


def _keys(old: TrustList, new: TrustList, decided: TrustList) -> Iterator[TrustChange]:
    for _, record in new.owned_keys():
        before = _record(decided, record.thumbprint)
        if before is None or before.state not in _DECIDED:
            before = _record(old, record.thumbprint)
        action = _key_action(before, record)
        if action is not None:
            yield key_change(record, action)


def _record(listed: TrustList, thumbprint: bytes) -> KeyRecord | None:
    found = listed.find_key(thumbprint)
    return None if found is None else found[1]


def _key_action(before: KeyRecord | None, record: KeyRecord) -> Action | None:
    if before == record:
        return None
    if record.state is KeyState.COMPROMISED:
        return Action.COMPROMISE_KEY
    if before is None:
        # Added suspended or retired, it lets nothing through that was refused.
        return None
    if record.state is KeyState.SUSPENDED:
        return Action.CHANGE_TRUST if before.state is record.state else Action.SUSPEND_KEY
    if before.state is KeyState.SUSPENDED:
        return Action.RESUME_KEY
    # A term set, or a key retired, is rotation: it lets nothing through but what it let.
    is_rotation = before.state is KeyState.ACTIVE and record.not_before >= before.not_before
    return None if is_rotation else Action.CHANGE_TRUST


def _authorities(old: TrustList, new: TrustList) -> Iterator[TrustChange]:
    for authority in old.authorities:
        if new.authority(authority.code) is None:
            yield TrustChange(Action.REMOVE_AUTHORITY, authority.code, parameters_of({}))


def _logs(old: TrustList, new: TrustList, decided: TrustList) -> Iterator[TrustChange]:
    for log in new.logs:
        before = decided.log(log.origin)
        if before is None or before.frozen_at is None:
            before = old.log(log.origin)
        if before is None or before == log:
            continue
        if before.frozen_at != log.frozen_at:
            yield TrustChange(Action.FREEZE_LOG, log.origin, log_parameters(log))
        was, now = before.to_json(), log.to_json()
        changed = {name for name in now if now[name] != was.get(name)} - {"frozen_at"}
        if any(_BROKEN in name for name in changed):
            yield TrustChange(Action.BREAK_LOG_KEY, log.origin, parameters_of({}))


def log_parameters(log: LogKey) -> bytes:
    """Return what a freeze commits to: the head at which the log stands."""
    return parameters_of(None if log.frozen_at is None else log.frozen_at.to_json())


def _anchors(old: TrustList, new: TrustList) -> Iterator[TrustChange]:
    was, now = old.anchors.to_json(), new.anchors.to_json()
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list):
            # Certified anew, by another root say, an authority is what it was.
            if not _authorities_of(before) <= _authorities_of(after):
                yield TrustChange(Action.WITHDRAW_ANCHOR, name, parameters_of(after))
        elif before is not None:
            # A first post-quantum root replaces none.
            yield TrustChange(Action.REPLACE_ROOT, name, parameters_of(after))


def _authorities_of(anchors: list[Json]) -> set[tuple[bytes, bytes]]:
    found = [parse_certificate(b64url_decode(str(der))) for der in anchors]
    return {(one.subject, one.spki) for one in found}
