"""A new key in place of one that was stolen, made and certified before it is needed.

What a crash leaves behind (a key in the store, a certificate in the register)
was never trusted: the next attempt uses the key, and certifies it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.profile import LICENCE, STATUS
from yinxin_ca.subject import Subject
from yinxin_proto.jose import encode_x5c
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState
from yinxin_proto.signature import PublicKey
from yinxin_trust import schema
from yinxin_trust.certification import get_crl_for, open_authority, put_evidence
from yinxin_trust.keyinventory import KeyVersion, add_active, in_stages, versions
from yinxin_trust.keystage import Stage
from yinxin_trust.keystanding import StandingKey
from yinxin_trust.registration import Registrar
from yinxin_trust.rows import milliseconds
from yinxin_trust.status import put_status_chain
from yinxin_trust.trustlisting import get_anchors, key_row

_PROFILES = {Purpose.LICENCE: ("licence", LICENCE), Purpose.STATUS: ("status", STATUS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedKey:
    """A key that nobody trusts yet."""

    ref: KeyRef
    public_key: PublicKey
    chain: tuple[bytes, ...] = ()
    """DER certificates, leaf first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """Makes the successor of a licence-signing or status key."""

    registrar: Registrar

    def is_needed(self, conn: Connection, key: StandingKey) -> bool:
        """Tell whether nothing else could sign in the stolen key's place."""
        purpose = Purpose(key.record.purpose.value)
        if purpose not in _PROFILES:
            return False
        owner = key.owner or self.registrar.keyring.namespace.code
        return not in_stages(conn, owner, purpose, (Stage.ACTIVE,))

    def make(self, conn: Connection, key: StandingKey) -> PreparedKey:
        """Make the next version's key pair, or return what an earlier attempt made."""
        keyring = self.registrar.keyring
        purpose = Purpose(key.record.purpose.value)
        owner = key.owner or keyring.namespace.code
        # A version that rotation prepared stays what it is.
        latest = max(known.ref.version for known in versions(conn, owner, purpose))
        ref = KeyRef(owner, purpose, latest + 1)
        known = {info.ref for info in keyring.online.list()}
        signer = (
            keyring.online.signer(ref)
            if ref in known
            else keyring.online.generate(ref, self.registrar.suite)
        )
        return PreparedKey(ref=ref, public_key=signer.public_key)

    def certify(self, conn: Connection, prepared: PreparedKey) -> PreparedKey:
        """Have its issuing authority certify a prepared key."""
        registrar = self.registrar
        name, profile = _PROFILES[prepared.ref.purpose]
        authority = open_authority(
            name,
            anchors=get_anchors(conn),
            keyring=registrar.keyring,
            registers=registrar.registers,
            clock=registrar.clock,
            entropy=registrar.entropy,
        )
        der = authority.issue(
            profile, subject=self._subject(conn, prepared.ref), public_key=prepared.public_key
        )
        return PreparedKey(
            ref=prepared.ref, public_key=prepared.public_key, chain=authority.chain(der)
        )

    def _subject(self, conn: Connection, ref: KeyRef) -> Subject:
        if ref.purpose is Purpose.STATUS:
            organisation = self.registrar.keyring.namespace.name
            return Subject(organisation=organisation, common_name="Status signing")
        a = schema.authority.c
        name = conn.execute(select(a.name).where(a.code == ref.owner)).scalar_one()
        return Subject(organisation=name, organisation_code=ref.owner)

    def activate(self, conn: Connection, prepared: PreparedKey) -> None:
        """Write a certified key as the one that signs, inside a write transaction."""
        now = self.registrar.clock.now()
        record = KeyRecord(
            suite=prepared.public_key.suite.name,
            purpose=KeyPurpose(prepared.ref.purpose.value),
            spki=prepared.public_key.spki,
            state=KeyState.ACTIVE,
            not_before=int(now.timestamp()),
        )
        if prepared.ref.purpose is Purpose.STATUS:
            put_status_chain(conn, prepared.chain)
            row = key_row(version=prepared.ref.version, record=record)
        else:
            evidence = put_evidence(
                conn, prepared.chain, get_crl_for(conn, prepared.chain) or b"", milliseconds(now)
            )
            row = key_row(
                authority_code=prepared.ref.owner,
                version=prepared.ref.version,
                record=record,
                x5c=tuple(encode_x5c(prepared.chain)),
                evidence_hash=evidence,
            )
        conn.execute(schema.authority_key.insert().values(**row))
        version = KeyVersion(
            ref=prepared.ref,
            suite=record.suite,
            stage=Stage.ACTIVE,
            thumbprint=record.thumbprint,
            public=record.spki,
            chain=prepared.chain,
        )
        add_active(conn, (version,), milliseconds(now))
