"""Which key of the region does what, by name.

The online store is open wherever the service runs. The offline store holds
what can change who is trusted (root CAs, repository root, trust role); only
`region init`, `authority add` and their like open it. Of each key the version
signs that the region's records call active.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, or_, select

from yinxin_ca.dualcontrol import DualControl, TrustSigner
from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.officer import InMemoryOfficerRegister, OfficerRegister
from yinxin_edge.lookup import Lookup
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import FailedPreconditionError, KeyStoreError
from yinxin_proto.note import NoteSigner
from yinxin_proto.signature import Signer
from yinxin_trust import schema
from yinxin_trust.cipher import AES_256, StorageCipher
from yinxin_trust.keystage import READABLE, Stage
from yinxin_trust.namespace import Namespace
from yinxin_trust.suites import RegionSuites
from yinxin_trust.vault import Vault, VaultVersions

OFFLINE: Final = (Purpose.ROOT, Purpose.PQ_ROOT, Purpose.TUF_ROOT, Purpose.TUF_TARGETS)
ONLINE: Final = (
    Purpose.LICENCE_CA,
    Purpose.STATUS_CA,
    Purpose.TLS_CA,
    Purpose.SEAL_CA,
    Purpose.TIMESTAMP_CA,
    Purpose.MEMBER_CA,
    Purpose.STATUS,
    Purpose.OCSP,
    Purpose.TLS_OCSP,
    Purpose.TIMESTAMP,
    Purpose.TLS_SERVER,
    Purpose.TUF_SNAPSHOT,
    Purpose.TUF_TIMESTAMP,
    Purpose.TUF_STATUS,
    Purpose.TUF_CRL,
    Purpose.TUF_CATALOGUE,
)
DELEGATED_PURPOSE: Final = {
    "status": Purpose.TUF_STATUS,
    "crl": Purpose.TUF_CRL,
    "catalogue": Purpose.TUF_CATALOGUE,
}
LOG_KINDS: Final = {1: "licences", 2: "uses"}


_OWNERS: Final = ("owner_0", "owner_1", "owner_2")
# No stage is bound in these: SQLite would plan them anew each time, to see whether the
# partial index of active keys serves, at five times what they cost.
# Until it is destroyed, an index key still recognises what it made.
_ACCEPTED: Final = frozenset({*READABLE, Stage.RETIRED})
_k = schema.key_version.c
_LIVE: Final = Lookup(
    select(_k.owner, _k.purpose, _k.version, _k.stage)
    .where(or_(*(_k.owner == bindparam(name) for name in _OWNERS)))
    .order_by(_k.version)
)
_SECRETS: Final = Lookup(
    select(_k.purpose, _k.version, _k.stage)
    .where(
        _k.owner == bindparam("owner"),
        or_(_k.purpose == bindparam("kek"), _k.purpose == bindparam("index")),
    )
    .order_by(_k.version)
)

Versions = Mapping[tuple[str, Purpose], Sequence[tuple[int, Stage]]]
"""The live versions of the region's own keys, by owner and purpose, oldest first."""


class SeenVersions:
    """What this process last saw of the records of keys; safe to share between threads.

    They are read anew each time: a few rows, at the cost of one look-up. What a
    transaction sees that is rolled back must not be remembered as if it stood.
    """

    def __init__(self) -> None:
        self.latest: Versions = {}
        self.secrets: tuple[list[tuple[object, ...]], VaultVersions] | None = None
        """Rows of the vault's keys, and what they were last found to say."""

    def at(self, conn: Connection, owners: Sequence[str]) -> Versions:
        """Return what the transaction sees of the owners' keys."""
        found: dict[tuple[str, Purpose], list[tuple[int, Stage]]] = {}
        asked = dict(zip(_OWNERS, owners, strict=True))
        for owner, purpose, number, stage in _LIVE.all(conn, **asked):
            if stage not in READABLE:
                continue
            found.setdefault((owner, Purpose(purpose)), []).append((number, Stage(stage)))
        self.latest = found
        return found


OfficerRegisterFactory = Callable[[bytes], OfficerRegister]
"""Opens the officers' register with its MAC key."""


def _in_memory_officers() -> OfficerRegisterFactory:
    register = InMemoryOfficerRegister()
    return lambda _: register


