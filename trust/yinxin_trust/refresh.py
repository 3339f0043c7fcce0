"""Refreshing what the region publishes, before it ages.

Status lists that no longer say what the database says, revocation lists and
online roles past half their life are signed anew and published together, in
one write transaction. When nothing is due, nothing is written but the lock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    ConflictError,
    IntegrityError,
    KeyStoreError,
    UnavailableError,
    YinxinError,
)
from yinxin_proto.repository import DELEGATED, Expiry, RepositoryView
from yinxin_trust.certification import (
    IssuingCa,
    RegisterFactory,
    crl_targets,
    get_crl,
    get_crls,
    is_crl_due,
    issuing_cas,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.keyring import Keyring
from yinxin_trust.keystage import Stage
from yinxin_trust.publication import Publication, first_root, reader
from yinxin_trust.region import Region
from yinxin_trust.status import StatusSigner
from yinxin_trust.storage import Storage
from yinxin_trust.trustlisting import get_anchors

_ONLINE: Final = (*DELEGATED, "snapshot", "timestamp")
_Targets = dict[str, bytes | None]
_Changes = dict[str, _Targets]


class Refresher:
    """Signs and publishes what is due.

    Args:
        storage: The region's database.
        keyring: The online keys.
        registers: The authorities' registers, for revocation lists.
        clock: Says what is due.
        entropy: For the authorities.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        keyring: Keyring,
        registers: RegisterFactory,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._storage = storage
        self._keyring = keyring
        self._registers = registers
        self._clock = clock
        self._entropy = entropy
        self._publication = Publication(storage=storage, keyring=keyring, clock=clock)
        self._statuses = StatusSigner(keyring=keyring, clock=clock)

    @classmethod
    def of(cls, region: Region) -> Refresher:
        """Return the refresher of an opened region."""
        return cls(
            storage=region.storage,
            keyring=region.keyring,
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
        )

    def run_once(self) -> bool:
        """Publish what is due; return whether anything was.

        Raises:
            KeyStoreError, UnavailableError: An authority's key cannot be had;
                everything else is published.
            IntegrityError, ConflictError: As `put_crls`, of one authority's lists;
                everything else is published.
            VerificationError: The root or the trust list has expired: that
                takes the offline keys.
            IntegrityError: Or the database was restored from an older state.
        """
        with self._storage.write() as conn:
            # First, or two processes would sign the same lists.
            self._publication.lock(conn)
            missed: list[YinxinError] = []
            changes = self._due(conn, missed)
            if changes is not None:
                self._publication.publish(conn, changes)
        if missed:
            # Told only now: one key that is away, or was stolen with its token, must
            # not let everything else that the region says grow old.
            raise missed[0]
        return changes is not None

    def _due(self, conn: Connection, missed: list[YinxinError]) -> _Changes | None:
        """Return what is to be published, None for nothing at all."""
        now = self._clock.now()
        view = RepositoryView.load(first_root(conn), reader(conn), now, mode=Expiry.PACK)
        aged = {role for role in _ONLINE if _is_aged(view, role, now)}
        changes: _Changes = {role: {} for role in DELEGATED if role in aged}
        statuses = self._statuses.sign_due(conn)
        if statuses:
            changes["status"] = statuses
        crls = self._crls(conn, view, now, missed)
        if crls:
            changes["crl"] = crls
        return changes if changes or aged else None

    def _crls(
        self, conn: Connection, view: RepositoryView, now: datetime, missed: list[YinxinError]
    ) -> _Targets:
        cas = issuing_cas(conn)
        for ca in cas:
            # A destroyed key has signed its last list, which holds to its CA's end.
            is_there = ca.key.stage is not Stage.DESTROYED
            if not is_there or not is_crl_due(get_crl(conn, ca.label), now):
                continue
            try:
                put_crls(conn, self._sign_lists(conn, ca), self._clock)
            except (KeyStoreError, UnavailableError, ConflictError, IntegrityError) as error:
                missed.append(error)
        held = get_crls(conn)
        published = set(view.paths("crl"))
        return {
            path: crl
            for path, crl in crl_targets(held).items()
            if path not in published or view.target(path) != crl
        }

    def _sign_lists(self, conn: Connection, ca: IssuingCa) -> dict[str, bytes]:
        authority = open_authority(
            ca.name,
            anchors=get_anchors(conn),
            certificate=ca.certificate,
            keyring=self._keyring.at(conn),
            registers=self._registers,
            clock=self._clock,
            entropy=self._entropy,
        )
        return sign_lists(ca.label, authority)


def refresh(region: Region) -> bool:
    """Publish what is due in a region; return whether anything was."""
    return Refresher.of(region).run_once()


def _is_aged(view: RepositoryView, role: str, now: datetime) -> bool:
    state = view.roles[role]
    return _is_past_half(state.issued_at, state.expires - state.issued_at, now)


def _is_past_half(start: datetime, life: timedelta, now: datetime) -> bool:
    return (now - start) * 2 >= life
