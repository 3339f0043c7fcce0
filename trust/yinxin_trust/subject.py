"""Subjects 持证主体: several identifiers, one holder.

The number is the key by which everybody asks, and nobody may read it in the
database: look-ups go number → blind index → ``subject_ref``, a random value
that everything else is filed under.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, tuple_

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import AlreadyExistsError, NotFoundError
from yinxin_proto.number import SubjectNumber
from yinxin_proto.strict import canonical_json, parse_json_object
from yinxin_trust import schema
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.vault import BlindIndex, DataKey, Vault

REF_BYTES = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject whose data key is open."""

    ref: bytes
    key: DataKey = field(repr=False)


def profile_row(ref: bytes) -> bytes:
    """Return the row binding of ``subject.sealed_profile``."""
    return b"subject\0" + ref


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
        i, s = schema.identifier_index.c, schema.subject.c
        query = select(i.kind, i.key_version, i.value, s.subject_ref, s.kek_version, s.wrapped_key)
        query = query.join_from(
            schema.identifier_index, schema.subject, i.subject_ref == s.subject_ref
        )
        if len(wanted) == 1:
            only = wanted[0]
            query = query.where(
                i.kind == only.kind, i.key_version == only.key_version, i.value == only.value
            )
        else:
            keys = [(entry.kind, entry.key_version, entry.value) for entry in wanted]
            query = query.where(tuple_(i.kind, i.key_version, i.value).in_(keys))
        keys_by_ref: dict[bytes, DataKey] = {}
        for kind, version, value, raw_ref, kek_version, wrapped in conn.execute(query):
            ref = bytes(raw_ref)
            key = keys_by_ref.get(ref)
            if key is None:
                key = self._vault.open_key(bytes(wrapped), kek_version=kek_version)
                keys_by_ref[ref] = key
            found[index[BlindIndex(kind, version, bytes(value))]] = Subject(ref, key)

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

    def add(self, batch: RowBatch, number: SubjectNumber, *, name: str) -> Subject:
        """Queue a new subject under one number; it exists once ``batch`` commits.

        Two transactions that add the same number cannot both commit: the
        index row is the claim.
        """
        ref = self._entropy.token(REF_BYTES)
        key, wrapped = self._vault.new_key()
        now = milliseconds(self._clock.now())
        profile = canonical_json({"name": name})
        batch.add(
            schema.subject,
            {
                "subject_ref": ref,
                "kek_version": self._vault.kek_version,
                "wrapped_key": wrapped,
                "sealed_profile": key.seal(profile, row=profile_row(ref)),
                "created_ms": now,
            },
        )
        self.link(batch, Subject(ref, key), number)
        return Subject(ref, key)

    def link(self, batch: RowBatch, subject: Subject, number: SubjectNumber) -> None:
        """Queue a further identifier for a subject."""
        entry = self._vault.subject_index(number)
        batch.add(
            schema.identifier_index,
            {
                "kind": entry.kind,
                "key_version": entry.key_version,
                "value": entry.value,
                "subject_ref": subject.ref,
            },
        )

    def register(
        self, conn: Connection, batch: RowBatch, numbers: Sequence[SubjectNumber], *, name: str
    ) -> Subject:
        """Queue one subject with several numbers, some of which may be on file.

        Raises:
            AlreadyExistsError: The numbers are on file for different subjects.
        """
        found = self.find(conn, numbers)
        subjects = {subject.ref: subject for subject in found.values()}
        if len(subjects) > 1:
            raise AlreadyExistsError(
                "the numbers belong to different subjects on file; they cannot be joined",
                reason="SUBJECT_SPLIT",
            )
        missing = [number for number in dict.fromkeys(numbers) if number not in found]
        if subjects:
            subject = next(iter(subjects.values()))
        else:
            subject = self.add(batch, missing.pop(0), name=name)
        for number in missing:
            self.link(batch, subject, number)
        return subject

    def name(self, conn: Connection, subject: Subject) -> str:
        """Return the subject's name from its sealed profile."""
        query = select(schema.subject.c.sealed_profile).where(
            schema.subject.c.subject_ref == subject.ref
        )
        sealed = bytes(conn.execute(query).scalar_one())
        profile = parse_json_object(subject.key.open(sealed, row=profile_row(subject.ref)))
        return str(profile["name"])
