"""SM2 by libcrypto with nothing around it: the same EVP calls through ctypes, in a tight loop.

What no binding can go below: key loaded, message at hand, signature in DER,
handles freed. ``openssl speed sm2`` gives about the same rates.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from typing import Final

_ID: Final = b"1234567812345678"
_SIGNATURE_BYTES: Final = 80

_C: Final = ctypes.CDLL("libcrypto.so.3")
for _name in ("EVP_MD_CTX_new", "EVP_PKEY_CTX_new", "EVP_MD_fetch", "d2i_AutoPrivateKey"):
    getattr(_C, _name).restype = c_void_p
_C.EVP_MD_fetch.argtypes = [c_void_p, c_char_p, c_char_p]
_C.EVP_PKEY_CTX_new.argtypes = [c_void_p, c_void_p]
_C.EVP_PKEY_CTX_set1_id.argtypes = [c_void_p, c_char_p, c_int]
_C.EVP_MD_CTX_set_pkey_ctx.argtypes = [c_void_p, c_void_p]
_C.EVP_MD_CTX_free.argtypes = [c_void_p]
_C.EVP_PKEY_CTX_free.argtypes = [c_void_p]
for _name in ("EVP_DigestSignInit", "EVP_DigestVerifyInit"):
    getattr(_C, _name).argtypes = [c_void_p] * 5
_C.EVP_DigestSign.argtypes = [c_void_p, c_void_p, c_void_p, c_char_p, c_size_t]
_C.EVP_DigestVerify.argtypes = [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]
_SM3: Final = _C.EVP_MD_fetch(None, b"SM3", None)


def load(pkcs8: bytes) -> int:
    """Load a private key for the life of the process."""
    place = ctypes.cast(c_char_p(pkcs8), c_void_p)
    handle = _C.d2i_AutoPrivateKey(None, byref(place), ctypes.c_long(len(pkcs8)))
    assert handle
    return int(handle)


def sign(key: int, message: bytes) -> bytes:
    """Return a DER signature."""
    context, key_context = _C.EVP_MD_CTX_new(), _C.EVP_PKEY_CTX_new(key, None)
    _C.EVP_PKEY_CTX_set1_id(key_context, _ID, 16)
    _C.EVP_MD_CTX_set_pkey_ctx(context, key_context)
    size, out = c_size_t(_SIGNATURE_BYTES), ctypes.create_string_buffer(_SIGNATURE_BYTES)
    _C.EVP_DigestSignInit(context, None, _SM3, None, key)
    _C.EVP_DigestSign(context, out, byref(size), message, len(message))
    _C.EVP_MD_CTX_free(context)
    _C.EVP_PKEY_CTX_free(key_context)
    return out.raw[: size.value]


def verify(key: int, signature: bytes, message: bytes) -> bool:
    """Tell whether a DER signature holds."""
    context, key_context = _C.EVP_MD_CTX_new(), _C.EVP_PKEY_CTX_new(key, None)
    _C.EVP_PKEY_CTX_set1_id(key_context, _ID, 16)
    _C.EVP_MD_CTX_set_pkey_ctx(context, key_context)
    _C.EVP_DigestVerifyInit(context, None, _SM3, None, key)
    found = _C.EVP_DigestVerify(context, signature, len(signature), message, len(message))
    _C.EVP_MD_CTX_free(context)
    _C.EVP_PKEY_CTX_free(key_context)
    return bool(found == 1)
