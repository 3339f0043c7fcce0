"""GM/T 0018 (SDF): the C interface of Chinese cryptographic machines, through ctypes.

Only what a signer needs. Types and codes are those of GM/T 0018-2012 §6 and
annex A; ctypes lets go of the interpreter's lock during every call.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from yinxin_proto.error import (
    ConfigurationError,
    KeyStoreError,
    UnavailableError,
    WrongPassphraseError,
    YinxinError,
)

ECC_BITS: Final = 256
HALF_BYTES: Final = 32

_MAX_LENGTH: Final = 64  # ECCref_MAX_LEN: 512 bits, right-aligned
_PADDING: Final = bytes(_MAX_LENGTH - HALF_BYTES)
_BASE: Final = 0x0100_0000
COMMUNICATION_FAILED: Final = _BASE + 0x03
HARDWARE_FAILED: Final = _BASE + 0x04
OPEN_DEVICE_FAILED: Final = _BASE + 0x05
OPEN_SESSION_FAILED: Final = _BASE + 0x06
NO_RIGHT: Final = _BASE + 0x07
NO_SUCH_KEY: Final = _BASE + 0x08
ALGORITHM_NOT_SUPPORTED: Final = _BASE + 0x09
WRONG_KEY_TYPE: Final = _BASE + 0x14
ACCESS_CODE_REFUSED: Final = _BASE + 0x18
SILENT: Final = frozenset({COMMUNICATION_FAILED, HARDWARE_FAILED, OPEN_DEVICE_FAILED})
"""Answers that mean: nobody is there. The device is to be opened anew."""


class EccPublicKey(ctypes.Structure):
    """``ECCrefPublicKey``."""

    _fields_ = (
        ("bits", ctypes.c_uint),
        ("x", ctypes.c_ubyte * _MAX_LENGTH),
        ("y", ctypes.c_ubyte * _MAX_LENGTH),
    )


class EccSignature(ctypes.Structure):
    """``ECCSignature``."""

    _fields_ = (
        ("r", ctypes.c_ubyte * _MAX_LENGTH),
        ("s", ctypes.c_ubyte * _MAX_LENGTH),
    )


_HANDLE: Final = ctypes.c_void_p
_UINT: Final = ctypes.c_uint
_BYTES: Final = ctypes.c_char_p
_PROTOTYPES: Final = {
    "SDF_OpenDevice": (ctypes.POINTER(_HANDLE),),
    "SDF_CloseDevice": (_HANDLE,),
    "SDF_OpenSession": (_HANDLE, ctypes.POINTER(_HANDLE)),
    "SDF_CloseSession": (_HANDLE,),
    "SDF_GetPrivateKeyAccessRight": (_HANDLE, _UINT, _BYTES, _UINT),
    "SDF_ReleasePrivateKeyAccessRight": (_HANDLE, _UINT),
    "SDF_ExportSignPublicKey_ECC": (_HANDLE, _UINT, ctypes.POINTER(EccPublicKey)),
    "SDF_InternalSign_ECC": (_HANDLE, _UINT, _BYTES, _UINT, ctypes.POINTER(EccSignature)),
}


class SdfFault(Exception):  # noqa: N818 - a code that never leaves the store as such
    """What a call answered, other than 0."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} answered 0x{code:08x}")
        self.function = function
        self.code = code


