"""The region's trust repository, kept in its database.

Every signed object that verifiers rely on goes out through here: the trust
list by the offline role, status lists, CRLs and the catalogue by their online
roles. One publication is one write transaction, so a pack is never a mixture
of two states, and two processes cannot sign two states of one version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select, update

from yinxin_ca.keystore import Purpose
from yinxin_proto.clock import Clock
from yinxin_proto.error import IntegrityError
from yinxin_proto.operation import SignedOperation
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.repository_metadata import DELEGATED
from yinxin_proto.repository_writer import RepositoryWriter
from yinxin_trust import schema
from yinxin_trust.keyring import Keyring
from yinxin_trust.repositorykeys import (
    DELEGATED_PURPOSES,
    TOP_LEVEL_PURPOSES,
    repository_keys,
    role_of_purpose,
)
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import Storage, put_setting

TRUST_TARGET: Final = "trust.json"
_LOCK: Final = "publication"
_INSERT_ONLY: Final = "root"

Changes = Mapping[str, Mapping[str, bytes | None]]
"""New target bytes by role and by name; None takes a target away."""


class Publication:
    """Signs and stores states of the repository.

    Args:
        storage: The region's database.
        keyring: Online keys always, offline keys where trust changes.
        clock: Dates what is signed.
    """

    def __init__(self, *, storage: Storage, keyring: Keyring, clock: Clock) -> None:
        self._storage = storage
        self._keyring = keyring
        self._clock = clock

    def found(self, conn: Connection, *, trust_list: bytes, changes: Changes) -> None:
        """Write version 1 of every role, inside a write transaction."""
        self.lock(conn)
        writer = self._writer(conn)
        keys = repository_keys(conn, self._keyring)
        writer.write_root(keys.top_level(), signers=[self._keyring.signer(Purpose.TUF_ROOT)])
        writer.write_targets(
            "targets",
            {TRUST_TARGET: trust_list},
            signers=[self._keyring.trust_signer(self._clock).first(trust_list)],
            delegations=keys.delegated(),
        )
        for role in DELEGATED:
            self._write_delegated(conn, writer, role, changes.get(role, {}))
        self._publish(conn, writer)

    def publish(
        self,
        conn: Connection,
        changes: Changes,
        *,
        trust_list: bytes | None = None,
        operations: Sequence[SignedOperation] = (),
        roles: Collection[Purpose] = (),
    ) -> None:
        """Sign and store the next state, inside a write transaction.

        Args:
            conn: A write transaction; see the module on why.
            changes: What changes in the delegated roles; a role that is named
                is signed anew even if nothing in it changes.
            trust_list: A new trust list; needs the offline keys.
            operations: What officers signed, where the new list breaks trust.
            roles: Purposes of the repository's own keys that changed: what
                names them is signed anew, and so is what they sign. Needs the
                offline keys.

        Raises:
            PermissionDeniedError: The signer does not release the new list;
                see `yinxin_ca.dualcontrol.TrustSigner.release`.
        """
        self.lock(conn)
        writer = self._writer(conn)
        keyring = self._keyring.at(conn)
        if not TOP_LEVEL_PURPOSES.isdisjoint(roles):
            keys = repository_keys(conn, keyring)
            writer.write_root(keys.top_level(), signers=keys.root_signers(keyring))
        again = DELEGATED_PURPOSES.intersection(roles)
        if trust_list is not None or again or Purpose.TUF_TARGETS in roles:
            published = published_trust_list(conn, self._clock.now())
            signer = keyring.trust_signer(self._clock).release(
                published if trust_list is None else trust_list,
                published=published,
                operations=operations,
            )
            writer.write_targets(
                "targets",
                {} if trust_list is None else {TRUST_TARGET: trust_list},
                signers=[signer],
                delegations=repository_keys(conn, keyring).delegated() if again else None,
            )
        renewed: Changes = {role_of_purpose(purpose): {} for purpose in again}
        for role, targets in {**renewed, **changes}.items():
            self._write_delegated(conn, writer, role, targets)
        self._publish(conn, writer)

    def _write_delegated(
        self,
        conn: Connection,
        writer: RepositoryWriter,
        role: str,
        targets: Mapping[str, bytes | None],
    ) -> None:
        signer = self._keyring.at(conn).delegated_signer(role)
        writer.write_targets(role, targets, signers=[signer])

    def _publish(self, conn: Connection, writer: RepositoryWriter) -> None:
        keyring = self._keyring.at(conn)
        files = writer.publish(
            snapshot=[keyring.signer(Purpose.TUF_SNAPSHOT)],
            timestamp=[keyring.signer(Purpose.TUF_TIMESTAMP)],
        )
        now_ms = milliseconds(self._clock.now())
        for path, content in files.items():
            _store(conn, path, content, now_ms)
        _prune(conn, current_view(conn, self._clock.now()))

    def _writer(self, conn: Connection) -> RepositoryWriter:
        return RepositoryWriter(read=reader(conn), clock=self._clock)

    def lock(self, conn: Connection) -> None:
        """Keep every other publication out until the transaction ends.

        Whoever signs what is to be published takes it first.
        """
        # SQLite has one writer; on PostgreSQL the row's lock makes it one here too.
        put_setting(conn, _LOCK, self._clock.now().isoformat())


def reader(conn: Connection) -> Callable[[str], bytes | None]:
    """Return a reader of published files within one transaction."""
    f = schema.published_file.c

    def read(path: str) -> bytes | None:
        content = conn.execute(select(f.content).where(f.path == path)).scalar_one_or_none()
        return None if content is None else bytes(content)

    return read


def first_root(conn: Connection) -> bytes:
    """Return root version 1: what a verifier that installs today may pin."""
    data = reader(conn)("metadata/1.root.json")
    if data is None:
        raise IntegrityError(
            "the database holds no published root: the region was not founded to its end",
            reason="NOT_FOUNDED",
        )
    return data


def trust_list_version(conn: Connection) -> int:
    """Return the version of the trust role, without verifying anything."""
    f = schema.published_file.c
    paths = conn.execute(select(f.path).where(f.path.like("metadata/%.targets.json"))).scalars()
    return max((int(path.split("/")[1].split(".")[0]) for path in paths), default=0)


def published_trust_list(conn: Connection, now: datetime) -> bytes:
    """Return the trust list in force, verified from the first root on."""
    view = RepositoryView.load(first_root(conn), reader(conn), now, mode=Expiry.PACK)
    return view.target(TRUST_TARGET)


def current_view(conn: Connection, now: datetime) -> RepositoryView:
    """Return the verified present state, from the first root on."""
    return RepositoryView.load(first_root(conn), reader(conn), now)


def _store(conn: Connection, path: str, content: bytes, now_ms: int) -> None:
    f = schema.published_file
    values = {"content": content, "published_ms": now_ms}
    if not conn.execute(update(f).where(f.c.path == path).values(**values)).rowcount:
        conn.execute(f.insert().values(path=path, **values))


def _prune(conn: Connection, view: RepositoryView) -> None:
    """Drop what the present state does not refer to; roots are all referred to."""
    f = schema.published_file
    known = set(conn.execute(select(f.c.path)).scalars())
    stale = known - set(view.files())
    if stale:
        conn.execute(delete(f).where(f.c.path.in_(sorted(stale))))
