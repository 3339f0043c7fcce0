"""The root CA's key that was stolen: another root over the same issuing CAs.

The issuing CAs keep their names and keys and get certificates by the new root;
so whatever they certified leads there, licences in people's hands included. The
trust list, which other keys sign, names the new root: two officers sign that.
Verifiers pin the trust repository's root, not this one, and follow by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import FailedPreconditionError, IntegrityError
from yinxin_proto.jose import encode_x5c
from yinxin_proto.operation import Action, Operation, SignedOperation, new_operation
from yinxin_proto.strict import Json, b64url_encode, canonical_json
from yinxin_proto.suite import suite, suite_of
from yinxin_proto.trustchange import TrustChange, parameters_of
from yinxin_trust import schema
from yinxin_trust.certification import (
    ISSUING,
    ROOT,
    IssuingCa,
    ca_label,
    crl_targets,
    issuing_cas,
    list_name,
    put_crls,
    sign_lists,
)
from yinxin_trust.directory import touch
from yinxin_trust.externalauthority import CROSS_PROFILE
from yinxin_trust.keyinventory import KeyVersion, add_active, inventory, move, note, versions
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.region import Region
from yinxin_trust.rows import milliseconds
from yinxin_trust.status import StatusSigner, put_status_chain
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.trustlisting import CROSS_PREFIX, put_anchor

_NEXT: Final = "root/next"
"""Setting: the certificate of a root that was prepared and not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootTheft:
    """Replaces a region's root CA."""

    region: Region
    """With its offline keys open."""

    def prepare(self) -> tuple[Operation, Json]:
        """Make the next root, or find what an earlier attempt made; return what is to be signed."""
        region = self.region
        ref = self._next_ref()
        store = region.keyring.store_of(Purpose.ROOT)
        if ref not in {info.ref for info in store.list()}:
            store.generate(ref, region.foundation.suites.of(Purpose.ROOT))
        with region.storage.read() as conn:
            known = get_setting(conn, _NEXT)
        signer = store.signer(ref)
        if known is None or parse(bytes.fromhex(known)).spki != signer.public_key.spki:
            root = create_root(
                subject=Subject(
                    organisation=region.namespace.name, common_name=f"Root CA {ref.version}"
                ),
                signer=signer,
                register=region.foundation.registers(ca_label(ROOT, ref.version)),
                clock=region.clock,
                entropy=region.entropy,
                locations=region.namespace.locations(ROOT, online=False),
            )
            known = root.certificate.hex()
            with region.storage.write() as conn:
                put_setting(conn, _NEXT, known)
        outcome = b64url_encode(bytes.fromhex(known))
        operation = new_operation(
            Action.REPLACE_ROOT,
            "root",
            parameters_of(outcome),
            region=region.namespace.code,
            clock=region.clock,
            entropy=region.entropy,
        )
        return operation, outcome

    def replace(
        self,
        operations: Sequence[SignedOperation],
        *,
        done: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Certify the issuing CAs by the new root, and publish it all in one transaction.

        Raises:
            FailedPreconditionError: None was prepared (``ROOT_NEXT``).
            PermissionDeniedError: Two officers did not sign this.
        """
        region, root = self.region, self._open_next()
        outcome = b64url_encode(root.certificate)
        change = TrustChange(Action.REPLACE_ROOT, "root", parameters_of(outcome))
        control = region.keyring.control(region.clock)
        decided = control.decided()
        if decided is None or decided.anchors.root != root.certificate:
            control.cover([change], operations)
        done("authorised")
        with region.storage.read() as conn:
            cas, outside = issuing_cas(conn), _crossed(conn, region.clock.now())
        renewed = {ca.certificate: self._certify(root, ca) for ca in cas}
        crossed = {name: self._cross(root, cross) for name, cross in outside.items()}
        done("certified")
        with region.storage.write() as conn:
            touch(conn)
            self._write(conn, root, cas, renewed)
            for name, cross in crossed.items():
                put_setting(conn, name, cross.hex())
            lists = sign_lists(ROOT, root)
            put_crls(conn, lists, region.clock)
            signer = StatusSigner(keyring=region.keyring, clock=region.clock)
            region.registrar.publish_trust(
                conn,
                operations=operations,
                also={"crl": crl_targets(lists), "status": signer.sign_due(conn, every=True)},
            )

    def _next_ref(self) -> KeyRef:
        code = self.region.namespace.code
        with self.region.storage.read() as conn:
            latest = max(key.ref.version for key in versions(conn, code, Purpose.ROOT))
        return KeyRef(code, Purpose.ROOT, latest + 1)

    def _open_next(self) -> CertificateAuthority:
        region = self.region
        with region.storage.read() as conn:
            known = get_setting(conn, _NEXT)
        if known is None:
            raise FailedPreconditionError("no other root was prepared", reason="ROOT_NEXT")
        ref = self._next_ref()
        return CertificateAuthority(
            certificate=bytes.fromhex(known),
            signer=region.keyring.store_of(Purpose.ROOT).signer(ref),
            register=region.foundation.registers(ca_label(ROOT, ref.version)),
            clock=region.clock,
            entropy=region.entropy,
            locations=region.namespace.locations(ROOT, online=False),
        )

    def _certify(self, root: CertificateAuthority, ca: IssuingCa) -> bytes:
        """Certify an issuing CA's name and key anew; one that was revoked stays so."""
        _, profile, common_name = ISSUING[ca.name]
        version = ca.key.ref.version
        # From its first certificate: its own key may be destroyed, or gone with its token.
        public_key = suite(ca.key.suite).load_public(parse(ca.certificate).spki)
        der = root.issue(
            profile,
            subject=Subject(
                organisation=self.region.namespace.name,
                common_name=common_name if version == 1 else f"{common_name} {version}",
            ),
            public_key=public_key,
        )
        revoked = self._revoked(ca.certificate)
        if ca.key.stage is Stage.COMPROMISED:
            revoked = RevocationReason.CA_COMPROMISE
        if revoked is not None:
            root.revoke(parse(der).serial_number, revoked)
        return der

    def _cross(self, root: CertificateAuthority, cross: Certificate) -> bytes:
        """Certify a licensed authority outside anew; one that was taken back stays so."""
        found = suite_of(cross.spki)
        if found is None:
            raise IntegrityError("a cross-certificate of no suite", reason="CHAIN_ALGORITHM")
        key = found.load_public(cross.spki)
        der = root.cross_certify(cross.der, profile=CROSS_PROFILE, public_key=key)
        if (revoked := self._revoked(cross.der)) is not None:
            root.revoke(parse(der).serial_number, revoked)
        return der

    def _revoked(self, certificate: bytes) -> RevocationReason | None:
        """Return why the root before revoked a certificate of its own, if it did."""
        registers, serial = self.region.foundation.registers, parse(certificate).serial_number
        for label in registers.names():
            record = registers(label).find(serial) if list_name(label) == ROOT else None
            if record is not None and record.revoked_at is not None:
                return record.reason
        return None

    def _write(
        self,
        conn: Connection,
        root: CertificateAuthority,
        cas: Sequence[IssuingCa],
        renewed: dict[bytes, bytes],
    ) -> None:
        now_ms = milliseconds(self.region.clock.now())
        ref = self._next_ref()
        for old in versions(conn, ref.owner, Purpose.ROOT):
            if old.stage is not Stage.COMPROMISED:
                move(conn, old, Step.COMPROMISE, now_ms)
        own = parse(root.certificate)
        key = KeyVersion(
            ref=ref,
            suite=self.region.foundation.suites.of(Purpose.ROOT).name,
            stage=Stage.ACTIVE,
            thumbprint=own.thumbprint,
            public=own.spki,
            chain=(root.certificate,),
        )
        add_active(conn, (key,), now_ms)
        put_anchor(conn, ROOT, root.certificate)
        for ca in cas:
            new = renewed[ca.certificate]
            note(conn, ca.key.ref, chain=_chain(new, *ca.key.chain[1:]))
            if ca.key.stage is Stage.ACTIVE:
                put_anchor(conn, ca.name, new)
        for leaf in inventory(conn):
            if len(leaf.chain) > 1 and leaf.chain[1] in renewed:
                self._rechain(conn, leaf, (leaf.chain[0], renewed[leaf.chain[1]]))

    def _rechain(self, conn: Connection, leaf: KeyVersion, chain: tuple[bytes, ...]) -> None:
        note(conn, leaf.ref, chain=_chain(*chain))
        if leaf.ref.purpose is Purpose.STATUS and leaf.stage is Stage.ACTIVE:
            put_status_chain(conn, chain)
        elif leaf.ref.purpose is Purpose.LICENCE:
            k = schema.authority_key
            conn.execute(
                update(k).where(k.c.thumbprint == leaf.thumbprint).values(x5c=_chain(*chain))
            )


def _crossed(conn: Connection, now: datetime) -> dict[str, Certificate]:
    """Return the cross-certificates that stand in the trust list, by their settings.

    One that has ended is left as it is: nothing below it counts any more.
    """
    s = schema.setting.c
    rows = conn.execute(select(s.name, s.value).where(s.name.startswith(CROSS_PREFIX)))
    found = {row.name: parse(bytes.fromhex(row.value)) for row in rows}
    return {name: cross for name, cross in found.items() if cross.not_after > now}


def _chain(*ders: bytes) -> str:
    return canonical_json(list(encode_x5c(ders))).decode()
