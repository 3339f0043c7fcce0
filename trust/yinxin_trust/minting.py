"""Minting: from a checked request to a signed licence and the rows that keep it.

All cryptography of an issue happens here, outside any transaction. Nothing
minted leaves the region before its rows are committed and its leaf is under a
signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from yinxin_proto.clock import Entropy
from yinxin_proto.identifier import new
from yinxin_proto.issuer import Issuer
from yinxin_proto.leaf import SALT_SIZE, Opening
from yinxin_proto.licence import build_claims, count_decoys, start_of_day
from yinxin_trust import schema
from yinxin_trust.allocation import Allocation
from yinxin_trust.decoy import decoy_texts
from yinxin_trust.directory import IssuingAuthority, LicenceKey
from yinxin_trust.intake import CheckedRequest
from yinxin_trust.ledger import LICENCES, queue
from yinxin_trust.namespace import Namespace
from yinxin_trust.record import LicenceRecord, seal_payload
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.subject import REF_BYTES, Subject
from yinxin_trust.transition import State
from yinxin_trust.vault import Vault

SERIAL_CHARACTERS: Final = 20
"""100 random bits: a licence's address cannot be guessed."""
_ALPHABET: Final = b"0123456789ABCDEFGHJKMNPQRTUVWXYZ"
"""32 characters, so that a byte modulo 32 is uniform; none looks like another."""
_TO_SERIAL: Final = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_SALT_END: Final = SERIAL_CHARACTERS + SALT_SIZE
_DRAWN_BYTES: Final = _SALT_END + REF_BYTES


@dataclass(frozen=True, slots=True)
class MintedLicence:
    """A signed licence with its owner, before it is committed."""

    record: LicenceRecord
    owner: Subject
    holders: tuple[Subject, ...]


class Mint:
    """Signs one authority's licences.

    Args:
        namespace: The region's names.
        authority: Whose licences.
        issuer: Signs with the authority's licence key.
        key: That key's record.
        entropy: Serial numbers, salts and references.
        now: The moment of issue.
    """

    def __init__(
        self,
        *,
        namespace: Namespace,
        authority: IssuingAuthority,
        issuer: Issuer,
        key: LicenceKey,
        entropy: Entropy,
        now: datetime,
    ) -> None:
        self._namespace = namespace
        self._authority = authority
        self._issuer = issuer
        self._key = key
        self._entropy = entropy
        self._now = now
        self._now_ms = milliseconds(now)

    def mint(
        self,
        checked: CheckedRequest,
        *,
        approval_digest: bytes,
        allocation: Allocation,
        holders: Sequence[Subject],
    ) -> MintedLicence:
        """Sign one licence and compute the leaf that commits to it."""
        request = checked.request
        # One call for all that must be random: the kernel's answer costs more than the bytes.
        drawn = self._entropy.token(_DRAWN_BYTES)
        serial = drawn[:SERIAL_CHARACTERS].translate(_TO_SERIAL).decode("ascii")
        identifier = new(type=request.type, issuer=request.issuer, serial=serial)
        claims = build_claims(
            request,
            identifier=identifier,
            status=allocation.reference,
            domain=self._namespace.domain,
            type_name=checked.type.name,
            authority_name=self._authority.name,
            issued_at=self._now,
        )
        salt, licence_ref = drawn[SERIAL_CHARACTERS:_SALT_END], drawn[_SALT_END:]
        decoys = count_decoys(request.fields, checked.type.optional_fields)
        issued = self._issuer.issue(
            claims, entropy=self._entropy, decoys=decoy_texts(licence_ref, salt, decoys)
        )
        opening = Opening(
            approval=approval_digest,
            evidence=self._key.evidence_hash,
            request=checked.digest,
            salt=salt,
        )
        entry = opening.licence_entry(
            issued.issuer_jwt.encode("ascii"),
            self._key.thumbprint,
            str(identifier),
            allocation.reference.uri,
            allocation.reference.index,
        )
        until = request.valid_until
        record = LicenceRecord(
            subject_ref=holders[0].ref,
            licence_ref=licence_ref,
            identifier=identifier,
            type_version=request.type_version,
            state=State.VALID,
            generation=1,
            status=allocation.reference,
            valid_from_ms=start_of_day(request.valid_from) * 1000,
            valid_until_ms=None if until is None else (start_of_day(until) + 86_400) * 1000,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
            entry=entry,
            opening=opening,
            sd_jwt=issued.to_text(),
        )
        return MintedLicence(record, holders[0], tuple(holders))


def add_rows(
    batch: RowBatch,
    minted: MintedLicence,
    *,
    checked: CheckedRequest,
    allocation: Allocation,
    key: LicenceKey,
    vault: Vault,
) -> None:
    """Queue everything that keeps a minted licence."""
    record, opening = minted.record, minted.record.opening
    identifier = record.identifier
    owned = {"subject_ref": record.subject_ref, "licence_ref": record.licence_ref}
    batch.add(
        schema.licence,
        {
            **owned,
            "revision": identifier.version,
            "type_code": identifier.type,
            "type_version": record.type_version,
            "issuer_code": identifier.issuer,
            "serial": identifier.serial,
            "state": record.state.value,
            "generation": record.generation,
            "valid_from_ms": record.valid_from_ms,
            "valid_until_ms": record.valid_until_ms,
            "status_list": allocation.list_number,
            "status_idx": allocation.reference.index,
            "key_thumbprint": key.thumbprint,
            "approval_hash": opening.approval,
            "evidence_hash": opening.evidence,
            "request_hash": opening.request,
            "entry": record.entry,
            "sealed_payload": seal_payload(
                minted.owner, record.licence_ref, identifier.version, record
            ),
            "created_ms": record.created_ms,
            "updated_ms": record.updated_ms,
        },
    )
    batch.add(schema.licence_identifier, {"body": identifier.body, **owned})
    number = checked.request.number
    for index in vault.licence_number_claims(identifier.type, identifier.issuer, number):
        batch.add(
            schema.licence_number,
            {"key_version": index.key_version, "value": index.value, **owned},
        )
    batch.add(
        schema.status_index,
        {"list_number": allocation.list_number, "idx": allocation.reference.index, "value": 0},
    )
    for holder in minted.holders:
        batch.add(
            schema.holding,
            {
                "subject_ref": holder.ref,
                "licence_ref": record.licence_ref,
                "owner_ref": record.subject_ref,
                "created_ms": record.created_ms,
            },
        )
    queue(batch, LICENCES, record.entry, now_ms=record.created_ms)
