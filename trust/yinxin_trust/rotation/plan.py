"""What one kind of key needs at each step of its rotation.

A plan is asked inside the engine's transactions and leaves their order to it.
Whatever it does outside the database may be done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from sqlalchemy import Connection

from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.strict import Json
from yinxin_proto.suite import suite
from yinxin_trust.certification import RegisterFactory
from yinxin_trust.keyinventory import KeyVersion
from yinxin_trust.keyring import Keyring
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.storage import Storage
from yinxin_trust.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What plans work with."""

    storage: Storage
    keyring: Keyring
    registers: RegisterFactory
    vault: Vault
    clock: Clock
    entropy: Entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a step makes public, in its own transaction."""

    trust_list: bool = False
    """Whether the trust list says something else now: takes the offline keys."""
    roles: Collection[Purpose] = ()
    """The repository's own keys that changed, where what names them is signed anew."""
    anew: bool = False
    """Whether the online roles are signed anew though nothing in them changes."""
    targets: Mapping[str, Mapping[str, bytes | None]] = field(default_factory=dict)
    """New targets of the delegated roles; see `publication.Changes`."""


NOTHING: Final = Change()


class Plan(Protocol):
    """How the keys of some purposes rotate."""

    @property
    def offline(self) -> frozenset[Step]:
        """Steps that take the offline keys."""
        ...

    @property
    def waits_for_verifiers(self) -> bool:
        """Whether others than the region's own processes must learn of it before its use."""
        ...

    def store(self, ref: KeyRef) -> KeyStore:
        """Return where the key is kept."""
        ...

    def make(self, ref: KeyRef, like: KeyVersion) -> None:
        """Make the key in its store, like the version before it; it is not there yet."""
        ...

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """Describe the key, certified where it needs to be, for the inventory.

        Called in a read transaction: what it signs may be signed again.
        """
        ...

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """Put it on record for whoever judges it; it is ``published`` already."""
        ...

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """Tell whether what the region has published names the key."""
        ...

    def unready(self, conn: Connection, key: KeyVersion) -> str | None:
        """Return what its use still waits for, beyond time."""
        ...

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """Take it into use; it is ``active`` already, and ``old`` retiring."""
        ...

    def seal(self, conn: Connection, old: KeyVersion) -> None:
        """Let nothing more be signed by it, in a transaction before its retirement."""
        ...

    def unfinished(self, conn: Connection, old: KeyVersion) -> str | None:
        """Return what its retirement still waits for, beyond time."""
        ...

    def ending(self, conn: Connection, old: KeyVersion) -> Json:
        """Return the tree within which it signed, where that matters."""
        ...

    def retire(self, conn: Connection, old: KeyVersion) -> Change:
        """Put on record that it signs no more; it is ``retired`` already."""
        ...

    def needed(self, conn: Connection, old: KeyVersion) -> str | None:
        """Return why it may not be destroyed yet, beyond time."""
        ...

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """Do what takes the key for the last time."""
        ...

    def work(self) -> int:
        """Do a batch of what runs in the background; return how much was done."""
        ...


class PlainPlan:
    """A plan's usual answers: a key pair online, and nothing to be done or waited for."""

    offline: frozenset[Step] = frozenset()
    waits_for_verifiers = False

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def store(self, ref: KeyRef) -> KeyStore:
        """See `Plan.store`."""
        return self.bench.keyring.store_of(ref.purpose)

    def make(self, ref: KeyRef, like: KeyVersion) -> None:
        """See `Plan.make`: of the same suite."""
        # By the records: the key before may have been stolen with its token.
        self.store(ref).generate(ref, suite(like.suite))

    def record(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """See `Plan.record`."""
        return describe(self.store(ref), ref)

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`."""
        return NOTHING

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`: nobody else judges it."""
        return True

    def unready(self, conn: Connection, key: KeyVersion) -> str | None:
        """See `Plan.unready`."""
        return None

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """See `Plan.activate`."""
        return NOTHING

    def seal(self, conn: Connection, old: KeyVersion) -> None:
        """See `Plan.seal`."""

    def unfinished(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.unfinished`."""
        return None

    def ending(self, conn: Connection, old: KeyVersion) -> Json:
        """See `Plan.ending`."""
        return old.ending

    def retire(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.retire`."""
        return NOTHING

    def needed(self, conn: Connection, old: KeyVersion) -> str | None:
        """See `Plan.needed`."""
        return None

    def destroy(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.destroy`."""
        return NOTHING

    def work(self) -> int:
        """See `Plan.work`."""
        return 0


def describe(store: KeyStore, ref: KeyRef, chain: tuple[bytes, ...] = ()) -> KeyVersion:
    """Return what is recorded of a key pair that was just prepared."""
    key = store.signer(ref).public_key
    return KeyVersion(
        ref=ref,
        suite=key.suite.name,
        stage=Stage.PREPARED,
        thumbprint=sha256(key.spki).digest(),
        public=key.spki,
        chain=chain,
    )
