"""Keys that the trust list names: licence signing, status, approval.

In the trust list a successor is active from its publication, so that whoever
verifies accepts it from its first signature on; that it is used comes later.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select, update

from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.profile import LICENCE, STATUS
from yinxin_ca.subject import Subject
from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.jose import encode_x5c
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState, Pin
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.strict import Json
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.certification import get_crl_for, open_authority, put_evidence
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, note
from yinxin_trust.keystage import Step
from yinxin_trust.ledger import LICENCES, committed_head, signed_head
from yinxin_trust.publication import TRUST_TARGET, first_root, reader
from yinxin_trust.rotation.plan import NOTHING, Bench, Change, PlainPlan, describe
from yinxin_trust.rows import milliseconds
from yinxin_trust.status import StatusSigner, put_status_chain
from yinxin_trust.trustlisting import get_anchors, key_row

_TRUST: Final = Change(trust_list=True)


def published_trust(conn: Connection, bench: Bench) -> TrustList:
    """Return the trust list that is published, verified from the first root on.

    That an online role ran out while nothing was served takes nothing from it.
    """
    view = RepositoryView.load(first_root(conn), reader(conn), bench.clock.now(), mode=Expiry.PACK)
    return TrustList.parse(view.target(TRUST_TARGET))


class TrustKeyPlan(PlainPlan):
    """What the three have in common."""

    offline = frozenset({Step.PUBLISH, Step.RETIRE})
    waits_for_verifiers = True

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`: a row of the trust list."""
        now_ms = milliseconds(self.bench.clock.now())
        record = KeyRecord(
            suite=key.suite,
            purpose=KeyPurpose(key.ref.purpose.value),
            spki=key.public or b"",
            state=KeyState.ACTIVE,
            not_before=now_ms // 1000,
        )
        evidence = None
        if key.ref.purpose is Purpose.LICENCE:
            evidence = put_evidence(conn, key.chain, get_crl_for(conn, key.chain) or b"", now_ms)
        of_region = key.ref.owner == self.bench.keyring.namespace.code
        row = key_row(
            authority_code="" if of_region else key.ref.owner,
            version=key.ref.version,
            record=record,
            x5c=() if of_region else tuple(encode_x5c(key.chain)),
            evidence_hash=evidence,
        )
        conn.execute(schema.authority_key.insert().values(**row))
        return _TRUST

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`."""
        found = published_trust(conn, self.bench).find_key(key.thumbprint or b"")
        return found is not None and found[1].state is KeyState.ACTIVE

    def retire(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.retire`: it stays in the trust list, for what it signed."""
        k = schema.authority_key
        conn.execute(
            update(k)
            .where(k.c.thumbprint == old.thumbprint)
            .values(
                state=KeyState.RETIRED.value,
                not_after_ms=milliseconds(self.bench.clock.now()),
            )
        )
        touch(conn)
        return _TRUST


class LicenceKeyPlan(TrustKeyPlan):
    """The key with which the region signs one authority's licences."""

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`: certified by the licence CA."""
        bench = self.bench
        authority = conn.execute(
            select(schema.authority.c.name).where(schema.authority.c.code == ref.owner)
        ).scalar_one()
        ca = open_authority(
            "licence",
            anchors=get_anchors(conn),
            keyring=bench.keyring.at(conn),
            registers=bench.registers,
            clock=bench.clock,
            entropy=bench.entropy,
        )
        store = self.store(ref)
        der = ca.issue(
            LICENCE,
            subject=Subject(organisation=authority, organisation_code=ref.owner),
            public_key=store.signer(ref).public_key,
        )
        return describe(store, ref, ca.chain(der))

    def seal(self, conn: Connection, old: KeyVersion) -> None:
        """See `Plan.seal`: commits of what it signed are refused from now on."""
        if old.fenced_ms is None:
            note(conn, old.ref, fenced_ms=milliseconds(self.bench.clock.now()))
            touch(conn)

    def unfinished(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.unfinished`: whatever it signed is under a signed checkpoint."""
        e, li = schema.log_entry.c, schema.licence.c
        size, signed = committed_head(conn, LICENCES).size, signed_head(conn, LICENCES).size
        waiting = (
            select(li.licence_ref)
            .join_from(schema.log_entry, schema.licence, e.entry == li.entry)
            .where(e.log_number == LICENCES, e.idx.is_(None), li.key_thumbprint == old.thumbprint)
            .limit(1)
        )
        if size != signed or conn.execute(waiting).first() is not None:
            return "log"
        return None

    def ending(self, conn: Connection, old: KeyVersion) -> Json:
        """See `Plan.ending`: nothing that it signed is beyond the tree of this moment."""
        head, signed = committed_head(conn, LICENCES), signed_head(conn, LICENCES)
        return Pin(
            origin=signed.origin, n_stop=head.size, root=head.root, n_safe=head.size
        ).to_json()


class StatusKeyPlan(TrustKeyPlan):
    """The key with which the region signs status lists."""

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`: certified by the status CA."""
        bench = self.bench
        ca = open_authority(
            "status",
            anchors=get_anchors(conn),
            keyring=bench.keyring.at(conn),
            registers=bench.registers,
            clock=bench.clock,
            entropy=bench.entropy,
        )
        store = self.store(ref)
        name = f"Status signing {ref.version}"
        der = ca.issue(
            STATUS,
            subject=Subject(organisation=bench.keyring.namespace.name, common_name=name),
            public_key=store.signer(ref).public_key,
        )
        return describe(store, ref, ca.chain(der))

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """See `Plan.activate`: every list is signed anew, by it."""
        put_status_chain(conn, key.chain)
        signer = StatusSigner(keyring=self.bench.keyring, clock=self.bench.clock)
        return Change(targets={"status": signer.sign_due(conn, every=True)})


class ApprovalKeyPlan(TrustKeyPlan):
    """An authority's own approval key, of which the region has the public half alone."""

    waits_for_verifiers = False

    def store(self, ref: KeyRef) -> KeyStore:
        """See `Plan.store`."""
        raise FailedPreconditionError(
            "an approval key is its authority's own: let it make one, and hand over the public "
            "half with: yinxin authority add-key DIR --code CODE --approval-key PEM",
            reason="APPROVAL_KEY_OURS",
        )

    def make(self, ref: KeyRef, like: KeyVersion) -> None:
        """See `Plan.make`: only the authority does."""
        self.store(ref)

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.destroy`: the authority does that too."""
        return NOTHING