class SdfLibrary:
    """A vendor's shared library.

    Raises:
        ConfigurationError: It cannot be loaded, or lacks a function of the
            standard (``SDF_LIBRARY``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            library = ctypes.CDLL(str(path))
            self._functions = {name: getattr(library, name) for name in _PROTOTYPES}
        except (OSError, AttributeError) as error:
            raise ConfigurationError(
                f"{path} is not a GM/T 0018 library that works on this machine: {error}; "
                "name the shared library that came with the cryptographic machine",
                reason="SDF_LIBRARY",
            ) from error
        for name, arguments in _PROTOTYPES.items():
            self._functions[name].argtypes = arguments
            self._functions[name].restype = ctypes.c_int

    def open_device(self) -> ctypes.c_void_p:
        """Return a handle of the device (``SDF_OpenDevice``)."""
        handle = _HANDLE()
        self._call("SDF_OpenDevice", ctypes.byref(handle))
        return handle

    def close_device(self, device: ctypes.c_void_p) -> None:
        """End every session of the device (``SDF_CloseDevice``)."""
        self._call("SDF_CloseDevice", device)

    def open_session(self, device: ctypes.c_void_p) -> ctypes.c_void_p:
        """Return a handle of a session (``SDF_OpenSession``)."""
        handle = _HANDLE()
        self._call("SDF_OpenSession", device, ctypes.byref(handle))
        return handle

    def close_session(self, session: ctypes.c_void_p) -> None:
        """End a session and the rights it got (``SDF_CloseSession``)."""
        self._call("SDF_CloseSession", session)

    def get_right(self, session: ctypes.c_void_p, index: int, code: bytes) -> None:
        """Get the right to use a private key (``SDF_GetPrivateKeyAccessRight``)."""
        self._call("SDF_GetPrivateKeyAccessRight", session, index, code, len(code))

    def public_point(self, session: ctypes.c_void_p, index: int) -> bytes:
        """Return x ‖ y of a signing key (``SDF_ExportSignPublicKey_ECC``)."""
        key = EccPublicKey()
        self._call("SDF_ExportSignPublicKey_ECC", session, index, ctypes.byref(key))
        if key.bits != ECC_BITS:
            raise SdfFault("SDF_ExportSignPublicKey_ECC", WRONG_KEY_TYPE)
        return _half(key.x, "public key") + _half(key.y, "public key")

    def sign_digest(self, session: ctypes.c_void_p, index: int, digest: bytes) -> bytes:
        """Return r ‖ s over a digest of 32 bytes (``SDF_InternalSign_ECC``)."""
        signature = EccSignature()
        self._call(
            "SDF_InternalSign_ECC", session, index, digest, len(digest), ctypes.byref(signature)
        )
        return _half(signature.r, "signature") + _half(signature.s, "signature")

    def _call(self, name: str, *arguments: object) -> None:
        code = self._functions[name](*arguments) & 0xFFFF_FFFF
        if code:
            raise SdfFault(name, code)


def _half(field: ctypes.Array[ctypes.c_ubyte], what: str) -> bytes:
    raw = bytes(field)
    if not raw.startswith(_PADDING):
        raise KeyStoreError(
            f"the cryptographic machine's {what} is not of 256 bits, right-aligned as GM/T 0018 "
            "has it; the library is of another kind",
            reason="SDF_LAYOUT",
        )
    return raw[-HALF_BYTES:]


def gone(path: Path) -> UnavailableError:
    """Return the error for a machine that does not answer."""
    return UnavailableError(
        f"the cryptographic machine behind {path.name} does not answer; nothing was signed. See "
        "to its connection: the service goes on by itself",
        reason="SDF_GONE",
    )


def typed(fault: SdfFault, *, index: int | None = None) -> YinxinError:
    """Return the error that a caller gets for an answer."""
    where = "" if index is None else f" (key index {index})"
    if fault.code == OPEN_SESSION_FAILED:
        return UnavailableError(
            "the cryptographic machine has no session free; nothing was signed, try again, or "
            "give this service more of its sessions",
            reason="SDF_BUSY",
        )
    if fault.code in {NO_RIGHT, ACCESS_CODE_REFUSED}:
        return WrongPassphraseError(
            f"the cryptographic machine refused the access code{where}; it is not tried again. "
            "Correct the code file, then start anew",
            reason="SDF_CODE_WRONG",
        )
    if fault.code == NO_SUCH_KEY:
        return KeyStoreError(
            f"the cryptographic machine has no signing key there{where}; make it with the "
            "machine's own tool, or restore its backup",
            reason="SDF_INDEX",
        )
    return KeyStoreError(
        f"the cryptographic machine refused{where}: {fault}; its manual explains the code",
        reason="SDF_REFUSED",
    )
