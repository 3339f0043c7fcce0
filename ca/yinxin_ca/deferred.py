"""A key store that may be away when the process starts.

A token that is out for a minute must not keep a worker from starting: what
needs no key of it goes on, and what does says so until it is back. A wrong PIN
is no such thing: it is raised at once, to whoever starts the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from yinxin_ca.keystore import KeyInfo, KeyRef, KeyStore
from yinxin_proto.error import UnavailableError
from yinxin_proto.signature import Signer, Suite


class DeferredKeyStore:
    """A `KeyStore` that is opened now, or when it first answers.

    Args:
        open_store: Opens it; called until it has.

    Raises:
        YinxinError: It cannot be opened, for another reason than being away.
    """

    def __init__(self, open_store: Callable[[], KeyStore]) -> None:
        self._open = open_store
        self._opening = threading.Lock()
        self._opened: KeyStore | None = None
        with suppress(UnavailableError):
            self._store()

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`."""
        return self._store().generate(ref, suite)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`."""
        return self._store().signer(ref)

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`."""
        return self._store().generate_secret(ref, size=size)

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`."""
        return self._store().secret(ref)

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`."""
        return self._store().export(ref)

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`."""
        return self._store().list()

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`."""
        self._store().destroy(ref)

    def _store(self) -> KeyStore:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    self._opened = self._open()
        return self._opened
