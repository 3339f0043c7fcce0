"""Which keys the trust repository names for its roles.

While a successor waits, and until its predecessor is retired, a role has both:
either one's signature counts. So whoever walks the roles file by file, in the
moment in which one takes over, meets no role that its root does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.repository_writer import RoleKeys
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.suite import suite
from yinxin_trust.keyinventory import in_stages
from yinxin_trust.keyring import DELEGATED_PURPOSE, Keyring
from yinxin_trust.keystage import READABLE, Stage

_TOP_LEVEL: Final = {
    "root": Purpose.TUF_ROOT,
    "targets": Purpose.TUF_TARGETS,
    "snapshot": Purpose.TUF_SNAPSHOT,
    "timestamp": Purpose.TUF_TIMESTAMP,
}
TOP_LEVEL_PURPOSES: Final = frozenset(_TOP_LEVEL.values())
"""Named by the root."""
DELEGATED_PURPOSES: Final = frozenset(DELEGATED_PURPOSE.values())
"""Named by the trust role."""


def role_of_purpose(purpose: Purpose) -> str:
    """Return the delegated role of a key's purpose."""
    return next(role for role, key in DELEGATED_PURPOSE.items() if key is purpose)


@dataclass(frozen=True, slots=True)
class RepositoryKeys:
    """The public keys of every role, and who signs a root."""

    keys: Mapping[Purpose, tuple[PublicKey, ...]]
    roots: tuple[KeyRef, ...]
    """The root role's live keys: the next root is signed by each that is in use."""

    def top_level(self) -> dict[str, RoleKeys]:
        """Return what a root names."""
        return {role: RoleKeys(keys=self.keys[purpose]) for role, purpose in _TOP_LEVEL.items()}

    def delegated(self) -> dict[str, RoleKeys]:
        """Return what the trust role names."""
        return {
            role: RoleKeys(keys=self.keys[purpose]) for role, purpose in DELEGATED_PURPOSE.items()
        }

    def root_signers(self, keyring: Keyring) -> list[Signer]:
        """Return who signs the next root; needs the offline keys."""
        store = keyring.store_of(Purpose.TUF_ROOT)
        return [store.signer(ref) for ref in self.roots]


def repository_keys(conn: Connection, keyring: Keyring) -> RepositoryKeys:
    """Return the keys that are to be named, as the transaction sees them."""
    code = keyring.namespace.code
    keys: dict[Purpose, tuple[PublicKey, ...]] = {}
    roots: list[KeyRef] = []
    for purpose in (*TOP_LEVEL_PURPOSES, *DELEGATED_PURPOSES):
        live = in_stages(conn, code, purpose, READABLE)
        keys[purpose] = tuple(
            # Migrated rows leave the public half to the key store.
            keyring.store_of(purpose).signer(key.ref).public_key
            if key.public is None
            else suite(key.suite).load_public(key.public)
            for key in live
        )
        if purpose is Purpose.TUF_ROOT:
            roots = [key.ref for key in live if key.stage is not Stage.PUBLISHED]
    return RepositoryKeys(keys, tuple(roots))
