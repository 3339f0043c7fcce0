"""Secrets at rest: the key-encryption key and the index key.

Both are replaced row by row behind the running service. Data keys are wrapped
anew; indexes are computed anew from the numbers, which are sealed with their
subjects and inside the licences. Each batch is a transaction of its own and
notes how far it came.

The order of an index is what keeps a number unique throughout: from its
publication on every writer claims under the successor *too*; what was there
before is added; only a complete index is used; and only what is used no longer
is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, select, tuple_, update

from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_proto import sdjwt
from yinxin_proto.leaf import SALT_SIZE
from yinxin_trust import schema
from yinxin_trust.keyinventory import KeyVersion, versions
from yinxin_trust.keystage import Stage
from yinxin_trust.record import payload_row
from yinxin_trust.rotation.plan import Bench, PlainPlan
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.subject_profile import Subject, open_profile

BATCH: Final = 500
"""Rows in one transaction: other writers wait behind it."""
_DONE: Final = "done"
_START: Final = ""


class SecretPlan(PlainPlan):
    """What both have in common.

    Args:
        bench: What it works with.
        settle: How long a writer may still do as before.
    """

    def __init__(self, bench: Bench, settle: timedelta) -> None:
        super().__init__(bench)
        self._settle_ms = int(settle.total_seconds() * 1000)

    def store(self, ref: KeyRef) -> KeyStore:
        """See `Plan.store`."""
        return self.bench.keyring.online

    def make(self, ref: KeyRef, like: KeyVersion) -> None:
        """See `Plan.make`."""
        store = self.store(ref)
        store.generate_secret(ref, size=len(store.secret(like.ref)))

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`."""
        return KeyVersion(ref=ref, suite="secret", stage=Stage.PREPARED)

    def _settled(self, since_ms: int | None) -> bool:
        now_ms = milliseconds(self.bench.clock.now())
        return since_ms is not None and now_ms - since_ms >= self._settle_ms

    def _at(self, conn: Connection, purpose: Purpose, stage: Stage) -> list[KeyVersion]:
        owner = self.bench.keyring.namespace.code
        return [key for key in versions(conn, owner, purpose) if key.stage is stage]


