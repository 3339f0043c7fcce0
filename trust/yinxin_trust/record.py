"""One version of one licence, as the database holds it.

What is readable in the row is what may be known without the holder's file:
type, issuer, state, status index. The SD-JWT with all its disclosures, and the
salt that opens the log's leaf, are sealed under the holder's data key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from yinxin_proto.error import IntegrityError
from yinxin_proto.identifier import LicenceIdentifier, of_body
from yinxin_proto.leaf import SALT_SIZE, Opening
from yinxin_proto.receipt import Receipt
from yinxin_proto.statuslist import StatusReference
from yinxin_proto.strict import Json, canonical_json
from yinxin_trust.namespace import Namespace
from yinxin_trust.subject import Subject
from yinxin_trust.transition import State

_REVISION_BYTES: Final = 4


def payload_row(subject_ref: bytes, licence_ref: bytes, revision: int) -> bytes:
    """Return the row binding of ``licence.sealed_payload``."""
    return b"licence\0" + subject_ref + licence_ref + revision.to_bytes(_REVISION_BYTES, "big")


def etag_of(revision: int, generation: int) -> str:
    """Return the etag of a licence in one generation of one version."""
    return f'"{revision}-{generation}"'


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LicenceRecord:
    """One version of a licence, opened."""

    subject_ref: bytes
    licence_ref: bytes
    identifier: LicenceIdentifier
    type_version: int
    state: State
    generation: int
    status: StatusReference
    valid_from_ms: int
    valid_until_ms: int | None
    created_ms: int
    updated_ms: int
    entry: bytes
    opening: Opening
    sd_jwt: str

    @property
    def etag(self) -> str:
        """Changes whenever the state does (AIP-154)."""
        return etag_of(self.identifier.version, self.generation)

    def file(self, receipt: Receipt | None) -> bytes:
        """Return the licence file (``application/vnd.yinxin.licence+json``)."""
        # As `LicenceFile.to_bytes`, which would have to parse the opening first.
        members: dict[str, Json] = {"opening": self.opening.to_json(), "sd_jwt": self.sd_jwt}
        if receipt is not None:
            members["receipt"] = receipt.to_bytes().decode("utf-8")
        return canonical_json(members)

    def __repr__(self) -> str:
        return f"LicenceRecord({self.identifier}, {self.state.value})"


def seal_payload(
    subject: Subject, licence_ref: bytes, revision: int, opened: LicenceRecord
) -> bytes:
    """Seal the salt and the SD-JWT for their row."""
    row = payload_row(subject.ref, licence_ref, revision)
    return subject.key.seal(opened.opening.salt + opened.sd_jwt.encode("ascii"), row=row)


def open_rows(
    rows: Sequence[Row[*tuple[Any, ...]]],
    subjects: Mapping[bytes, Subject],
    namespace: Namespace,
) -> list[LicenceRecord]:
    """Open full ``licence`` rows with the data keys of their owners.

    Raises:
        IntegrityError: A payload that does not open, or whose owner is gone.
    """
    return [_open_row(row, subjects, namespace) for row in rows]


def _open_row(
    row: Row[*tuple[Any, ...]], subjects: Mapping[bytes, Subject], namespace: Namespace
) -> LicenceRecord:
    subject_ref, licence_ref = bytes(row.subject_ref), bytes(row.licence_ref)
    owner = subjects.get(subject_ref)
    if owner is None:
        raise IntegrityError("a licence's owner is not on file", reason="OWNER_MISSING")
    payload = owner.key.open(
        bytes(row.sealed_payload), row=payload_row(subject_ref, licence_ref, row.revision)
    )
    return LicenceRecord(
        subject_ref=subject_ref,
        licence_ref=licence_ref,
        identifier=of_body(f"{row.type_code}.{row.issuer_code}.{row.serial}", row.revision),
        type_version=row.type_version,
        state=State(row.state),
        generation=row.generation,
        status=StatusReference(f"{namespace.status_prefix}/{row.status_list}", row.status_idx),
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        entry=bytes(row.entry),
        opening=Opening(
            approval=bytes(row.approval_hash),
            evidence=bytes(row.evidence_hash),
            request=bytes(row.request_hash),
            salt=payload[:SALT_SIZE],
        ),
        sd_jwt=payload[SALT_SIZE:].decode("ascii"),
    )
