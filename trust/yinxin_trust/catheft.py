"""An issuing CA's key that was stolen: another in its place, and its certificate revoked.

What it certified stands for as long as the trust list names the certified key:
the list is signed anew after the revocation, and says so. The thief can certify
whatever he likes; a key that the list does not name is refused all the same.
Only the TLS CA's certificates open a door by themselves: it is an anchor no
more, so every client it certified is enrolled anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, update

from yinxin_ca.keystore import Purpose
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import NotFoundError
from yinxin_proto.jose import encode_x5c
from yinxin_proto.operation import Action, Operation, SignedOperation, new_operation
from yinxin_proto.strict import Json, b64url_encode, canonical_json
from yinxin_proto.trustchange import TrustChange, parameters_of
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.certification import (
    ISSUING,
    ROOT,
    IssuingCa,
    ca_label,
    crl_targets,
    get_crl_for,
    issuing_cas,
    open_authority,
    put_crls,
    put_evidence,
    sign_lists,
)
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, inventory, move, note
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.publication import published_trust_list
from yinxin_trust.region import Region
from yinxin_trust.rows import milliseconds
from yinxin_trust.status import StatusSigner, put_status_chain
from yinxin_trust.successor import PreparedKey, Succession
from yinxin_trust.trustlisting import get_anchors

_HASTE: Final = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaTheft:
    """Replaces a region's issuing CAs."""

    region: Region
    """With its offline keys open."""

    def succeed(self, label: str) -> KeyVersion:
        """Let another CA certify in a stolen one's place now; return the stolen one's key.

        Raises:
            NotFoundError: No such CA (``CA``).
        """
        stolen = self._find(label)
        purpose, owner = stolen.key.ref.purpose, stolen.key.ref.owner
        rotation = self.region.rotation(
            settings=replace(self.region.settings.rotation, publish_wait=_HASTE, settle=_HASTE)
        )
        while self._find(label).key.stage is Stage.ACTIVE:
            found = rotation.next_step(owner, purpose)
            if found is None:
                rotation.prepare(owner, purpose)
            else:
                step, ref = found
                (rotation.publish if step is Step.PUBLISH else rotation.activate)(ref)
        return self._find(label).key

    def operation(self, label: str) -> tuple[Operation, Json] | None:
        """Return what officers are to sign, and what it commits to.

        Only a TLS CA leaves the trust list; for another there is nothing to sign.
        """
        if self._find(label).name != "tls":
            return None
        with self.region.storage.read() as conn:
            listed = published_trust_list(conn, self.region.clock.now())
        own = self._find(label).certificate
        left = [der for der in TrustList.parse(listed).anchors.tls if der != own]
        region, outcome = self.region, [b64url_encode(der) for der in left]
        operation = new_operation(
            Action.WITHDRAW_ANCHOR,
            "tls",
            parameters_of(outcome),
            region=region.namespace.code,
            clock=region.clock,
            entropy=region.entropy,
        )
        return operation, outcome

    def revoke(self, label: str, operations: Sequence[SignedOperation] = ()) -> None:
        """Revoke a CA that has a successor, certify its living keys anew, and publish it all.

        Raises:
            NotFoundError: No such CA (``CA``).
            PermissionDeniedError: A TLS CA, and two officers did not sign it.
        """
        stolen, region = self._find(label), self.region
        self._authorise(label, operations)
        with region.storage.read() as conn:
            certified = self._certified_by(conn, stolen)
            prepared = [self._certify(conn, key) for key in certified]
        self._record(stolen)
        with region.storage.write() as conn:
            touch(conn)
            now_ms = milliseconds(region.clock.now())
            (key,) = [one for one in issuing_cas(conn) if one.label == label]
            if key.key.stage is not Stage.COMPROMISED:
                move(conn, key.key, Step.COMPROMISE, now_ms)
            also: dict[str, dict[str, bytes | None]] = {"crl": self._root_lists(conn)}
            for made in prepared:
                self._replace_chain(conn, made)
            if any(made.ref.purpose is Purpose.STATUS for made in prepared):
                signer = StatusSigner(keyring=region.keyring, clock=region.clock)
                also["status"] = signer.sign_due(conn, every=True)
            region.registrar.publish_trust(conn, operations=operations, also=also)

    def _authorise(self, label: str, operations: Sequence[SignedOperation]) -> None:
        """Ask the signer before anything is recorded; it decides again when it signs."""
        wanted = self.operation(label)
        if wanted is None or self._find(label).key.stage is Stage.COMPROMISED:
            return
        control = self.region.keyring.control(self.region.clock)
        decided = control.decided()
        if decided is None or self._find(label).certificate in decided.anchors.tls:
            change = TrustChange(wanted[0].action, wanted[0].target, wanted[0].parameters)
            control.cover([change], operations)

    def _find(self, label: str) -> IssuingCa:
        with self.region.storage.read() as conn:
            for ca in issuing_cas(conn):
                if ca.label == label:
                    return ca
        raise NotFoundError(
            f"the region has no issuing CA {label}; these are: {', '.join(ISSUING)}, and later "
            "ones with their version, as in licence-2",
            reason="CA",
        )

    def _certified_by(self, conn: Connection, stolen: IssuingCa) -> list[KeyVersion]:
        """Return the keys in use whose certificate the stolen CA signed."""
        purposes = (Purpose.LICENCE, Purpose.STATUS)
        return [
            key
            for key in inventory(conn)
            if key.ref.purpose in purposes
            and key.stage in (Stage.ACTIVE, Stage.PUBLISHED)
            and key.chain[1:2] == (stolen.certificate,)
        ]

    def _certify(self, conn: Connection, key: KeyVersion) -> PreparedKey:
        signer = self.region.keyring.store_of(key.ref.purpose).signer(key.ref)
        prepared = PreparedKey(ref=key.ref, public_key=signer.public_key)
        return Succession(registrar=self.region.registrar).certify(conn, prepared)

    def _record(self, stolen: IssuingCa) -> None:
        """Record the revocation with the root that certified it; idempotent."""
        region = self.region
        with region.storage.read() as conn:
            root = parse(get_anchors(conn).root)
            ref, _ = region.keyring.at(conn).signer_of(Purpose.ROOT, root.spki)
        register = region.foundation.registers(ca_label(ROOT, ref.version))
        serial = parse(stolen.certificate).serial_number
        known = register.find(serial)
        if known is not None and known.revoked_at is None:
            moment = region.clock.now().replace(microsecond=0)
            register.record_revoked(serial, RevocationReason.CA_COMPROMISE, moment)

    def _root_lists(self, conn: Connection) -> dict[str, bytes | None]:
        region = self.region
        root = open_authority(
            ROOT,
            anchors=get_anchors(conn),
            keyring=region.keyring.at(conn),
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
        )
        lists = sign_lists(ROOT, root)
        put_crls(conn, lists, region.clock)
        return crl_targets(lists)

    def _replace_chain(self, conn: Connection, made: PreparedKey) -> None:
        note(conn, made.ref, chain=canonical_json(list(encode_x5c(made.chain))).decode())
        if made.ref.purpose is Purpose.STATUS:
            put_status_chain(conn, made.chain)
            return
        k = schema.authority_key
        crl = get_crl_for(conn, made.chain) or b""
        now_ms = milliseconds(self.region.clock.now())
        conn.execute(
            update(k)
            .where(k.c.thumbprint == made.public_key.thumbprint)
            .values(
                x5c=canonical_json(list(encode_x5c(made.chain))).decode(),
                evidence_hash=put_evidence(conn, made.chain, crl, now_ms),
            )
        )
