"""Which key of the region does what, by name.

The online store is open wherever the service runs. The offline store holds
what can change who is trusted (root CA, repository root, trust role); only
`region init`, `authority add` and their like open it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from yinxin_ca.dualcontrol import DualControl, TrustSigner
from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.officer import InMemoryOfficerRegister, OfficerRegister
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import FailedPreconditionError, InternalError
from yinxin_proto.note import NoteSigner
from yinxin_proto.signature import Signer, Suite
from yinxin_trust.namespace import Namespace
from yinxin_trust.vault import Vault

OFFLINE: Final = (Purpose.ROOT, Purpose.TUF_ROOT, Purpose.TUF_TARGETS)
ONLINE: Final = (
    Purpose.LICENCE_CA,
    Purpose.STATUS_CA,
    Purpose.TLS_CA,
    Purpose.STATUS,
    Purpose.TLS_SERVER,
    Purpose.TUF_SNAPSHOT,
    Purpose.TUF_TIMESTAMP,
    Purpose.TUF_STATUS,
    Purpose.TUF_CRL,
    Purpose.TUF_CATALOGUE,
)
_DELEGATED_PURPOSE: Final = {
    "status": Purpose.TUF_STATUS,
    "crl": Purpose.TUF_CRL,
    "catalogue": Purpose.TUF_CATALOGUE,
}
_LOG_KINDS: Final = {1: "licences", 2: "uses"}

OfficerRegisterFactory = Callable[[bytes], OfficerRegister]
"""Opens the officers' register with its MAC key."""


def _in_memory_officers() -> OfficerRegisterFactory:
    register = InMemoryOfficerRegister()
    return lambda _: register


@dataclass(frozen=True, slots=True)
class Keyring:
    """The region's keys, where they are at hand."""

    namespace: Namespace
    online: KeyStore
    offline: KeyStore | None = None
    officers: OfficerRegisterFactory = field(default_factory=_in_memory_officers)
    """Opens what is kept beside the offline store, by a key that is inside it."""

    def ref(self, purpose: Purpose, version: int = 1) -> KeyRef:
        """Return the name of one of the region's own keys."""
        return KeyRef(self.namespace.code, purpose, version)

    def signer(self, purpose: Purpose, version: int = 1) -> Signer:
        """Return one of the region's own signers.

        Raises:
            FailedPreconditionError: It is offline and the offline store is
                not open (``OFFLINE_KEYS``).
        """
        store = self.online
        if purpose in OFFLINE:
            if self.offline is None:
                raise FailedPreconditionError(
                    f"the key {purpose.value} is in the offline store; open it for this",
                    reason="OFFLINE_KEYS",
                )
            store = self.offline
        return store.signer(self.ref(purpose, version))

    def control(self, clock: Clock) -> DualControl:
        """Return the signer's own judgement over operations.

        Raises:
            FailedPreconditionError: The offline store is not open (``OFFLINE_KEYS``).
        """
        self.signer(Purpose.TUF_TARGETS)
        if self.offline is None:
            raise InternalError("an offline signer without an offline store")
        key = self.offline.secret(self.ref(Purpose.OFFICERS))
        return DualControl(register=self.officers(key), clock=clock, region=self.namespace.code)

    def trust_signer(self, clock: Clock) -> TrustSigner:
        """Return what signs trust lists, each after its own judgement.

        Raises:
            FailedPreconditionError: The offline store is not open (``OFFLINE_KEYS``).
        """
        return TrustSigner(signer=self.signer(Purpose.TUF_TARGETS), control=self.control(clock))

    def integrity_key(self) -> bytes:
        """Return the key that seals permissions and audit rows."""
        return self.online.secret(self.ref(Purpose.INTEGRITY))

    def delegated_signer(self, role: str) -> Signer:
        """Return the signer of a delegated repository role."""
        return self.signer(_DELEGATED_PURPOSE[role])

    def log_signer(self, log_number: int, epoch: int = 1) -> NoteSigner:
        """Return the Ed25519 signer of a log's checkpoints."""
        kind = _LOG_KINDS[log_number]
        seed = self.online.secret(KeyRef(f"{self.namespace.code}-{kind}", Purpose.LOG, epoch))
        return NoteSigner(name=self.namespace.log_origin(kind, epoch), key=seed)

    def vault(self, *, entropy: Entropy) -> Vault:
        """Return the vault over every version of its keys."""
        return Vault(
            key_encryption_keys=self._secrets(Purpose.KEK),
            index_keys=self._secrets(Purpose.INDEX_HMAC),
            entropy=entropy,
        )

    def _secrets(self, purpose: Purpose) -> dict[int, bytes]:
        return {
            info.ref.version: self.online.secret(info.ref)
            for info in self.online.list()
            if info.ref.owner == self.namespace.code and info.ref.purpose is purpose
        }


def generate(keyring: Keyring, suite: Suite) -> None:
    """Make every key of a new region."""
    if keyring.offline is None:
        raise FailedPreconditionError("a new region needs its offline store open")
    for purpose in OFFLINE:
        keyring.offline.generate(keyring.ref(purpose), suite)
    for purpose in ONLINE:
        keyring.online.generate(keyring.ref(purpose), suite)
    for kind in _LOG_KINDS.values():
        keyring.online.generate_secret(KeyRef(f"{keyring.namespace.code}-{kind}", Purpose.LOG))
    keyring.offline.generate_secret(keyring.ref(Purpose.OFFICERS))
    keyring.online.generate_secret(keyring.ref(Purpose.INTEGRITY))
    keyring.online.generate_secret(keyring.ref(Purpose.INDEX_HMAC))
    keyring.online.generate_secret(keyring.ref(Purpose.KEK))
