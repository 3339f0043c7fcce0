"""What is on file about a subject, and how it is sealed.

The numbers are kept beside the name, under the subject's own data key: an
index key can only be replaced by computing every index anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from yinxin_proto.number import SubjectNumber, parse
from yinxin_proto.strict import canonical_json, parse_json_object
from yinxin_trust.vault import DataKey


class Kind(StrEnum):
    """持证主体类别."""

    PERSON = "person"
    LEGAL_PERSON = "legal-person"
    OTHER_ORGANISATION = "other-organisation"


def kind_of(number: SubjectNumber) -> Kind:
    """Return what a number tells of its subject's kind."""
    return Kind.PERSON if number.type.is_person else Kind.LEGAL_PERSON


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject whose data key is open."""

    ref: bytes
    key: DataKey = field(repr=False)


class LinkedNumber(NamedTuple):
    """A number that a subject is known by."""

    number: SubjectNumber
    linked_ms: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SubjectProfile:
    """What is on file about one subject."""

    subject: Subject
    name: str
    kind: Kind
    numbers: Sequence[LinkedNumber]
    created_ms: int
    etag: str
    """Changes with every change of the profile."""

    def __repr__(self) -> str:
        return f"SubjectProfile({self.subject.ref.hex()})"


def profile_row(ref: bytes) -> bytes:
    """Return the row binding of ``subject.sealed_profile``."""
    return b"subject\0" + ref


def seal_profile(
    subject: Subject, *, name: str, kind: Kind, numbers: Sequence[LinkedNumber]
) -> bytes:
    """Seal a profile for its row."""
    document = {
        "kind": kind.value,
        "name": name,
        "numbers": [
            [str(linked.number.type), linked.number.reveal(), linked.linked_ms]
            for linked in numbers
        ],
    }
    return subject.key.seal(canonical_json(document), row=profile_row(subject.ref))


def open_profile(subject: Subject, sealed: bytes, *, created_ms: int) -> SubjectProfile:
    """Open what `seal_profile` made.

    Raises:
        IntegrityError: It does not open in this row.
    """
    document = parse_json_object(subject.key.open(sealed, row=profile_row(subject.ref)))
    return SubjectProfile(
        subject=subject,
        name=str(document["name"]),
        kind=Kind(document["kind"]),
        numbers=tuple(
            LinkedNumber(parse(kind, value), linked_ms)
            for kind, value, linked_ms in document["numbers"]
        ),
        created_ms=created_ms,
        # Sealed anew with each change, under a nonce of its own.
        etag=f'"{sha256(sealed).hexdigest()[:16]}"',
    )
