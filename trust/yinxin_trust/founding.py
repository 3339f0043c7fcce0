"""Founding a region: its keys, certificates, tables, logs and first publication.

Done once. A directory that was not founded to its end is never opened: it is
made beside its final place and moved there when everything is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import Purpose
from yinxin_ca.profile import STATUS
from yinxin_ca.subject import Subject
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import AlreadyExistsError
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState
from yinxin_trust import schema
from yinxin_trust.allocation import OPEN_LISTS, open_list
from yinxin_trust.catalogue import LicenceType, add_type, builtin_types
from yinxin_trust.certification import (
    AUTHORITIES,
    RegisterFactory,
    crl_lifetime,
    crl_targets,
    found_authorities,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, add_active
from yinxin_trust.keyring import ISSUING_CA, Keyring, generate
from yinxin_trust.keystage import Stage
from yinxin_trust.ledger import LICENCES, USES
from yinxin_trust.logcosigner import certify_cosigner, cosigners, found_parallel_root
from yinxin_trust.logsuccession import log_key_version
from yinxin_trust.permissionseal import PermissionSeal
from yinxin_trust.publication import Publication
from yinxin_trust.relocation import REGION_SETTING
from yinxin_trust.rows import milliseconds
from yinxin_trust.sequencer import create_log
from yinxin_trust.status import StatusSigner, put_status_chain
from yinxin_trust.storage import Storage, get_setting, put_setting
from yinxin_trust.suites import RegionSuites
from yinxin_trust.trustlisting import (
    RegionAnchors,
    build_trust_list,
    key_row,
    put_anchors,
)

_LOGS: Final = (LICENCES, USES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Founder:
    """What a founding needs."""

    storage: Storage
    keyring: Keyring
    registers: RegisterFactory
    suites: RegionSuites
    clock: Clock
    entropy: Entropy

    def found(self) -> None:
        """Make the region.

        Raises:
            AlreadyExistsError: The database holds a region already.
        """
        self.storage.create()
        with self.storage.read() as conn:
            if get_setting(conn, REGION_SETTING) is not None:
                raise AlreadyExistsError(
                    "the database holds a region already; name another database, or open it",
                    reason="REGION_EXISTS",
                )
        generate(self.keyring, self.suites)
        self.storage.seal = PermissionSeal(self.keyring.integrity_key())
        anchors = found_authorities(self.keyring, self.registers, self.clock, self.entropy)
        parallel = found_parallel_root(self.keyring, self.registers, self.clock, self.entropy)
        with self.storage.write() as conn:
            self._write(conn, anchors, parallel)

    def _write(
        self, conn: Connection, anchors: RegionAnchors, parallel: CertificateAuthority
    ) -> None:
        namespace, now = self.keyring.namespace, self.clock.now()
        touch(conn)
        put_setting(conn, REGION_SETTING, namespace.code)
        put_anchors(conn, anchors)
        self._write_keys(conn, anchors, parallel.certificate)
        self._write_status_key(conn, anchors)
        for log_number in _LOGS:
            self._write_log(conn, log_number, parallel)
        for _ in range(OPEN_LISTS):
            open_list(conn, uri_prefix=namespace.status_prefix, entropy=self.entropy)
        types = builtin_types()
        for entry in types:
            add_type(conn, entry, now_ms=milliseconds(now))
        crls = self._crls(anchors)
        put_crls(conn, crls, self.clock)
        statuses = StatusSigner(keyring=self.keyring, clock=self.clock).sign_due(conn)
        Publication(storage=self.storage, keyring=self.keyring, clock=self.clock).found(
            conn,
            trust_list=build_trust_list(conn, namespace, now).to_bytes(),
            changes={
                "status": statuses,
                "crl": crl_targets(crls),
                "catalogue": catalogue_targets(types),
            },
        )

    def _write_keys(self, conn: Connection, anchors: RegionAnchors, parallel: bytes) -> None:
        """Record the region's own keys; those that others judge by certificates follow."""
        certificates = {Purpose.ROOT: anchors.root, Purpose.PQ_ROOT: parallel}
        certificates |= {key: getattr(anchors, name) for name, key in ISSUING_CA.items()}
        stores = (self.keyring.online, self.keyring.offline)
        code = self.keyring.namespace.code
        apart = (Purpose.STATUS, Purpose.LOG)
        keys = [
            KeyVersion(
                ref=info.ref,
                suite=info.kind,
                stage=Stage.ACTIVE,
                thumbprint=None if info.spki is None else sha256(info.spki).digest(),
                public=info.spki,
                chain=tuple(der for der in (certificates.get(info.ref.purpose),) if der),
            )
            for store in stores
            if store is not None
            for info in store.list()
            if info.ref.owner == code and info.ref.purpose not in apart
        ]
        add_active(conn, keys, milliseconds(self.clock.now()))

    def _write_log(self, conn: Connection, log_number: int, parallel: CertificateAuthority) -> None:
        ref, signer = self.keyring.log_ref(log_number), self.keyring.log_signer(log_number)
        origin = signer.vkey.name
        certificate = certify_cosigner(parallel, self.keyring, ref, origin)
        key = log_key_version(ref, signer.vkey, certificate)
        add_active(conn, (key,), milliseconds(self.clock.now()))
        beside = cosigners(conn, self.keyring, ref, origin, self.clock)
        create_log(conn, log_number=log_number, origin=origin, signer=signer, cosigners=beside)

    def _write_status_key(self, conn: Connection, anchors: RegionAnchors) -> None:
        authority = open_authority(
            "status",
            anchors=anchors,
            keyring=self.keyring,
            registers=self.registers,
            clock=self.clock,
            entropy=self.entropy,
        )
        key = self.keyring.signer(Purpose.STATUS).public_key
        der = authority.issue(
            STATUS,
            subject=Subject(organisation=self.keyring.namespace.name, common_name="Status signing"),
            public_key=key,
        )
        put_status_chain(conn, authority.chain(der))
        record = KeyRecord(
            suite=key.suite.name,
            purpose=KeyPurpose.STATUS,
            spki=key.spki,
            state=KeyState.ACTIVE,
            not_before=int(self.clock.now().timestamp()),
        )
        conn.execute(schema.authority_key.insert().values(**key_row(version=1, record=record)))
        version = KeyVersion(
            ref=self.keyring.ref(Purpose.STATUS),
            suite=record.suite,
            stage=Stage.ACTIVE,
            thumbprint=record.thumbprint,
            public=key.spki,
            chain=authority.chain(der),
        )
        add_active(conn, (version,), milliseconds(self.clock.now()))

    def _crls(self, anchors: RegionAnchors) -> dict[str, bytes]:
        crls: dict[str, bytes] = {}
        for name in AUTHORITIES:
            authority = open_authority(
                name,
                anchors=anchors,
                keyring=self.keyring,
                registers=self.registers,
                clock=self.clock,
                entropy=self.entropy,
            )
            crls |= sign_lists(name, authority, lifetime=crl_lifetime(name))
        return crls


def catalogue_targets(types: list[LicenceType]) -> dict[str, bytes | None]:
    """Return licence types as targets of the ``catalogue`` role."""
    return {f"catalogue/{entry.code}.json": entry.to_bytes() for entry in types}
