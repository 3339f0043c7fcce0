"""Which libcrypto signs and verifies SM2 in this process, and whether it may.

RHEL, Rocky and SUSE build OpenSSL without SM2; Debian and Ubuntu have it.
Nothing is signed by a library that has not passed the known answers of
GB/T 32918.5 in this process: where there is none, signing refuses with
advice, and verifying goes the way of `yinxin_proto.sm2curve`, on public data
alone. The edge may name another library (`use`), before the first key.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from yinxin_proto import sm2curve
from yinxin_proto.error import ConfigurationError, FailedPreconditionError, YinxinError
from yinxin_proto.libcrypto import Key, Libcrypto
from yinxin_proto.signaturepair import from_der, to_der
from yinxin_proto.sm2der import private_info, public_info

NAMES: Final = ("libcrypto.so.3", "libcrypto.so.4", "libcrypto.3.dylib", "libcrypto-3-x64.dll")
"""What is tried, in this order, where nothing is named."""
SETTING: Final = "YINXIN_LIBCRYPTO"
"""The environment variable that the edge reads; named in the advice."""

_SCALAR: Final = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
_POINT: Final = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
_MESSAGE: Final = b"message digest"
_SIGNATURE: Final = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
"""GB/T 32918.5 annex A.2: key, message and signature."""


class Sm2Library(Protocol):
    """What is asked of a library; see `Libcrypto` for each."""

    def generate(self) -> tuple[bytes, bytes]:
        """Return a new scalar and its SubjectPublicKeyInfo."""
        ...

    def load_private(self, der: bytes) -> tuple[Key, bytes]:
        """Load a private key; return it with its SubjectPublicKeyInfo."""
        ...

    def load_public(self, spki: bytes) -> Key:
        """Load a public key."""
        ...

    def sign(self, key: Key, user_id: bytes, message: bytes) -> bytes:
        """Return a DER signature."""
        ...

    def verify(self, key: Key, user_id: bytes, der: bytes, message: bytes) -> bool:
        """Tell whether a DER signature holds."""
        ...


def self_test(library: Sm2Library) -> None:
    """Check a library against the known answers before it is relied on.

    Raises:
        ConfigurationError: ``LIBCRYPTO_SELF_TEST``.
    """
    try:
        private, spki = library.load_private(private_info(_SCALAR))
        public = library.load_public(public_info(_POINT))
        signatures = [library.sign(private, sm2curve.USER_ID, _MESSAGE) for _ in range(2)]
        pairs = [from_der(signature, suite="SM2") for signature in signatures]
        held = [
            spki == public_info(_POINT),
            library.verify(public, sm2curve.USER_ID, to_der(_SIGNATURE), _MESSAGE),
            not library.verify(public, sm2curve.USER_ID, to_der(_SIGNATURE), _MESSAGE + b"!"),
            # The identity reaches the hash: under another one nothing may hold.
            not library.verify(public, b"", to_der(_SIGNATURE), _MESSAGE),
            # Its own signatures hold by arithmetic that is not its own, and no
            # nonce is used twice: from two such signatures follows the key.
            all(sm2curve.verify(_POINT, pair, _MESSAGE) for pair in pairs),
            pairs[0] != pairs[1],
        ]
    except YinxinError as error:
        raise _failed() from error
    if not all(held):
        raise _failed()


class Sm2Provider:
    """Finds a library once, and keeps what came of it.

    Args:
        names: Tried in this order; the first that passes is taken.
    """

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.names: Final = names
        self._lock = threading.Lock()
        self._searched = False
        self._found: Libcrypto | None = None
        self._refusal: ConfigurationError | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether a library was found, and keys may hold on to it."""
        return self._found is not None

    def find(self) -> Libcrypto | None:
        """Return the library, or None where there is none that may be relied on."""
        if not self._searched:
            with self._lock:
                if not self._searched:
                    self._search()
                    self._searched = True
        return self._found

    def require(self) -> Libcrypto:
        """Return the library.

        Raises:
            ConfigurationError: ``SM2_UNAVAILABLE``, with what to do.
        """
        found = self.find()
        if found is None:
            raise ConfigurationError(
                "SM2 keys cannot be made or used here: "
                f"{self._refusal.message if self._refusal else 'no libcrypto'}. Install a "
                "libcrypto with SM2 (OpenSSL 3 as Debian and Ubuntu build it, or your own) and "
                f"name it in {SETTING}, or choose another suite (--suite ES256)",
                reason="SM2_UNAVAILABLE",
            ) from self._refusal
        return found

    def _search(self) -> None:
        refusals: list[ConfigurationError] = []
        for name in self.names:
            try:
                library = Libcrypto(name)
                self_test(library)
            except ConfigurationError as error:
                refusals.append(error)
            else:
                self._found = library
                return
        # The one that got furthest says most: a library that is there, but unfit.
        refusals.sort(key=lambda error: error.reason == "LIBCRYPTO_MISSING")
        self._refusal = refusals[0]


_CURRENT: Final[list[Sm2Provider]] = [Sm2Provider()]


def use(name: str) -> None:
    """Take this library and no other, from now on; empty for the system's own.

    Keys that are loaded already stay with the library that loaded them, so the
    edge calls this first.

    Raises:
        FailedPreconditionError: Another library is in use (``LIBCRYPTO_IN_USE``).
    """
    names = (name,) if name else NAMES
    current = _CURRENT[0]
    if current.names == names:
        return
    if current.is_in_use:
        raise FailedPreconditionError(
            f"set {SETTING} before the first SM2 key is used", reason="LIBCRYPTO_IN_USE"
        )
    _CURRENT[0] = Sm2Provider(names)


def provider() -> Sm2Provider:
    """Return what finds this process's library."""
    return _CURRENT[0]


def _failed() -> ConfigurationError:
    return ConfigurationError(
        "the libcrypto does not give the known answers of GB/T 32918.5",
        reason="LIBCRYPTO_SELF_TEST",
    )