@dataclass(frozen=True, slots=True)
class Keyring:
    """The region's keys, where they are at hand.

    `at` gives one that holds to what a transaction sees; without it, a keyring
    follows what its process saw last.
    """

    namespace: Namespace
    online: KeyStore
    offline: KeyStore | None = None
    officers: OfficerRegisterFactory = field(default_factory=_in_memory_officers)
    """Opens what is kept beside the offline store, by a key that is inside it."""
    _seen: SeenVersions = field(default_factory=SeenVersions, repr=False, compare=False)
    _fixed: Versions | None = field(default=None, repr=False, compare=False)

    def at(self, conn: Connection) -> Keyring:
        """Return the keyring as the transaction sees which versions are active."""
        code = self.namespace.code
        owners = [code, *(f"{code}-{kind}" for kind in LOG_KINDS.values())]
        seen = self._seen.at(conn, owners)
        return Keyring(self.namespace, self.online, self.offline, self.officers, self._seen, seen)

    def live(self, owner: str, purpose: Purpose) -> Sequence[tuple[int, Stage]]:
        """Return the live versions of a key with their stages, oldest first."""
        known = self._seen.latest if self._fixed is None else self._fixed
        # A region that is being founded has no records yet.
        return known.get((owner, purpose)) or ((1, Stage.ACTIVE),)

    def ref(self, purpose: Purpose, version: int | None = None) -> KeyRef:
        """Return the name of one of the region's own keys: the active one, unless told.

        Raises:
            FailedPreconditionError: None is active (``NO_ACTIVE_KEY``).
        """
        code = self.namespace.code
        return KeyRef(code, purpose, self._active(code, purpose) if version is None else version)

    def _active(self, owner: str, purpose: Purpose) -> int:
        for version, stage in self.live(owner, purpose):
            if stage is Stage.ACTIVE:
                return version
        raise FailedPreconditionError(
            f"{owner} has no active key for {purpose.value}; rotate it with: yinxin key rotate",
            reason="NO_ACTIVE_KEY",
        )

    def store_of(self, purpose: Purpose) -> KeyStore:
        """Return the store that holds the region's keys of a purpose.

        Raises:
            FailedPreconditionError: It is offline and the offline store is
                not open (``OFFLINE_KEYS``).
        """
        if purpose not in OFFLINE:
            return self.online
        if self.offline is None:
            raise FailedPreconditionError(
                f"the key {purpose.value} is in the offline store; open it for this",
                reason="OFFLINE_KEYS",
            )
        return self.offline

    def signer(self, purpose: Purpose, version: int | None = None) -> Signer:
        """Return one of the region's own signers: the active one, unless told.

        Raises:
            FailedPreconditionError: It is offline and the offline store is
                not open (``OFFLINE_KEYS``), or none is active (``NO_ACTIVE_KEY``).
        """
        return self.store_of(purpose).signer(self.ref(purpose, version))

    def signer_of(self, purpose: Purpose, spki: bytes) -> tuple[KeyRef, Signer]:
        """Return whichever version of one of the region's own keys has a public half.

        Raises:
            FailedPreconditionError: As `signer`.
            KeyStoreError: The store has no such version (``KEY_NOT_FOUND``).
        """
        store = self.store_of(purpose)
        for version, _ in reversed(self.live(self.namespace.code, purpose)):
            ref = KeyRef(self.namespace.code, purpose, version)
            signer = store.signer(ref)
            if signer.public_key.spki == spki:
                return ref, signer
        for info in store.list():
            own = info.ref.owner == self.namespace.code and info.ref.purpose is purpose
            if own and info.spki == spki:
                return info.ref, store.signer(info.ref)
        raise KeyStoreError(
            f"the key store has no {purpose.value} key of that certificate; open the store that "
            "has it",
            reason="KEY_NOT_FOUND",
        )

    def control(self, clock: Clock) -> DualControl:
        """Return the signer's own judgement over operations.

        Raises:
            FailedPreconditionError: The offline store is not open (``OFFLINE_KEYS``).
        """
        store = self.store_of(Purpose.TUF_TARGETS)
        key = store.secret(self.ref(Purpose.OFFICERS, 1))
        return DualControl(register=self.officers(key), clock=clock, region=self.namespace.code)

    def trust_signer(self, clock: Clock) -> TrustSigner:
        """Return what signs trust lists, each after its own judgement.

        Raises:
            FailedPreconditionError: The offline store is not open (``OFFLINE_KEYS``).
        """
        return TrustSigner(signer=self.signer(Purpose.TUF_TARGETS), control=self.control(clock))

    def integrity_key(self) -> bytes:
        """Return the key that seals permissions and audit rows."""
        return self.online.secret(self.ref(Purpose.INTEGRITY, 1))

    def delegated_signer(self, role: str) -> Signer:
        """Return the signer of a delegated repository role."""
        return self.signer(DELEGATED_PURPOSE[role])

    def log_ref(self, log_number: int, epoch: int | None = None) -> KeyRef:
        """Return the name of a log's key: the active one, unless told."""
        owner = f"{self.namespace.code}-{LOG_KINDS[log_number]}"
        version = self._active(owner, Purpose.LOG) if epoch is None else epoch
        return KeyRef(owner, Purpose.LOG, version)

    def log_signer(self, log_number: int, epoch: int | None = None) -> NoteSigner:
        """Return the Ed25519 signer of a log's checkpoints: of the active epoch, unless told."""
        ref = self.log_ref(log_number, epoch)
        origin = self.namespace.log_origin(LOG_KINDS[log_number], ref.version)
        return NoteSigner(name=origin, key=self.online.secret(ref))

    def vault(self, *, entropy: Entropy, cipher: StorageCipher = AES_256) -> Vault:
        """Return the vault over every version of its keys; new values go under ``cipher``."""
        return Vault(
            key_encryption_keys=self._secrets(Purpose.KEK),
            index_keys=self._secrets(Purpose.INDEX_HMAC),
            entropy=entropy,
            cipher=cipher,
            source=self,
        )

    def vault_versions(self, conn: Connection) -> VaultVersions | None:
        """See `vault.VaultSource`."""
        rows = _SECRETS.all(
            conn,
            owner=self.namespace.code,
            kek=Purpose.KEK.value,
            index=Purpose.INDEX_HMAC.value,
        )
        seen = self._seen.secrets
        if seen is not None and seen[0] == rows:
            return seen[1]
        found = _vault_versions(rows)
        self._seen.secrets = None if found is None else (rows, found)
        return found

    def key_encryption_key(self, version: int) -> bytes:
        """See `vault.VaultSource`."""
        return self.online.secret(self.ref(Purpose.KEK, version))

    def index_key(self, version: int) -> bytes:
        """See `vault.VaultSource`."""
        return self.online.secret(self.ref(Purpose.INDEX_HMAC, version))

    def _secrets(self, purpose: Purpose) -> dict[int, bytes]:
        code = self.namespace.code
        return {
            version: self.online.secret(KeyRef(code, purpose, version))
            for version, _ in self.live(code, purpose)
        }


