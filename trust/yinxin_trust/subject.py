"""Subjects 持证主体: several identifiers, one holder.

The number is the key by which everybody asks, and nobody may read it in the
database: look-ups go number → blind index → ``subject_ref``, a random value
that everything else is filed under.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from yinxin_edge.lookup import Lookup
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
)
from yinxin_proto.number import SubjectNumber
from yinxin_trust import schema
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.subject_profile import (
    Kind,
    LinkedNumber,
    Subject,
    SubjectProfile,
    kind_of,
    open_profile,
    seal_profile,
)
from yinxin_trust.vault import BlindIndex, DataKey, Vault

__all__ = ["REF_BYTES", "Kind", "Subject", "SubjectDirectory", "SubjectProfile"]

REF_BYTES = 16

# Built once: building a statement costs several times what SQLite takes to run it.
_i, _s = schema.identifier_index.c, schema.subject.c
_FIND: Final = select(
    _i.kind, _i.key_version, _i.value, _s.subject_ref, _s.kek_version, _s.wrapped_key
).join_from(schema.identifier_index, schema.subject, _i.subject_ref == _s.subject_ref)
_FIND_ONE: Final = Lookup(
    _FIND.where(
        _i.kind == bindparam("of_kind"),
        _i.key_version == bindparam("of_version"),
        _i.value == bindparam("of_value"),
    )
)
# Column by column, not by row values: SQLite would read the whole table for those.
_FIND_SOME: Final = _FIND.where(
    _i.kind.in_(bindparam("of_kinds", expanding=True)),
    _i.key_version == bindparam("of_version"),
    _i.value.in_(bindparam("of_values", expanding=True)),
)


class SubjectDirectory:
    """Finds and makes subjects.

    Args:
        vault: Index keys and key-encryption keys.
        clock: Dates new rows.
        entropy: Makes references.
    """

    def __init__(self, *, vault: Vault, clock: Clock, entropy: Entropy) -> None:
        self._vault = vault
        self._clock = clock
        self._entropy = entropy

    def find(
        self, conn: Connection, numbers: Iterable[SubjectNumber]
    ) -> dict[SubjectNumber, Subject]:
        """Return the known subjects among ``numbers``, in one query per thousand."""
        self._vault.refresh(conn)
        index = {self._vault.subject_index(number): number for number in numbers}
        wanted = list(index)
        found: dict[SubjectNumber, Subject] = {}
        for start in range(0, len(wanted), 1000):
            self._find_some(conn, wanted[start : start + 1000], index, found)
        return found

    def _find_some(
        self,
        conn: Connection,
        wanted: Sequence[BlindIndex],
        index: dict[BlindIndex, SubjectNumber],
        found: dict[SubjectNumber, Subject],
    ) -> None:
        first = wanted[0]
        rows: Iterable[Any]
        if len(wanted) == 1:
            rows = _FIND_ONE.all(
                conn, of_kind=first.kind, of_version=first.key_version, of_value=first.value
            )
        else:
            among = {
                "of_kinds": sorted({entry.kind for entry in wanted}),
                "of_version": first.key_version,
                "of_values": [entry.value for entry in wanted],
            }
            rows = conn.execute(_FIND_SOME, among)
        keys_by_ref: dict[bytes, DataKey] = {}
        for kind, key_version, value, raw_ref, kek_version, wrapped in rows:
            ref = bytes(raw_ref)
            key = keys_by_ref.get(ref)
            if key is None:
                key = self._vault.open_key(bytes(wrapped), kek_version=kek_version)
                keys_by_ref[ref] = key
            number = index.get(BlindIndex(kind, key_version, bytes(value)))
            if number is not None:
                found[number] = Subject(ref, key)

    def get(self, conn: Connection, number: SubjectNumber) -> Subject:
        """Return the subject of a number.

        Raises:
            NotFoundError: No such subject here.
        """
        found = self.find(conn, (number,)).get(number)
        if found is None:
            raise NotFoundError(
                "no subject with this number is on file in this region", reason="SUBJECT"
            )
        return found

    def by_ref(self, conn: Connection, refs: Iterable[bytes]) -> dict[bytes, Subject]:
        """Open the data keys of subjects known by reference."""
        s = schema.subject.c
        query = select(s.subject_ref, s.kek_version, s.wrapped_key).where(
            s.subject_ref.in_(list(refs))
        )
        return {
            bytes(ref): Subject(
                bytes(ref), self._vault.open_key(bytes(wrapped), kek_version=version)
            )
            for ref, version, wrapped in conn.execute(query)
        }

    def add(
        self, batch: RowBatch, number: SubjectNumber, *, name: str, kind: Kind | None = None
    ) -> Subject:
        """Queue a new subject under one number; it exists once ``batch`` commits.

        Two transactions that add the same number cannot both commit: the
        index row is the claim.
        """
        return self._add(batch, (number,), name=name, kind=kind)

    def _add(
        self,
        batch: RowBatch,
        numbers: Sequence[SubjectNumber],
        *,
        name: str,
        kind: Kind | None = None,
    ) -> Subject:
        key, wrapped, kek_version = self._vault.new_key()
        subject = Subject(self._entropy.token(REF_BYTES), key)
        now_ms = milliseconds(self._clock.now())
        sealed = seal_profile(
            subject,
            name=name,
            kind=kind or kind_of(numbers[0]),
            numbers=[LinkedNumber(number, now_ms) for number in numbers],
        )
        batch.add(
            schema.subject,
            {
                "subject_ref": subject.ref,
                "kek_version": kek_version,
                "wrapped_key": wrapped,
                "sealed_profile": sealed,
                "created_ms": now_ms,
            },
        )
        self._index(batch, subject, numbers)
        return subject

    def _index(self, batch: RowBatch, subject: Subject, numbers: Iterable[SubjectNumber]) -> None:
        for number in numbers:
            for entry in self._vault.subject_claims(number):
                batch.add(
                    schema.identifier_index,
                    {
                        "kind": entry.kind,
                        "key_version": entry.key_version,
                        "value": entry.value,
                        "subject_ref": subject.ref,
                    },
                )

    def link(
        self,
        conn: Connection,
        batch: RowBatch,
        subject: Subject,
        numbers: Sequence[SubjectNumber],
        *,
        etag: str = "",
    ) -> None:
        """Link further numbers to a subject, inside a write transaction.

        Args:
            conn: The transaction; the subject stays locked until its end.
            batch: Where the index rows are queued, for the same transaction.
            subject: Whom they belong to.
            numbers: Not on file yet; one that is refuses the transaction.
            etag: The profile's as last seen; unchecked when empty.

        Raises:
            ConflictError: The profile was changed since (``ETAG``).
        """
        profile = self.profile(conn, subject.ref, lock=True)
        if etag and etag != profile.etag:
            raise ConflictError(
                "the subject changed since it was read; read it again", reason="ETAG"
            )
        now_ms = milliseconds(self._clock.now())
        sealed = seal_profile(
            subject,
            name=profile.name,
            kind=profile.kind,
            numbers=[*profile.numbers, *(LinkedNumber(number, now_ms) for number in numbers)],
        )
        s = schema.subject
        conn.execute(update(s).where(s.c.subject_ref == subject.ref).values(sealed_profile=sealed))
        self._index(batch, subject, numbers)

    def register(
        self,
        conn: Connection,
        batch: RowBatch,
        numbers: Sequence[SubjectNumber],
        *,
        name: str,
        kind: Kind | None = None,
    ) -> Subject:
        """Register one subject with its numbers, some of which may be on file.

        Args:
            conn: A write transaction.
            batch: Where new rows are queued, for the same transaction.
            numbers: All of one subject.
            name: Of a new subject; one that is on file keeps its own.
            kind: Of a new subject; what the first number tells, when omitted.

        Raises:
            AlreadyExistsError: The numbers are on file for different subjects
                (``SUBJECT_SPLIT``).
        """
        if not numbers:
            raise InvalidArgumentError("a subject has at least one number", reason="NUMBERS")
        found = self.find(conn, numbers)
        subjects = {subject.ref: subject for subject in found.values()}
        if len(subjects) > 1:
            raise AlreadyExistsError(
                "the numbers belong to different subjects on file; they cannot be joined",
                reason="SUBJECT_SPLIT",
            )
        missing = [number for number in dict.fromkeys(numbers) if number not in found]
        if not subjects:
            return self._add(batch, missing, name=name, kind=kind)
        subject = next(iter(subjects.values()))
        if missing:
            self.link(conn, batch, subject, missing)
        return subject

    def profile(self, conn: Connection, ref: bytes, *, lock: bool = False) -> SubjectProfile:
        """Return what is on file about a subject.

        Args:
            conn: A transaction.
            ref: The subject's reference.
            lock: Keep others from changing it until the (write) transaction ends.

        Raises:
            NotFoundError: No such subject here (``SUBJECT``).
        """
        s = schema.subject.c
        query = select(
            s.subject_ref, s.kek_version, s.wrapped_key, s.sealed_profile, s.created_ms
        ).where(s.subject_ref == ref)
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFoundError("no such subject in this region", reason="SUBJECT")
        key = self._vault.open_key(bytes(row.wrapped_key), kek_version=row.kek_version)
        return open_profile(Subject(ref, key), bytes(row.sealed_profile), created_ms=row.created_ms)
