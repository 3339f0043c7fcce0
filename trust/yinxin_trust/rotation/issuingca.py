"""Issuing CAs: another key, under a name of its own, certified by the offline root.

Past CAs stay anchors of the trust list, for the certificates that they signed,
and their revocation lists go on for as long as their keys are there; the last
list holds until the CA's own certificate ends.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import KeyRef, not_found
from yinxin_ca.profile import OCSP_RESPONDER, TLS_CA_CROSS, TLS_CLIENT
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import parse
from yinxin_proto.error import KeyStoreError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.strict import parse_json
from yinxin_trust import schema
from yinxin_trust.certification import (
    ISSUING,
    ROOT,
    ca_label,
    crl_lifetime,
    crl_targets,
    get_crl,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion
from yinxin_trust.keyring import ISSUING_CA
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.rotation.plan import NOTHING, Change, PlainPlan, describe
from yinxin_trust.rotation.trustkey import published_trust
from yinxin_trust.rows import milliseconds
from yinxin_trust.trustlisting import get_anchors, put_anchor

_LIVING: Final = {Stage.PUBLISHED, Stage.ACTIVE, Stage.RETIRING}


class IssuingCaPlan(PlainPlan):
    """One of the issuing CAs."""

    offline = frozenset({Step.PREPARE, Step.PUBLISH})
    waits_for_verifiers = True

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`: certified by the root; a TLS CA by its predecessor as well."""
        name = _name_of(ref)
        _, profile, common_name = ISSUING[name]
        public_key = self.store(ref).signer(ref).public_key
        subject = Subject(
            organisation=self.bench.keyring.namespace.name,
            common_name=f"{common_name} {ref.version}",
        )
        root = self._open(conn, ROOT)
        chain = [root.issue(profile, subject=subject, public_key=public_key)]
        if name == "tls":
            # For clients that were told of the old one alone.
            before = self._open_if_there(conn, name)
            if before is not None and (parse(before.certificate).path_length or 0) > 0:
                cross = before.issue(TLS_CA_CROSS, subject=subject, public_key=public_key)
                chain.append(cross)
        return describe(self.store(ref), ref, tuple(chain))

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`: an anchor, with a revocation list from its first day."""
        return Change(trust_list=True, targets={"crl": self._sign_list(conn, key)})

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`."""
        anchors = published_trust(conn, self.bench).anchors
        return key.chain[0] in getattr(anchors, _name_of(key.ref))

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """See `Plan.activate`: it signs whatever is certified from now on."""
        put_anchor(conn, _name_of(key.ref), key.chain[0])
        return Change()

    def needed(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.needed`: it can still revoke what it certified."""
        name = _name_of(old.ref)
        if name == "tls":
            # Its clients are known to its register alone; none outlives this.
            ended = old.retiring_ms or old.since_ms
            lasts = int(TLS_CLIENT.validity.total_seconds() * 1000)
            alive = milliseconds(self.bench.clock.now()) < ended + lasts
            return "certificates" if alive else None
        v = schema.key_version.c
        rows = conn.execute(
            select(v.chain).where(v.stage.in_([str(stage) for stage in _LIVING]), v.chain != "[]")
        )
        for row in rows:
            chain = x5c_chain({"x5c": parse_json(row.chain.encode())})
            if len(chain) > 1 and chain[1] == old.chain[0]:
                return "certificates"
        return None

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.destroy`: its last list, which holds to the end of its certificate."""
        return Change(targets={"crl": self._sign_list(conn, old, last=True)})

    def _open(
        self, conn: Connection, name: str, key: KeyVersion | None = None
    ) -> CertificateAuthority:
        return open_authority(
            name,
            anchors=get_anchors(conn),
            certificate=None if key is None else key.chain[0],
            keyring=self.bench.keyring.at(conn),
            registers=self.bench.registers,
            clock=self.bench.clock,
            entropy=self.bench.entropy,
        )

    def _open_if_there(
        self, conn: Connection, name: str, key: KeyVersion | None = None
    ) -> CertificateAuthority | None:
        """Open an authority; None where its key is nowhere, as after a token was stolen."""
        try:
            return self._open(conn, name, key)
        except KeyStoreError as error:
            if error.reason != "KEY_NOT_FOUND":
                raise
            return None

    def _sign_list(
        self, conn: Connection, key: KeyVersion, *, last: bool = False
    ) -> dict[str, bytes | None]:
        name = _name_of(key.ref)
        lifetime, authority = crl_lifetime(name), self._open_if_there(conn, name, key)
        if authority is None and last:
            # Whoever lost its key signs no list; the one that there is stands.
            return {}
        if authority is None:
            raise not_found(key.ref)
        if last:
            lifetime = max(lifetime, parse(key.chain[0]).not_after - self.bench.clock.now())
        label = ca_label(name, key.ref.version)
        lists = sign_lists(label, authority, lifetime=lifetime)
        put_crls(conn, lists, self.bench.clock)
        touch(conn)
        return crl_targets(lists)


class ServiceCaPlan(IssuingCaPlan):
    """The seal, the time-stamp or the member CA: no verdict on a licence needs it.

    So it is not in the trust list; its certificate and list are served.
    """

    offline = frozenset({Step.PREPARE})
    waits_for_verifiers = False

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`: a revocation list from its first day."""
        self._sign_list(conn, key)
        return NOTHING

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`."""
        return get_crl(conn, ca_label(_name_of(key.ref), key.ref.version)) is not None

    def needed(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.needed`: what it certified is known to its register alone."""
        label = ca_label(_name_of(old.ref), old.ref.version)
        now = self.bench.clock.now()
        alive = any(
            # Its own responder is certified anew for as long as it has its key.
            record.profile != OCSP_RESPONDER.name
            and record.der is not None
            and record.revoked_at is None
            and record.read().not_after >= now
            for record in self.bench.registers(label).records()
        )
        return "certificates" if alive else None

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.destroy`: its last list, served until its certificate ends."""
        self._sign_list(conn, old, last=True)
        return NOTHING


def _name_of(ref: KeyRef) -> str:
    return next(name for name, purpose in ISSUING_CA.items() if purpose is ref.purpose)