def _vault_versions(rows: Sequence[tuple[Any, ...]]) -> VaultVersions | None:
    """Read what rows of the vault's keys say; None where there are none yet."""
    live = [
        (purpose, version, Stage(stage)) for purpose, version, stage in rows if stage in _ACCEPTED
    ]
    index = [(version, stage) for purpose, version, stage in live if purpose != Purpose.KEK]
    reads = [version for version, stage in index if stage is Stage.ACTIVE]
    wraps = [
        version
        for purpose, version, stage in live
        if purpose == Purpose.KEK and stage is Stage.ACTIVE
    ]
    if not reads or not wraps:
        # Being founded: version 1 of each is all that there is.
        return None
    # From its publication on a successor is written; what it succeeds no longer is.
    coming = (version for version, stage in index if stage is Stage.PUBLISHED)
    return VaultVersions(
        kek=wraps[0],
        index=reads[0],
        claims=(reads[0], *coming),
        accepted=tuple(version for version, _ in index),
    )


ISSUING_CA: Final = {
    "licence": Purpose.LICENCE_CA,
    "status": Purpose.STATUS_CA,
    "tls": Purpose.TLS_CA,
    "seal": Purpose.SEAL_CA,
    "timestamp": Purpose.TIMESTAMP_CA,
    "member": Purpose.MEMBER_CA,
}
"""The keys of the issuing authorities, by the names of these."""


def generate(keyring: Keyring, suites: RegionSuites) -> None:
    """Make every key of a new region."""
    if keyring.offline is None:
        raise FailedPreconditionError("a new region needs its offline store open")
    for purpose in OFFLINE:
        keyring.offline.generate(keyring.ref(purpose, 1), suites.of(purpose))
    for purpose in ONLINE:
        keyring.online.generate(keyring.ref(purpose, 1), suites.of(purpose))
    for kind in LOG_KINDS.values():
        owner = f"{keyring.namespace.code}-{kind}"
        keyring.online.generate_secret(KeyRef(owner, Purpose.LOG))
        cosigner = KeyRef(owner, Purpose.LOG_COSIGNER)
        keyring.online.generate(cosigner, suites.of(Purpose.LOG_COSIGNER))
    keyring.offline.generate_secret(keyring.ref(Purpose.OFFICERS, 1))
    keyring.online.generate_secret(keyring.ref(Purpose.INTEGRITY, 1))
    keyring.online.generate_secret(keyring.ref(Purpose.INDEX_HMAC, 1))
    keyring.online.generate_secret(keyring.ref(Purpose.KEK, 1))
