"""The key of a log: the next epoch of its origin, over the tree that goes on."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from yinxin_ca.keystore import KeyRef, KeyStore
from yinxin_proto.error import IntegrityError
from yinxin_proto.jose import encode_x5c
from yinxin_proto.logkey import FrozenHead
from yinxin_proto.strict import canonical_json
from yinxin_trust.keyinventory import KeyVersion, note
from yinxin_trust.keyring import LOG_KINDS
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.ledger import committed_head, signed_head
from yinxin_trust.logcosigner import (
    certify_cosigner,
    cosigners,
    destroy_cosigner,
    generate_cosigner,
    open_parallel_root,
)
from yinxin_trust.logsuccession import log_key_version, succeed
from yinxin_trust.rotation.plan import NOTHING, Change, PlainPlan
from yinxin_trust.rotation.trustkey import published_trust


class LogKeyPlan(PlainPlan):
    """The key of the log of licences, or of uses.

    Its activation needs the log's lease: whoever sequences the log does it.
    """

    offline = frozenset({Step.PUBLISH, Step.RETIRE})
    waits_for_verifiers = True

    def store(self, ref: KeyRef) -> KeyStore:
        """See `Plan.store`."""
        return self.bench.keyring.online

    def make(self, ref: KeyRef, like: KeyVersion) -> None:
        """See `Plan.make`: an Ed25519 seed, and the key that cosigns beside it."""
        generate_cosigner(self.bench.keyring, ref)
        self.store(ref).generate_secret(ref)

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`."""
        signer = self.bench.keyring.log_signer(log_number_of(ref), ref.version)
        return replace(log_key_version(ref, signer.vkey), stage=Stage.PREPARED)

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`: the parallel root certifies the epoch's cosigner."""
        bench = self.bench
        root = open_parallel_root(conn, bench.keyring, bench.registers, bench.clock, bench.entropy)
        origin = bench.keyring.log_signer(log_number_of(key.ref), key.ref.version).vkey.name
        certificate = certify_cosigner(root, bench.keyring, key.ref, origin)
        note(conn, key.ref, chain=canonical_json(list(encode_x5c((certificate,)))).decode())
        return Change(trust_list=True)

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`."""
        logs = published_trust(conn, self.bench).logs
        return any(log.vkey.encode("ascii") == key.public and log.is_open for log in logs)

    def unready(self, conn: Connection, key: KeyVersion) -> str | None:
        """See `Plan.unready`: what the epoch before has placed it must have signed."""
        number = log_number_of(key.ref)
        signed = committed_head(conn, number).size == signed_head(conn, number).size
        return None if signed else "log"

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """See `Plan.activate`: the head goes on under the new origin."""
        number = log_number_of(key.ref)
        signer = self.bench.keyring.log_signer(number, key.ref.version)
        origin = signer.vkey.name
        beside = cosigners(conn, self.bench.keyring, key.ref, origin, self.bench.clock)
        head = succeed(conn, number, origin, signer, beside)
        if old is not None:
            closed = FrozenHead(size=head.size, root=head.root).to_json()
            note(conn, old.ref, ending=canonical_json(closed).decode())
        return NOTHING

    def retire(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.retire`: the trust list says where the epoch ended."""
        if old.ending is None:
            raise IntegrityError(
                f"the key {old.ref} was succeeded, and nobody noted where", reason="LOG_END"
            )
        return Change(trust_list=True)

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.destroy`: the epoch's cosigner goes with it."""
        destroy_cosigner(self.bench.keyring, old.ref)
        return NOTHING


def log_number_of(ref: KeyRef) -> int:
    """Return which log a key is of."""
    kind = ref.owner.rpartition("-")[2]
    return next(number for number, name in LOG_KINDS.items() if name == kind)
