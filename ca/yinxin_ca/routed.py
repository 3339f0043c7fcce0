"""Several key stores as one: a purpose's keys are made where it is routed.

Keys of a purpose that was routed elsewhere later stay where they are and are
found there: a rotation makes the next version in the new place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yinxin_ca.keystore import (
    KeyAdopter,
    KeyInfo,
    KeyRef,
    KeyStore,
    Purpose,
    already_exists,
)
from yinxin_proto.error import InvalidArgumentError, KeyStoreError
from yinxin_proto.signature import Signer, SigningKey, Suite


@dataclass(frozen=True, slots=True)
class Route:
    """A store, and whose keys are made in it."""

    name: str
    """As settings and people call it: ``file``, ``pkcs11``, ``sdf``, ``remote``."""
    store: KeyStore
    purposes: frozenset[Purpose]


class RoutedKeyStore:
    """A `KeyStore` over several; the first route takes what no other is for.

    Args:
        rest: Takes every purpose that no route names, and is searched last.
        routes: No purpose twice.

    Raises:
        InvalidArgumentError: A purpose in two routes (``PURPOSE_TWICE``).
    """

    def __init__(self, rest: Route, routes: Sequence[Route]) -> None:
        self._rest = rest
        self._routes = tuple(routes)
        self._by_purpose: dict[Purpose, Route] = {}
        for route in routes:
            for purpose in route.purposes:
                if self._by_purpose.setdefault(purpose, route) is not route:
                    raise InvalidArgumentError(
                        f"the purpose {purpose} is in two key stores; name one",
                        reason="PURPOSE_TWICE",
                    )

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every store, the one for the rest first."""
        taken = frozenset(self._by_purpose)
        rest = Route(self._rest.name, self._rest.store, frozenset(Purpose) - taken)
        return rest, *self._routes

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`; in the store of the purpose."""
        return self._for_new(ref).generate(ref, suite)

    def adopt(self, ref: KeyRef, key: SigningKey) -> Signer:
        """See `KeyAdopter.adopt`; in the store of the purpose.

        Raises:
            KeyStoreError: That store takes no key that was made elsewhere
                (``KEY_NOT_ADOPTED``).
        """
        store = self._for_new(ref)
        if not isinstance(store, KeyAdopter):
            raise KeyStoreError(
                f"key {ref}: the store of this purpose takes no key that was made elsewhere; "
                "import it with the device's own tool, or keep the purpose in files",
                reason="KEY_NOT_ADOPTED",
            )
        return store.adopt(ref, key)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`."""
        try:
            return self._store(ref).signer(ref)
        except KeyStoreError as error:
            return self._elsewhere(ref, error).signer(ref)

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`; in the store of the purpose."""
        return self._for_new(ref).generate_secret(ref, size=size)

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`."""
        try:
            return self._store(ref).secret(ref)
        except KeyStoreError as error:
            return self._elsewhere(ref, error).secret(ref)

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`."""
        try:
            return self._store(ref).export(ref)
        except KeyStoreError as error:
            return self._elsewhere(ref, error).export(ref)

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`; of a name in two stores, the one that is used."""
        found: dict[KeyRef, KeyInfo] = {}
        for route in (self._rest, *self._routes):
            for info in route.store.list():
                if info.ref not in found or self._store(info.ref) is route.store:
                    found[info.ref] = info
        return tuple(found[ref] for ref in sorted(found))

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`."""
        try:
            self._store(ref).destroy(ref)
        except KeyStoreError as error:
            self._elsewhere(ref, error).destroy(ref)

    def _store(self, ref: KeyRef) -> KeyStore:
        return self._by_purpose.get(ref.purpose, self._rest).store

    def _for_new(self, ref: KeyRef) -> KeyStore:
        # The rest alone: it is where keys were before a purpose was routed.
        store = self._store(ref)
        if store is not self._rest.store and any(
            info.ref == ref for info in self._rest.store.list()
        ):
            raise already_exists(ref)
        return store

    def _elsewhere(self, ref: KeyRef, error: KeyStoreError) -> KeyStore:
        """Return the store to ask next, if the first one has no such key."""
        if error.reason != "KEY_NOT_FOUND" or self._store(ref) is self._rest.store:
            raise error
        return self._rest.store
