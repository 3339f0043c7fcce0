"""Who belongs to a region: authorities with their keys, principals with their roles.

An authority's licence-signing key is made in the region's key store; its
approval key never is: the authority hands over the public half alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.profile import LICENCE, TLS_CLIENT
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.crl import parse_crl
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    Violation,
)
from yinxin_proto.jose import encode_x5c
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState
from yinxin_proto.number import is_credit_code
from yinxin_proto.operation import SignedOperation
from yinxin_proto.scope import TypeScope
from yinxin_proto.signature import PublicKey, Suite
from yinxin_trust import schema
from yinxin_trust.access import Role, check_exclusive
from yinxin_trust.catalogue import load_catalogue
from yinxin_trust.certification import (
    ROOT,
    RegisterFactory,
    ca_label,
    crl_targets,
    get_crl,
    get_crl_for,
    is_crl_due,
    open_authority,
    put_crls,
    put_evidence,
    sign_lists,
)
from yinxin_trust.directory import touch
from yinxin_trust.keyadmission import check_new
from yinxin_trust.keyinventory import KeyVersion, add_active
from yinxin_trust.keyring import Keyring
from yinxin_trust.keystage import Stage
from yinxin_trust.publication import Changes, Publication
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import Storage
from yinxin_trust.trustlisting import build_trust_list, get_anchors, key_row, scopes_json


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """An issuing authority 颁发机构 to be added."""

    code: str
    """Unified social credit code."""
    name: str
    types: tuple[str, ...]
    """Codes of the licence types that it may issue."""
    approval_key: PublicKey
    """Public half of its approval key, which it keeps."""
    name_en: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrar:
    """Adds authorities and principals to a region's records."""

    storage: Storage
    keyring: Keyring
    registers: RegisterFactory
    suite: Suite
    clock: Clock
    entropy: Entropy

    def add_authority(
        self, authority: NewAuthority, *, also: Callable[[Connection], None] | None = None
    ) -> None:
        """Add an authority, make its licence key, and publish the new trust list.

        Needs the offline keys: who is trusted changes.

        Args:
            authority: Who is added.
            also: Done last in the same transaction: it stands with the authority, or neither.

        Raises:
            InvalidArgumentError: A wrong code, types that the catalogue lacks, or
                an approval key that is weak or on record for something else
                (``KEY_WEAK``, ``KEY_REUSE``).
            AlreadyExistsError: The authority is there already.
            FailedPreconditionError: The offline store is not open, or the approval
                key is known as stolen (``KEY_COMPROMISED``).
        """
        self.keyring.signer(Purpose.TUF_TARGETS)
        ref = KeyRef(authority.code, Purpose.LICENCE)
        with self.storage.read() as conn:
            self._check_authority(conn, authority)
            check_new(conn, authority.approval_key, registers=self.registers, keyring=self.keyring)
            anchors = get_anchors(conn)
        # A key that a failed attempt left behind was never trusted: it is used now.
        known = {info.ref for info in self.keyring.online.list()}
        signer = (
            self.keyring.online.signer(ref)
            if ref in known
            else self.keyring.online.generate(ref, self.suite)
        )
        ca = open_authority(
            "licence",
            anchors=anchors,
            keyring=self.keyring,
            registers=self.registers,
            clock=self.clock,
            entropy=self.entropy,
        )
        der = ca.issue(
            LICENCE,
            subject=Subject(organisation=authority.name, organisation_code=authority.code),
            public_key=signer.public_key,
        )
        with self.storage.write() as conn:
            self._write_authority(conn, authority, signer.public_key, ca.chain(der))
            if also is not None:
                also(conn)

    def _check_authority(self, conn: Connection, authority: NewAuthority) -> None:
        catalogue = load_catalogue(conn)
        violations = []
        if not is_credit_code(authority.code):
            violations.append(Violation("code", "a unified social credit code", "CREDIT_CODE"))
        if not authority.types:
            violations.append(Violation("types", "at least one licence type", "TYPES"))
        for code in authority.types:
            try:
                entry = catalogue.get(code)
            except NotFoundError:
                violations.append(Violation("types", f"the catalogue has no type {code}"))
                continue
            if not entry.is_issuable:
                violations.append(Violation("types", f"type {code} is verified here, not issued"))
        if violations:
            raise InvalidArgumentError("the authority cannot be added", violations=violations)
        a = schema.authority.c
        if conn.execute(select(a.code).where(a.code == authority.code)).first() is not None:
            raise AlreadyExistsError(
                "this authority is in the region's records already", reason="AUTHORITY_EXISTS"
            )

    def _write_authority(
        self,
        conn: Connection,
        authority: NewAuthority,
        licence_key: PublicKey,
        chain: tuple[bytes, ...],
    ) -> None:
        touch(conn)
        now = self.clock.now()
        now_s, now_ms = int(now.timestamp()), milliseconds(now)
        scopes = tuple(TypeScope(type=code, not_before=now_s) for code in authority.types)
        conn.execute(
            schema.authority.insert().values(
                code=authority.code,
                name=authority.name,
                name_en=authority.name_en,
                types=scopes_json(scopes),
                created_ms=now_ms,
            )
        )
        evidence = put_evidence(conn, chain, get_crl_for(conn, chain) or b"", now_ms)
        keys = (
            (KeyPurpose.LICENCE, licence_key, tuple(encode_x5c(chain)), evidence),
            (KeyPurpose.APPROVAL, authority.approval_key, (), None),
        )
        for purpose, key, x5c, digest in keys:
            record = KeyRecord(
                suite=key.suite.name,
                purpose=purpose,
                spki=key.spki,
                state=KeyState.ACTIVE,
                not_before=now_s,
            )
            row = key_row(
                authority_code=authority.code,
                version=1,
                record=record,
                x5c=x5c,
                evidence_hash=digest,
            )
            conn.execute(schema.authority_key.insert().values(**row))
            version = KeyVersion(
                ref=KeyRef(authority.code, Purpose(purpose.value)),
                suite=record.suite,
                stage=Stage.ACTIVE,
                thumbprint=record.thumbprint,
                public=key.spki,
                chain=chain if purpose is KeyPurpose.LICENCE else (),
            )
            add_active(conn, (version,), now_ms)
        self.publish_trust(conn)

    def publish_trust(
        self,
        conn: Connection,
        *,
        operations: Sequence[SignedOperation] = (),
        also: Changes | None = None,
        roles: Collection[Purpose] = (),
    ) -> None:
        """Sign and publish the trust list as the records make it, in one transaction.

        The root's revocation list is renewed along with it when it is due, or
        lacks what was revoked while its key was not at hand.

        Args:
            conn: A write transaction.
            operations: What officers signed, where trust breaks.
            also: What else is published with it.
            roles: Purposes of the repository's own keys that changed.

        Raises:
            PermissionDeniedError: The signer does not release the list.
        """
        now = self.clock.now()
        changes: dict[str, dict[str, bytes | None]] = {
            role: dict(targets) for role, targets in (also or {}).items()
        }
        if self._is_root_list_due(conn, now):
            root = open_authority(
                ROOT,
                anchors=get_anchors(conn),
                keyring=self.keyring,
                registers=self.registers,
                clock=self.clock,
                entropy=self.entropy,
            )
            crls = sign_lists(ROOT, root)
            put_crls(conn, crls, self.clock)
            changes.setdefault("crl", {}).update(crl_targets(crls))
        trust_list = build_trust_list(conn, self.keyring.namespace, now)
        Publication(storage=self.storage, keyring=self.keyring, clock=self.clock).publish(
            conn,
            changes,
            trust_list=trust_list.to_bytes(),
            operations=operations,
            roles=roles,
        )

    def _is_root_list_due(self, conn: Connection, now: datetime) -> bool:
        """Tell whether the root's list ages, or lacks what was revoked while its key was shut."""
        crl = get_crl(conn, ROOT)
        if crl is None or is_crl_due(crl, now):
            return True
        ref, _ = self.keyring.signer_of(Purpose.ROOT, parse(get_anchors(conn).root).spki)
        revoked = self.registers(ca_label(ROOT, ref.version)).revoked()
        return not {record.serial for record in revoked} <= parse_crl(crl).content.entries.keys()

    def add_principal(
        self,
        conn: Connection,
        *,
        principal_id: str,
        display_name: str,
        authority_code: str | None = None,
    ) -> None:
        """Add a principal without roles, inside a write transaction."""
        touch(conn)
        p = schema.principal
        if conn.execute(select(p.c.principal_id).where(p.c.principal_id == principal_id)).first():
            raise AlreadyExistsError(
                "this principal is in the region's records already", reason="PRINCIPAL_EXISTS"
            )
        conn.execute(
            p.insert().values(
                principal_id=principal_id,
                display_name=display_name,
                authority_code=authority_code,
                enabled=1,
                created_ms=milliseconds(self.clock.now()),
            )
        )

    def set_enabled(self, conn: Connection, principal_id: str, *, enabled: bool) -> None:
        """Let a principal call or stop it, inside a write transaction.

        A stopped one keeps its records and is refused at its next call, on
        every worker, whatever its certificate says.

        Raises:
            NotFoundError: No such principal.
        """
        touch(conn)
        p = schema.principal
        changed = conn.execute(
            update(p).where(p.c.principal_id == principal_id).values(enabled=int(enabled))
        ).rowcount
        if not changed:
            raise NotFoundError("no such principal in this region", reason="PRINCIPAL")

    def assign(self, conn: Connection, principal_id: str, role: Role, *, by: str) -> None:
        """Give a principal a role, inside a write transaction.

        Raises:
            NotFoundError: No such principal.
            FailedPreconditionError: Roles that exclude each other.
        """
        touch(conn)
        r = schema.role_assignment
        known = select(schema.principal.c.principal_id).where(
            schema.principal.c.principal_id == principal_id
        )
        if conn.execute(known).first() is None:
            raise NotFoundError("no such principal in this region", reason="PRINCIPAL")
        held = {
            Role(name)
            for name in conn.execute(
                select(r.c.role).where(r.c.principal_id == principal_id, r.c.withdrawn_ms.is_(None))
            ).scalars()
        }
        if role in held:
            return
        check_exclusive(held | {role})
        conn.execute(
            r.insert().values(
                principal_id=principal_id,
                role=role.value,
                assigned_by=by,
                assigned_ms=self._next_ms(conn, principal_id, role),
            )
        )

    def _next_ms(self, conn: Connection, principal_id: str, role: Role) -> int:
        """Return the present moment, or the first one after the role was last assigned."""
        r = schema.role_assignment.c
        last = conn.execute(
            select(func.max(r.assigned_ms)).where(
                r.principal_id == principal_id, r.role == role.value
            )
        ).scalar_one()
        now_ms = milliseconds(self.clock.now())
        return now_ms if last is None else max(now_ms, int(last) + 1)

    def withdraw(self, conn: Connection, principal_id: str, role: Role, *, by: str) -> None:
        """Take a role from a principal; it is gone at its next call.

        Raises:
            NotFoundError: The principal does not have it.
        """
        touch(conn)
        r = schema.role_assignment
        gone = conn.execute(
            update(r)
            .where(
                r.c.principal_id == principal_id,
                r.c.role == role.value,
                r.c.withdrawn_ms.is_(None),
            )
            .values(withdrawn_by=by, withdrawn_ms=milliseconds(self.clock.now()))
        ).rowcount
        if not gone:
            raise NotFoundError("the principal does not have this role", reason="ROLE")

    def certify_principal(self, principal_id: str, key: PublicKey) -> tuple[bytes, ...]:
        """Sign a TLS client certificate for a principal's own key; leaf first."""
        with self.storage.read() as conn:
            anchors = get_anchors(conn)
        ca = open_authority(
            "tls",
            anchors=anchors,
            keyring=self.keyring,
            registers=self.registers,
            clock=self.clock,
            entropy=self.entropy,
        )
        namespace = self.keyring.namespace
        der = ca.issue(
            TLS_CLIENT,
            subject=Subject(organisation=namespace.name, common_name=principal_id[:64]),
            public_key=key,
            names=AlternativeNames(uri=namespace.principal_uri(principal_id)),
        )
        return ca.chain(der)
