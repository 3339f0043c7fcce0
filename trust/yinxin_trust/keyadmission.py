"""Keys that others make and bring: whether one may be put on record.

One key has one holder and one purpose, and what was stolen is nobody's any
more. So a key is looked for in everything that the region has on record,
whoever certified it and for whatever it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from yinxin_ca.enrolment import KnownKey
from yinxin_ca.register import CertificateRecord
from yinxin_ca.weakkey import load_strong
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import FailedPreconditionError, InvalidArgumentError
from yinxin_proto.signature import PublicKey
from yinxin_trust import schema
from yinxin_trust.certification import RegisterFactory
from yinxin_trust.keyring import Keyring


def known_keys(
    conn: Connection, *, registers: RegisterFactory, keyring: Keyring
) -> Iterator[KnownKey]:
    """Yield every key that is on record in a region, with its holder and purpose."""
    for name in registers.names():
        for record in registers(name).records():
            yield KnownKey(
                spki=record.spki,
                holder=holder_of(record, name),
                purpose=record.profile,
                revoked=record.reason,
            )
    for row in conn.execute(select(schema.authority_key)):
        yield KnownKey(spki=bytes(row.spki), holder=row.authority_code, purpose=row.purpose)
    for info in keyring.online.list():
        if info.spki is not None:
            yield KnownKey(spki=info.spki, holder=info.ref.owner, purpose=info.ref.purpose.value)


def check_new(
    conn: Connection, key: PublicKey, *, registers: RegisterFactory, keyring: Keyring
) -> None:
    """Refuse a key that somebody brings for a purpose of its own, and that is not new.

    Raises:
        InvalidArgumentError: Everybody knows its private half (``KEY_WEAK``), or
            it is on record already, for anything or anybody (``KEY_REUSE``).
        FailedPreconditionError: It was revoked as compromised (``KEY_COMPROMISED``).
    """
    load_strong(key.spki, key.suite)
    every = known_keys(conn, registers=registers, keyring=keyring)
    same = [known for known in every if known.spki == key.spki]
    if any(known.revoked is RevocationReason.KEY_COMPROMISE for known in same):
        raise FailedPreconditionError(
            "the key was revoked as compromised; generate another", reason="KEY_COMPROMISED"
        )
    if same:
        raise InvalidArgumentError(
            "this key is on record already; a new one is to be made for each purpose and turn",
            reason="KEY_REUSE",
        )


def holder_of(record: CertificateRecord, register: str) -> str:
    """Return whom a record names: a principal by URI, others by their register and subject."""
    found = record.read()
    return found.uris[0] if found.uris else f"{register}/{found.subject.hex()}"
