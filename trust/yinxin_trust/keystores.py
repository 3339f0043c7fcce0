"""The online key store of a region, put together as ``[keys]`` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from yinxin_ca.deferred import DeferredKeyStore
from yinxin_ca.keystore import KeyRef, KeyStore
from yinxin_ca.remote import RemoteKeyStore
from yinxin_ca.routed import Route, RoutedKeyStore
from yinxin_ca.sdf import IndexRange, SdfKeyStore
from yinxin_ca.sdf_device import SdfDevice
from yinxin_ca.sdf_library import SdfLibrary
from yinxin_ca.secretfile import read_secret_line
from yinxin_edge.channel import open_channel
from yinxin_edge.tls import TlsIdentity, channel_credentials
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import ConfigurationError
from yinxin_trust.keysettings import KeysTable

_T = TypeVar("_T")

FILE: Final = "file"
KEYS: Final = "keys"
"""Folder of the region's directory with the encrypted files, and what goes with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMaker:
    """Opens the stores that settings name.

    Args:
        directory: The region's; relative paths start from it.
        clock: Dates new keys.
        entropy: Makes secrets.
    """

    directory: Path
    clock: Clock
    entropy: Entropy

    def online(self, table: KeysTable, files: KeyStore) -> RoutedKeyStore:
        """Return every online store as one.

        Args:
            table: ``[keys]``.
            files: The encrypted files; the rest of the keys is in them.

        Raises:
            YinxinError: A store cannot be opened, each with its own reason. One
                that is merely away is opened when it is back.
        """
        rest = Route(FILE, files, frozenset())
        return RoutedKeyStore(rest, tuple(self._routes(table)))

    def _routes(self, table: KeysTable) -> Iterator[Route]:
        if table.pkcs11.purposes:
            yield Route("pkcs11", _deferred(self._token, table), frozenset(table.pkcs11.purposes))
        if table.sdf.purposes:
            yield Route("sdf", _deferred(self._machine, table), frozenset(table.sdf.purposes))
        if table.remote.purposes:
            yield Route("remote", self._signer(table), frozenset(table.remote.purposes))

    def _signer(self, table: KeysTable) -> KeyStore:
        settings, folder = table.remote, self.directory / table.remote.credentials
        identity = TlsIdentity(
            private_key=_read(folder / "client.key"),
            certificate_chain=_read(folder / "client.crt"),
            roots=_read(folder / "tls-anchor.crt"),
        )
        channel = open_channel(settings.address, channel_credentials(identity))
        return RemoteKeyStore(channel=channel, timeout=settings.timeout)

    def _machine(self, table: KeysTable) -> KeyStore:
        settings = table.sdf
        code = read_secret_line(
            self.directory / settings.code_file, what="the private keys' access code"
        )
        return SdfKeyStore(
            device=SdfDevice(SdfLibrary(Path(settings.library)), code=code),
            directory=self.directory / KEYS,
            indexes=IndexRange(settings.first_index, settings.last_index),
            clock=self.clock,
            entropy=self.entropy,
        )

    def _token(self, table: KeysTable) -> KeyStore:
        settings = table.pkcs11
        try:
            from yinxin_ca.pkcs11 import Pkcs11KeyStore  # noqa: PLC0415 - an extra of its own
            from yinxin_ca.pkcs11_connection import TokenAddress, connect  # noqa: PLC0415
        except ImportError as error:
            raise ConfigurationError(
                "keys in a PKCS#11 token need python-pkcs11; run: pip install 'yinxin[hsm]'",
                reason="EXTRA_MISSING",
            ) from error
        pin = read_secret_line(self.directory / settings.pin_file, what="the token's PIN")
        address = TokenAddress(module=Path(settings.module), label=settings.token)
        return Pkcs11KeyStore(
            connection=connect(address, pin=pin), clock=self.clock, entropy=self.entropy
        )


def require_answers(store: KeyStore) -> None:
    """Ask every store that is not files whether it is there: for whoever starts a service.

    Raises:
        UnavailableError: One does not answer; workers that start later wait for it.
    """
    if isinstance(store, RoutedKeyStore):
        keys_in_devices(store)


def _deferred(make: Callable[[_T], KeyStore], table: _T) -> KeyStore:
    return DeferredKeyStore(lambda: make(table))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; make the folder on the signer's machine with: "
            "yinxin signer client",
            reason="SIGNER_CREDENTIALS",
        ) from error


def keys_in_devices(store: RoutedKeyStore) -> frozenset[KeyRef]:
    """Return the names of the keys that are not in files."""
    return frozenset(info.ref for route in store.routes[1:] for info in route.store.list())


def discard_new(store: RoutedKeyStore, before: frozenset[KeyRef]) -> None:
    """Destroy the keys in devices that were not there ``before``.

    For a founding that failed: the files go with their directory, these would
    stay and hold their names.
    """
    for ref in keys_in_devices(store) - before:
        store.destroy(ref)
