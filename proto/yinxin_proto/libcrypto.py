"""A binding of the system's libcrypto (OpenSSL 3), for what ``cryptography`` lacks.

SM2 keys, signatures and decryption, and PKCS#8 under a passphrase; nothing
else. It speaks EVP through `ctypes`, which lets go of the interpreter's lock
for the length of each call. Every handle is freed on every path, every
operation has contexts of its own, and keys are only read: one object serves
any number of threads. Which library to load, and whether it may be relied on,
is decided in `yinxin_proto.sm2provider`.

Nothing here decides what a well-formed key or signature is: callers hand in
bytes that they have checked, and get bytes.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from typing import Any, Final

from yinxin_proto.error import ConfigurationError, UnavailableError

OLDEST: Final = 0x30000000
"""OpenSSL 3.0.0: the first whose functions are those below."""

_SCALAR_BYTES: Final = 32
_MAX_SIGNATURE: Final = 80
_P: Final = c_void_p
_FUNCTIONS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "OpenSSL_version_num": (c_ulong, []),
    "ERR_clear_error": (None, []),
    "ERR_peek_last_error": (c_ulong, []),
    "EVP_MD_fetch": (_P, [_P, c_char_p, c_char_p]),
    "EVP_MD_CTX_new": (_P, []),
    "EVP_MD_CTX_free": (None, [_P]),
    "EVP_MD_CTX_set_pkey_ctx": (None, [_P, _P]),
    "EVP_DigestSignInit": (c_int, [_P, _P, _P, _P, _P]),
    "EVP_DigestSign": (c_int, [_P, _P, _P, c_char_p, c_size_t]),
    "EVP_DigestVerifyInit": (c_int, [_P, _P, _P, _P, _P]),
    "EVP_DigestVerify": (c_int, [_P, c_char_p, c_size_t, c_char_p, c_size_t]),
    "EVP_PKEY_CTX_new": (_P, [_P, _P]),
    "EVP_PKEY_CTX_new_from_name": (_P, [_P, c_char_p, c_char_p]),
    "EVP_PKEY_CTX_free": (None, [_P]),
    "EVP_PKEY_CTX_set1_id": (c_int, [_P, c_char_p, c_int]),
    "EVP_PKEY_keygen_init": (c_int, [_P]),
    "EVP_PKEY_keygen": (c_int, [_P, _P]),
    "EVP_PKEY_encrypt_init": (c_int, [_P]),
    "EVP_PKEY_encrypt": (c_int, [_P, _P, _P, c_char_p, c_size_t]),
    "EVP_PKEY_decrypt_init": (c_int, [_P]),
    "EVP_PKEY_decrypt": (c_int, [_P, _P, _P, c_char_p, c_size_t]),
    "EVP_PKEY_get_bn_param": (c_int, [_P, c_char_p, _P]),
    "EVP_PKEY_is_a": (c_int, [_P, c_char_p]),
    "EVP_PKEY_free": (None, [_P]),
    "BN_bn2binpad": (c_int, [_P, _P, c_int]),
    "BN_clear_free": (None, [_P]),
    "d2i_AutoPrivateKey": (_P, [_P, _P, c_long]),
    "d2i_PUBKEY": (_P, [_P, _P, c_long]),
    "i2d_PUBKEY": (c_int, [_P, _P]),
    "d2i_X509_SIG": (_P, [_P, _P, c_long]),
    "X509_SIG_free": (None, [_P]),
    "PKCS8_decrypt": (_P, [_P, c_char_p, c_int]),
    "PKCS8_PRIV_KEY_INFO_free": (None, [_P]),
    "i2d_PKCS8_PRIV_KEY_INFO": (c_int, [_P, _P]),
}


class Key:
    """An EVP_PKEY, freed with this object."""

    __slots__ = ("__weakref__", "handle")

    def __init__(self, handle: int, free: Callable[[int], None]) -> None:
        self.handle: Final = handle
        weakref.finalize(self, free, handle)

    def __repr__(self) -> str:
        return "Key(…)"


class Libcrypto:
    """One loaded library.

    Args:
        name: A file name that the system's loader finds, or a path.

    Raises:
        ConfigurationError: ``LIBCRYPTO_MISSING``, it cannot be loaded;
            ``LIBCRYPTO_VERSION``, it is not an OpenSSL of version 3 or later;
            ``LIBCRYPTO_SM2``, it was built, or is configured, without SM3 or SM2.
    """

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self._c = _load(name)
        self._clear = self._c.ERR_clear_error
        self._free_key: Callable[[int], None] = self._c.EVP_PKEY_free
        # Fetched once: looking it up anew costs each signature a lock and a search.
        self._sm3 = self._c.EVP_MD_fetch(None, b"SM3", None)
        probe = self._c.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
        self._c.EVP_PKEY_CTX_free(probe)
        self._clear()
        if not self._sm3 or not probe:
            raise ConfigurationError(f"{name} has no SM2 with SM3", reason="LIBCRYPTO_SM2")

    @property
    def version(self) -> str:
        """Version of the library, such as ``3.0.19``."""
        number = int(self._c.OpenSSL_version_num())
        return f"{number >> 28}.{number >> 20 & 0xFF}.{number >> 4 & 0xFFFF}"

    def generate(self) -> tuple[bytes, bytes]:
        """Make an SM2 key pair from the library's own generator.

        Returns:
            The private scalar, 32 bytes, and DER SubjectPublicKeyInfo.
        """
        c, made = self._c, c_void_p()
        maker = c.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
        with self._owned(maker, c.EVP_PKEY_CTX_free) as context:
            self._demand(c.EVP_PKEY_keygen_init(context) > 0, "prepare a key")
            self._demand(c.EVP_PKEY_keygen(context, byref(made)) > 0, "make a key")
        with self._owned(made.value, self._free_key) as key:
            return self._scalar(key), self._spki(key)

    def load_private(self, der: bytes) -> tuple[Key, bytes]:
        """Load an SM2 private key from DER PKCS#8 that the caller has checked.

        Returns:
            The key, and DER SubjectPublicKeyInfo computed from the scalar
            where the encoding has no public key.
        """
        key = self._load(self._c.d2i_AutoPrivateKey, der)
        return key, self._spki(key.handle)

    def load_public(self, spki: bytes) -> Key:
        """Load an SM2 public key from DER SubjectPublicKeyInfo that the caller has checked."""
        return self._load(self._c.d2i_PUBKEY, spki)

    def sign(self, key: Key, user_id: bytes, message: bytes) -> bytes:
        """Return an SM2 signature with SM3, in DER."""
        c = self._c
        size, out = c_size_t(_MAX_SIGNATURE), ctypes.create_string_buffer(_MAX_SIGNATURE)
        context, key_context = self._begin(key, user_id, c.EVP_DigestSignInit)
        try:
            done = c.EVP_DigestSign(context, out, byref(size), message, len(message))
        finally:
            self._end(context, key_context)
        self._demand(done == 1, "sign")
        return out.raw[: size.value]

    def verify(self, key: Key, user_id: bytes, der: bytes, message: bytes) -> bool:
        """Tell whether a DER signature holds.

        Raises:
            UnavailableError: The library could not say (out of memory, say):
                this is no verdict on the signature.
        """
        c = self._c
        context, key_context = self._begin(key, user_id, c.EVP_DigestVerifyInit)
        try:
            found = c.EVP_DigestVerify(context, der, len(der), message, len(message))
        finally:
            self._end(context, key_context)
        if found == 1:
            return True
        self._demand(found == 0, "verify")
        self._clear()
        return False

    def encrypt(self, key: Key, plaintext: bytes) -> bytes:
        """Encrypt to an SM2 public key; DER of GM/T 0009 §7.2 (C1, C3, C2)."""
        return self._crypt(key, plaintext, self._c.EVP_PKEY_encrypt_init, self._c.EVP_PKEY_encrypt)

    def decrypt(self, key: Key, ciphertext: bytes) -> bytes:
        """Decrypt what `encrypt` makes.

        Raises:
            UnavailableError: It does not open under this key.
        """
        return self._crypt(key, ciphertext, self._c.EVP_PKEY_decrypt_init, self._c.EVP_PKEY_decrypt)

    def decrypt_pkcs8(self, der: bytes, passphrase: bytes) -> bytes | None:
        """Open a DER EncryptedPrivateKeyInfo (RFC 5958 §3), whatever key is in it.

        Returns:
            DER PKCS#8; None when it is not such a structure, or the passphrase
            does not open it.
        """
        c = self._c
        try:
            sealed = c.d2i_X509_SIG(None, _pointer_to(der), len(der))
            if not sealed:
                return None
            with self._owned(sealed, c.X509_SIG_free):
                info = c.PKCS8_decrypt(sealed, passphrase, len(passphrase))
            if not info:
                return None
            with self._owned(info, c.PKCS8_PRIV_KEY_INFO_free):
                return self._write(c.i2d_PKCS8_PRIV_KEY_INFO, info)
        finally:
            self._clear()

    def _begin(self, key: Key, user_id: bytes, start: Any) -> tuple[int, int]:  # noqa: ANN401
        """Return an EVP_MD_CTX for one operation of ``key``, and the EVP_PKEY_CTX behind it.

        Whoever calls it hands both to `_end`, the one in the other's hands first.
        """
        c = self._c
        context, key_context = c.EVP_MD_CTX_new(), c.EVP_PKEY_CTX_new(key.handle, None)
        ready = bool(context and key_context)
        if ready:
            ready = c.EVP_PKEY_CTX_set1_id(key_context, user_id, len(user_id)) > 0
            # Set by hand, it stays ours to free.
            c.EVP_MD_CTX_set_pkey_ctx(context, key_context)
            ready = ready and start(context, None, self._sm3, None, key.handle) == 1
        if not ready:
            self._end(context, key_context)
        self._demand(ready, "start a signature or a verification")
        return context, key_context

    def _end(self, context: int | None, key_context: int | None) -> None:
        # Both take a null pointer for nothing.
        self._c.EVP_MD_CTX_free(context)
        self._c.EVP_PKEY_CTX_free(key_context)

    @contextmanager
    def _owned(self, handle: int | None, free: Callable[[int], object]) -> Iterator[int]:
        if not handle:
            self._demand(False, "allocate")
        assert handle is not None  # noqa: S101 - told to the type checker; just demanded
        try:
            yield handle
        finally:
            free(handle)

    def _crypt(self, key: Key, data: bytes, init: Any, run: Any) -> bytes:  # noqa: ANN401
        c, size = self._c, c_size_t()
        with self._owned(c.EVP_PKEY_CTX_new(key.handle, None), c.EVP_PKEY_CTX_free) as context:
            self._demand(init(context) > 0, "start encrypting or decrypting")
            self._demand(run(context, None, byref(size), data, len(data)) > 0, "size a text")
            out = ctypes.create_string_buffer(size.value)
            self._demand(run(context, out, byref(size), data, len(data)) > 0, "encrypt or decrypt")
        return out.raw[: size.value]

    def _load(self, reader: Any, der: bytes) -> Key:  # noqa: ANN401
        handle = reader(None, _pointer_to(der), len(der))
        self._demand(bool(handle), "load a key")
        key = Key(handle, self._free_key)
        self._demand(self._c.EVP_PKEY_is_a(handle, b"SM2") == 1, "load the key as one of SM2")
        return key

    def _scalar(self, handle: int) -> bytes:
        number = c_void_p()
        done = self._c.EVP_PKEY_get_bn_param(handle, b"priv", byref(number))
        self._demand(done == 1, "read the private key")
        with self._owned(number.value, self._c.BN_clear_free) as bignum:
            out = ctypes.create_string_buffer(_SCALAR_BYTES)
            written = self._c.BN_bn2binpad(bignum, out, _SCALAR_BYTES)
            self._demand(written == _SCALAR_BYTES, "write the private key")
            return out.raw

    def _spki(self, handle: int) -> bytes:
        return self._write(self._c.i2d_PUBKEY, handle)

    def _write(self, writer: Any, handle: int) -> bytes:  # noqa: ANN401
        size = writer(handle, None)
        self._demand(size > 0, "measure an encoding")
        out = ctypes.create_string_buffer(size)
        # The writer moves the pointer that it is given, not the buffer.
        place = c_void_p(ctypes.addressof(out))
        self._demand(writer(handle, byref(place)) == size, "encode")
        return out.raw

    def _demand(self, done: bool, what: str) -> None:
        """Raise unless a step was done; the library's error queue is emptied."""
        if done:
            return
        code = int(self._c.ERR_peek_last_error())
        self._clear()
        raise UnavailableError(
            f"libcrypto ({self.name}) could not {what}; its error is {code:08X}",
            reason="LIBCRYPTO_OPERATION",
        )


def _load(name: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be loaded", reason="LIBCRYPTO_MISSING") from error
    try:
        for symbol, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, symbol)
            function.restype, function.argtypes = result, arguments
        version = int(library.OpenSSL_version_num())
    except AttributeError as error:
        raise ConfigurationError(
            f"{name} is not the libcrypto of OpenSSL 3 or later", reason="LIBCRYPTO_VERSION"
        ) from error
    if version < OLDEST:
        raise ConfigurationError(f"{name} is older than OpenSSL 3.0", reason="LIBCRYPTO_VERSION")
    return library


def _pointer_to(der: bytes) -> Any:  # noqa: ANN401
    """Return ``const unsigned char **`` for a reader, which moves the inner pointer."""
    return byref(ctypes.cast(c_char_p(der), c_void_p))
