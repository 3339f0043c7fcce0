"""What breaks trust between two trust lists, as operations that must cover it.

The signer of a trust list computes this itself, from the list that it signed
last and the one it is asked to sign. A new key, authority or anchor, and a key
that retires, are the daily business of whoever holds the offline keys; what
makes verifiers refuse what they accepted, or accept again what they refused,
takes officers (design section 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.error import MalformedError
from yinxin_proto.keyrecord import KeyRecord, KeyState
from yinxin_proto.logkey import LogKey
from yinxin_proto.operation import Action
from yinxin_proto.strict import Json, b64url_decode, canonical_json
from yinxin_proto.trustlist import TrustList

WITNESSES: Final = "witnesses"
ANCHORS: Final = "anchors"
"""Name the witnesses, and CAs that come back, as what a change is about."""
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

    A suspension and its end commit to no more than the key, since they change
    nothing else of it. Whatever else does commits to the whole record, its pin
    included.
    """
    is_switch = action in (Action.SUSPEND_KEY, Action.RESUME_KEY)
    outcome: Json = {} if is_switch else record.to_json()
    return TrustChange(action, record.thumbprint.hex(), parameters_of(outcome))


def trust_breaks(
    old: TrustList,
    new: TrustList,
    *,
    decided: TrustList | None = None,
    withdrawn: frozenset[bytes] = frozenset(),
) -> tuple[TrustChange, ...]:
    """Return every change from ``old`` to ``new`` that an operation must cover.

    Args:
        old: What is published.
        new: What is to follow.
        decided: What was signed last, published or not: what officers decided
            in it stands, and takes no further word of theirs.
        withdrawn: What `withdrawals` ever returned: lists keep no trace of it.
    """
    decided = old if decided is None else decided
    return (
        *_keys(old, new, decided),
        *_authorities(old, new),
        *_logs(old, new, decided),
        *_anchors(old, new, decided),
        *_returning(old, new, withdrawn),
        *_witnesses(old, new),
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
    # What two gave up, published or not yet, no one alone brings back in part.
    is_stolen = before.state is KeyState.COMPROMISED
    if record == replace(before, state=KeyState.SUSPENDED) and not is_stolen:
        return Action.SUSPEND_KEY
    if before.state is KeyState.SUSPENDED and record == replace(before, state=KeyState.ACTIVE):
        return Action.RESUME_KEY
    return None if _is_rotation(before, record) else Action.CHANGE_TRUST


def _is_rotation(before: KeyRecord, record: KeyRecord) -> bool:
    """A term set, or a key retired, lets nothing through but what it let."""
    if before.state is not KeyState.ACTIVE or record.state is KeyState.SUSPENDED:
        return False
    ends = before.not_after is None or (
        record.not_after is not None and record.not_after <= before.not_after
    )
    return ends and record.not_before >= before.not_before


def _authorities(old: TrustList, new: TrustList) -> Iterator[TrustChange]:
    for authority in old.authorities:
        later = new.authority(authority.code)
        if later is None:
            yield TrustChange(Action.REMOVE_AUTHORITY, authority.code, parameters_of({}))
        # Wider too: whoever has the service could else give himself a type.
        elif set(authority.types) != set(later.types):
            scopes: Json = [scope.to_json() for scope in later.types]
            yield TrustChange(Action.CHANGE_TRUST, authority.code, parameters_of(scopes))


def _logs(old: TrustList, new: TrustList, decided: TrustList) -> Iterator[TrustChange]:
    for log in new.logs:
        known = [one for one in (decided.log(log.origin), old.log(log.origin)) if one is not None]
        if not known:
            continue
        frozen_at = next((one.frozen_at for one in known if one.frozen_at is not None), None)
        if frozen_at != log.frozen_at:
            yield TrustChange(Action.FREEZE_LOG, log.origin, log_parameters(log))
        if any(one.ed25519_broken for one in known) != log.ed25519_broken:
            yield TrustChange(Action.BREAK_LOG_KEY, log.origin, parameters_of({}))


def log_parameters(log: LogKey) -> bytes:
    """Return what a freeze commits to: the head at which the log stands."""
    return parameters_of(None if log.frozen_at is None else log.frozen_at.to_json())


def _anchors(old: TrustList, new: TrustList, decided: TrustList) -> Iterator[TrustChange]:
    was, now, said = old.anchors.to_json(), new.anchors.to_json(), decided.anchors.to_json()
    for name, after in sorted(now.items()):
        before, last = was[name], said[name]
        if isinstance(before, list) and isinstance(after, list) and isinstance(last, list):
            if not _keep(before, last, after):
                yield TrustChange(Action.WITHDRAW_ANCHOR, name, parameters_of(after))
        # A first post-quantum root replaces none.
        elif before is not None and after != last:
            yield TrustChange(Action.REPLACE_ROOT, name, parameters_of(after))


def _keep(before: list[Json], decided: list[Json], after: list[Json]) -> bool:
    """Whether every CA stays but those whose withdrawal was decided, which stay away.

    By name and key: certified anew, by another root say, a CA is what it was,
    and one that was withdrawn does not come back under another certificate.
    """
    was, stays = _certified(before), _certified(after)
    withdrawn = was - _certified(decided)
    return was - withdrawn <= stays and not withdrawn & stays


def withdrawals(old: TrustList, new: TrustList) -> frozenset[bytes]:
    """Return names for the CAs that are anchors no more, for the signer to remember."""
    return _names(old) - _names(new)


def _names(listed: TrustList) -> frozenset[bytes]:
    anchors = listed.anchors
    # One key has one purpose, so which list it stood in does not matter.
    ders = (*anchors.licence, *anchors.status, *anchors.tls)
    return frozenset(sha256(b"\0".join(_identity(der))).digest() for der in ders)


def _returning(
    old: TrustList, new: TrustList, withdrawn: frozenset[bytes]
) -> Iterator[TrustChange]:
    if (_names(new) - _names(old)) & withdrawn:
        outcome = parameters_of(new.anchors.to_json())
        yield TrustChange(Action.CHANGE_TRUST, ANCHORS, outcome)


def _certified(anchors: list[Json]) -> frozenset[tuple[bytes, bytes]]:
    return frozenset(_identity(b64url_decode(str(der))) for der in anchors)


def _identity(der: bytes) -> tuple[bytes, bytes]:
    try:
        read = parse_certificate(der)
    except MalformedError:
        # What nobody can read is the same as itself alone.
        return der, b""
    return read.subject, read.spki


def _witnesses(old: TrustList, new: TrustList) -> Iterator[TrustChange]:
    # Times that they vouch for prove when a licence existed: fewer prove less, and more
    # are votes of somebody's.
    if old.witnesses != new.witnesses:
        outcome = parameters_of(new.witnesses.to_json())
        yield TrustChange(Action.CHANGE_TRUST, WITNESSES, outcome)