class KeyEncryptionPlan(SecretPlan):
    """The key that wraps subjects' data keys."""

    def unfinished(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.unfinished`: no data key is wrapped by it."""
        s = schema.subject.c
        query = select(s.subject_ref).where(s.kek_version == old.ref.version).limit(1)
        return None if conn.execute(query).first() is None else "rewrap"

    def needed(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.needed`: looked at again, since it would be lost for good."""
        return self.unfinished(conn, old)

    def work(self) -> int:
        """See `Plan.work`: wrap one batch of data keys anew."""
        with self.bench.storage.write() as conn:
            for old in self._at(conn, Purpose.KEK, Stage.RETIRING):
                if self._settled(old.retiring_ms) and self.unfinished(conn, old):
                    self.bench.vault.refresh(conn)
                    return self._rewrap(conn, old)
        return 0

    def _rewrap(self, conn: Connection, old: KeyVersion) -> int:
        s, name = schema.subject, f"rewrap/{old.ref.version}"
        cursor = bytes.fromhex(get_setting(conn, name) or _START)
        query = select(s.c.subject_ref, s.c.wrapped_key).where(
            s.c.kek_version == old.ref.version, s.c.subject_ref > cursor
        )
        rows = conn.execute(query.order_by(s.c.subject_ref).limit(BATCH)).all()
        for ref, wrapped in rows:
            again, version = self.bench.vault.rewrap(bytes(wrapped), kek_version=old.ref.version)
            conn.execute(
                update(s)
                .where(s.c.subject_ref == ref, s.c.wrapped_key == wrapped)
                .values(wrapped_key=again, kek_version=version)
            )
        # From the start again at the end: one that came late is behind the cursor.
        put_setting(conn, name, bytes(rows[-1][0]).hex() if rows else _START)
        return max(len(rows), 1)


class IndexKeyPlan(SecretPlan):
    """The key of the blind indexes."""

    def unready(self, conn: Connection, key: KeyVersion) -> str | None:
        """See `Plan.unready`: every number is indexed under it too."""
        names = (_subjects(key), _licences(key))
        return None if all(get_setting(conn, name) == _DONE for name in names) else "index"

    def unfinished(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.unfinished`: no row is left under it."""
        tables = (schema.identifier_index, schema.licence_number)
        for table in tables:
            query = select(table.c.value).where(table.c.key_version == old.ref.version).limit(1)
            if conn.execute(query).first() is not None:
                return "index"
        return None

    def work(self) -> int:
        """See `Plan.work`: index one batch under the successor, or clear one of the old."""
        with self.bench.storage.write() as conn:
            self.bench.vault.refresh(conn)
            for key in self._at(conn, Purpose.INDEX_HMAC, Stage.PUBLISHED):
                if self._settled(key.published_ms) and self.unready(conn, key):
                    return self._index_subjects(conn, key) or self._index_licences(conn, key)
            for old in self._at(conn, Purpose.INDEX_HMAC, Stage.RETIRING):
                if self._settled(old.retiring_ms):
                    return self._clear(conn, old)
        return 0

    def _index_subjects(self, conn: Connection, key: KeyVersion) -> int:
        name = _subjects(key)
        cursor = get_setting(conn, name) or _START
        if cursor == _DONE:
            return 0
        s, i, vault = schema.subject.c, schema.identifier_index, self.bench.vault
        query = select(schema.subject).where(s.subject_ref > bytes.fromhex(cursor))
        rows = conn.execute(query.order_by(s.subject_ref).limit(BATCH)).all()
        wanted: dict[tuple[str, bytes], bytes] = {}
        for row in rows:
            ref = bytes(row.subject_ref)
            opened = Subject(
                ref, vault.open_key(bytes(row.wrapped_key), kek_version=row.kek_version)
            )
            profile = open_profile(opened, bytes(row.sealed_profile), created_ms=row.created_ms)
            for linked in profile.numbers:
                entry = vault.subject_index_of(linked.number, key.ref.version)
                wanted[entry.kind, entry.value] = ref
        values = sorted({value for _, value in wanted})
        query_there = select(i.c.kind, i.c.value).where(
            i.c.kind.in_(sorted({kind for kind, _ in wanted})),
            i.c.key_version == key.ref.version,
            i.c.value.in_(values),
        )
        there = {(kind, bytes(value)) for kind, value in conn.execute(query_there)}
        missing = [
            {
                "kind": kind,
                "key_version": key.ref.version,
                "value": value,
                "subject_ref": ref,
            }
            for (kind, value), ref in sorted(wanted.items())
            if (kind, value) not in there
        ]
        if missing:
            conn.execute(i.insert(), missing)
        put_setting(conn, name, bytes(rows[-1].subject_ref).hex() if rows else _DONE)
        return max(len(rows), 1)

    def _index_licences(self, conn: Connection, key: KeyVersion) -> int:
        name = _licences(key)
        cursor = get_setting(conn, name) or _START
        if cursor == _DONE:
            return 0
        n, version = schema.licence_number, key.ref.version
        (before,) = self._at(conn, Purpose.INDEX_HMAC, Stage.ACTIVE)
        query = select(n.c.value, n.c.subject_ref, n.c.licence_ref).where(
            n.c.key_version == before.ref.version, n.c.value > bytes.fromhex(cursor)
        )
        rows = conn.execute(query.order_by(n.c.value).limit(BATCH)).all()
        places = [(bytes(row.subject_ref), bytes(row.licence_ref)) for row in rows]
        wanted = self._numbers(conn, places, version)
        there = {
            bytes(value)
            for value in conn.execute(
                select(n.c.value).where(n.c.key_version == version, n.c.value.in_(sorted(wanted)))
            ).scalars()
        }
        missing = [
            {
                "key_version": version,
                "value": value,
                "subject_ref": place[0],
                "licence_ref": place[1],
            }
            for value, place in sorted(wanted.items())
            if value not in there
        ]
        if missing:
            conn.execute(n.insert(), missing)
        put_setting(conn, name, bytes(rows[-1].value).hex() if rows else _DONE)
        return max(len(rows), 1)

    def _numbers(
        self, conn: Connection, places: Sequence[tuple[bytes, bytes]], version: int
    ) -> dict[bytes, tuple[bytes, bytes]]:
        """Return the new indexes of licences' numbers, as the licences themselves state them."""
        if not places:
            return {}
        li, s, vault = schema.licence.c, schema.subject.c, self.bench.vault
        query = (
            select(
                li.subject_ref,
                li.licence_ref,
                li.revision,
                li.type_code,
                li.issuer_code,
                li.sealed_payload,
                s.kek_version,
                s.wrapped_key,
            )
            .join_from(schema.licence, schema.subject, li.subject_ref == s.subject_ref)
            .where(tuple_(li.subject_ref, li.licence_ref).in_(list(places)), li.revision == 1)
        )
        found: dict[bytes, tuple[bytes, bytes]] = {}
        for row in conn.execute(query):
            key = vault.open_key(bytes(row.wrapped_key), kek_version=row.kek_version)
            place = bytes(row.subject_ref), bytes(row.licence_ref)
            payload = key.open(bytes(row.sealed_payload), row=payload_row(*place, row.revision))
            number = _number_of(payload[SALT_SIZE:].decode("ascii"))
            entry = vault.licence_number_index_of(row.type_code, row.issuer_code, number, version)
            found[entry.value] = place
        return found

    def _clear(self, conn: Connection, old: KeyVersion) -> int:
        cleared = 0
        for table, own in (
            (schema.identifier_index, ("kind", "value")),
            (schema.licence_number, ("value",)),
        ):
            columns = [table.c[name] for name in own]
            query = select(*columns).where(table.c.key_version == old.ref.version).limit(BATCH)
            rows: list[Any] = [tuple(row) for row in conn.execute(query)]
            for row in rows:
                same = [column == value for column, value in zip(columns, row, strict=True)]
                conn.execute(delete(table).where(table.c.key_version == old.ref.version, *same))
            cleared += len(rows)
        return cleared


def _subjects(key: KeyVersion) -> str:
    return f"index/{key.ref.version}/subjects"


def _licences(key: KeyVersion) -> str:
    return f"index/{key.ref.version}/licences"


def _number_of(sd_jwt: str) -> str:
    """Return the licence number 证照编号 that a licence states."""
    return str(sdjwt.parse(sd_jwt).unverified_claims()["ZZBH"])
