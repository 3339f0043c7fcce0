"""``[keys]`` of ``region.toml``: which keys are where.

Keys of purposes that are named nowhere are in the encrypted files below
``keys/``. The offline store is always files, and has no table here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Final

from yinxin_ca.keystore import EXPORTABLE, Purpose
from yinxin_proto.error import ConfigurationError, Violation

OFFLINE: Final = frozenset(
    {
        Purpose.ROOT,
        Purpose.PQ_ROOT,
        Purpose.TUF_ROOT,
        Purpose.TUF_TARGETS,
        Purpose.OFFICERS,
        Purpose.CUSTODIAN,
        Purpose.CUSTODIAN_SEAL,
    }
)
"""Purposes of the offline store, and of those who keep it."""
SECRETS: Final = frozenset({Purpose.LOG, Purpose.INDEX_HMAC, Purpose.KEK, Purpose.INTEGRITY})
"""Purposes whose keys are secrets rather than key pairs."""
ADOPTED: Final = frozenset({Purpose.SEAL_ENCRYPTION, Purpose.LICENCE_ENCRYPTION})
"""Purposes whose keys a licensed authority makes, so that no device of ours can."""
MAX_SDF_INDEX: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Table:
    """``[keys.pkcs11]``: a token behind a PKCS#11 module."""

    purposes: tuple[Purpose, ...] = ()
    """Whose keys are in the token; empty: there is none."""
    module: str = ""
    """The vendor's shared library."""
    token: str = ""
    """The token's label."""
    pin_file: str = ""
    """A file with the PIN, private; relative to the region's directory."""

    def __post_init__(self) -> None:
        _check(self, needed=("module", "token", "pin_file"), refused=EXPORTABLE | ADOPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SdfTable:
    """``[keys.sdf]``: a cryptographic machine (密码机) behind GM/T 0018."""

    purposes: tuple[Purpose, ...] = ()
    """Whose keys are in the machine; empty: there is none."""
    library: str = ""
    """The vendor's shared library."""
    first_index: int = 1
    """The first key index of the machine that is ours to use."""
    last_index: int = 0
    """The last one."""
    code_file: str = ""
    """A file with the private keys' access code (私钥访问控制码), private;
    relative to the region's directory."""

    def __post_init__(self) -> None:
        _check(self, needed=("library", "code_file"), refused=EXPORTABLE | SECRETS | ADOPTED)
        if self.purposes and not 1 <= self.first_index <= self.last_index <= MAX_SDF_INDEX:
            raise ConfigurationError(
                f"first_index to last_index: a range within 1 to {MAX_SDF_INDEX}",
                reason="SDF_INDEXES",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTable:
    """``[keys.remote]``: a signer on a machine of its own (``yinxin signer serve``)."""

    purposes: tuple[Purpose, ...] = ()
    """Whose keys are there; empty: there is none."""
    address: str = ""
    """``host:port``."""
    credentials: str = ""
    """Folder that ``yinxin signer client`` made; relative to the region's directory."""
    timeout: timedelta = timedelta(seconds=5)
    """How long one call may take."""

    def __post_init__(self) -> None:
        _check(self, needed=("address", "credentials"), refused=EXPORTABLE | SECRETS | ADOPTED)
        if not timedelta(milliseconds=100) <= self.timeout <= timedelta(minutes=1):
            raise ConfigurationError("timeout: 100ms to 1m", reason="TIMEOUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysTable:
    """``[keys]``."""

    pkcs11: Pkcs11Table = field(default_factory=Pkcs11Table)
    sdf: SdfTable = field(default_factory=SdfTable)
    remote: RemoteTable = field(default_factory=RemoteTable)

    def __post_init__(self) -> None:
        named = [*self.pkcs11.purposes, *self.sdf.purposes, *self.remote.purposes]
        twice = sorted({purpose for purpose in named if named.count(purpose) > 1})
        if twice:
            raise ConfigurationError(
                f"{', '.join(twice)}: in two key stores, or named twice; name each purpose once",
                reason="PURPOSE_TWICE",
            )


_WHY: Final = (
    (EXPORTABLE, "is exported to gRPC"),
    (SECRETS, "is a secret, no key pair"),
    (ADOPTED, "is made by a licensed authority"),
)


def _check(
    table: Pkcs11Table | SdfTable | RemoteTable,
    *,
    needed: tuple[str, ...],
    refused: frozenset[Purpose],
) -> None:
    violations = list(_violations(table, needed, refused))
    if violations:
        raise ConfigurationError("this key store cannot be used", violations=violations)


def _violations(
    table: Pkcs11Table | SdfTable | RemoteTable,
    needed: tuple[str, ...],
    refused: frozenset[Purpose],
) -> Iterator[Violation]:
    if table.purposes:
        for name in needed:
            if not getattr(table, name):
                yield Violation(name, "is required where purposes are named", "MISSING_KEY")
    elif any(getattr(table, item.name) != item.default for item in fields(table)):
        # A store that is described and holds nothing is a store that was meant.
        yield Violation("purposes", "is required: what the store is for", "MISSING_KEY")
    for purpose in table.purposes:
        if purpose in OFFLINE:
            yield Violation("purposes", f"{purpose} belongs to the offline store", "PURPOSE")
        elif purpose in refused:
            why = next(text for members, text in _WHY if purpose in members)
            yield Violation("purposes", f"{purpose} {why}; keep it in files", "PURPOSE")
