"""What a person wants to know of every key: where it stands, since when, and what is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from yinxin_ca.keystore import Purpose
from yinxin_trust.keyinventory import KeyVersion, inventory
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.repositorykeys import DELEGATED_PURPOSES, TOP_LEVEL_PURPOSES
from yinxin_trust.rotation.engine import Rotation, Waiting
from yinxin_trust.rows import moment
from yinxin_trust.settings import RotationTable
from yinxin_trust.storage import Storage

_NEXT: Final = {
    Stage.PREPARED: Step.PUBLISH,
    Stage.PUBLISHED: Step.ACTIVATE,
    Stage.RETIRING: Step.RETIRE,
    Stage.RETIRED: Step.DESTROY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """One version of one key."""

    key: KeyVersion
    since: datetime
    """When it entered its stage."""
    due: datetime | None
    """When an active one ought to be replaced; None where that is nobody's to say."""
    next: Step | None
    """What comes next for it."""
    waiting: Waiting | None
    """What that waits for; None when it may be done now."""

    def is_due(self, now: datetime) -> bool:
        """Tell whether it ought to have been replaced by now."""
        return self.due is not None and self.due <= now


def overview(storage: Storage, rotation: Rotation, settings: RotationTable) -> Iterator[KeyLine]:
    """Yield every version of every key, by purpose and owner."""
    with storage.read() as conn:
        keys = inventory(conn)
    for key in keys:
        step = _NEXT.get(key.stage)
        if not rotation.covers(key.ref.purpose):
            step = None
        yield KeyLine(
            key=key,
            since=moment(key.since_ms),
            due=_due(key, settings),
            next=step,
            waiting=None if step is None else rotation.waiting(key.ref, step),
        )


def max_age(purpose: Purpose, settings: RotationTable) -> timedelta | None:
    """Return how old a key of a purpose may become; None where no rotation replaces it."""
    found = {
        Purpose.LICENCE: settings.licence,
        Purpose.APPROVAL: settings.approval,
        Purpose.STATUS: settings.status,
        Purpose.LOG: settings.log,
        Purpose.LICENCE_CA: settings.authority,
        Purpose.STATUS_CA: settings.authority,
        Purpose.TLS_CA: settings.authority,
        Purpose.SEAL_CA: settings.authority,
        Purpose.TIMESTAMP_CA: settings.authority,
        Purpose.MEMBER_CA: settings.authority,
        Purpose.OCSP: settings.server,
        Purpose.TLS_OCSP: settings.server,
        Purpose.TIMESTAMP: settings.server,
        Purpose.TLS_SERVER: settings.server,
        Purpose.KEK: settings.secret,
        Purpose.INDEX_HMAC: settings.secret,
    }
    if purpose in TOP_LEVEL_PURPOSES or purpose in DELEGATED_PURPOSES:
        return settings.repository
    return found.get(purpose)


def _due(key: KeyVersion, settings: RotationTable) -> datetime | None:
    age = max_age(key.ref.purpose, settings)
    if key.stage is not Stage.ACTIVE or age is None or key.activated_ms is None:
        return None
    return moment(key.activated_ms) + age
