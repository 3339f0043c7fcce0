"""A PKCS#11 module (a vendor's shared library) in this process.

There is one state per library and process, whoever uses it: it is initialised
once, and after a token has gone and come back it is initialised anew, while no
thread is inside.

python-pkcs11 initialises a module with ``C_Initialize(NULL)``, which promises
that no two threads use it at once; with two threads SoftHSM then crashes the
process (tried). Here the module is told that it has to lock
(PKCS #11 v2.40 §5.4, ``CKF_OS_LOCKING_OK``).
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from typing import Final

from pkcs11 import _pkcs11
from pkcs11.exceptions import PKCS11Error

from yinxin_ca.devicegate import DeviceGate
from yinxin_proto.error import ConfigurationError, UnavailableError

_CKF_OS_LOCKING_OK: Final = 2
_CKR_OK: Final = 0
_CKR_ALREADY_INITIALIZED: Final = 0x191
_CKR_NOT_INITIALIZED: Final = 0x190


class _InitializeArguments(ctypes.Structure):
    """``CK_C_INITIALIZE_ARGS``."""

    _fields_ = (
        ("CreateMutex", ctypes.c_void_p),
        ("DestroyMutex", ctypes.c_void_p),
        ("LockMutex", ctypes.c_void_p),
        ("UnlockMutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("pReserved", ctypes.c_void_p),
    )


_Call: Final = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)


class _FunctionList(ctypes.Structure):
    """The beginning of ``CK_FUNCTION_LIST``."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("C_Initialize", _Call),
        ("C_Finalize", _Call),
    )


class _LockingLibrary(_pkcs11.lib):
    """python-pkcs11's library, initialised for several threads."""

    def initialize(self) -> None:
        """Call ``C_Initialize``, also in a forked child that inherited the state."""
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        functions = self._functions()
        answer = functions.C_Initialize(ctypes.byref(arguments))
        if answer == _CKR_ALREADY_INITIALIZED:
            functions.C_Finalize(None)
            answer = functions.C_Initialize(ctypes.byref(arguments))
        if answer != _CKR_OK:
            raise PKCS11Error(f"C_Initialize answered 0x{answer:x}")

    def finalize(self) -> None:
        """Call ``C_Finalize``; a module that was not initialised stays so."""
        answer = self._functions().C_Finalize(None)
        if answer not in {_CKR_OK, _CKR_NOT_INITIALIZED}:
            raise PKCS11Error(f"C_Finalize answered 0x{answer:x}")

    def _functions(self) -> _FunctionList:
        found = ctypes.POINTER(_FunctionList)()
        answer = ctypes.CDLL(self.so).C_GetFunctionList(ctypes.byref(found))
        if answer != _CKR_OK:
            raise PKCS11Error(f"C_GetFunctionList answered 0x{answer:x}")
        return found.contents


class Module:
    """One module, shared by every connection of this process; see `open_module`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.gate = DeviceGate(lambda: gone(path.name))
        try:
            self.library = _LockingLibrary(str(path))
        except (PKCS11Error, OSError, AttributeError) as error:
            raise ConfigurationError(
                f"{path} is not a PKCS#11 module that works on this machine: {error}; "
                "name the shared library that came with the token",
                reason="PKCS11_MODULE",
            ) from error

    def restart(self, seen: int) -> None:
        """Initialise anew, once nobody is inside; see `DeviceGate.restart`.

        Raises:
            UnavailableError: It cannot be initialised, or could not a moment
                ago (``TOKEN_GONE``).
        """
        self.gate.restart(seen, self._begin)

    def after_fork(self) -> None:
        """In a forked child begin anew (PKCS #11 v2.40 §6.6.1)."""
        self.gate.after_fork()
        self.library.initialize()

    def _begin(self) -> None:
        try:
            self.library.finalize()
            self.library.initialize()
        except PKCS11Error as error:
            raise gone(self._path.name) from error


_modules: Final[dict[Path, Module]] = {}
_opening = threading.Lock()


def open_module(path: Path) -> Module:
    """Return this process's one `Module` of a shared library.

    Raises:
        ConfigurationError: It is not such a library, or will not start
            (``PKCS11_MODULE``).
    """
    with _opening:
        if path not in _modules:
            _modules[path] = Module(path)
        return _modules[path]


def gone(where: str) -> UnavailableError:
    """Return the error for a token that does not answer."""
    return UnavailableError(
        f"the token behind {where} does not answer; nothing was signed. Put it back, or see "
        "to its connection: the service goes on by itself",
        reason="TOKEN_GONE",
    )


def _after_fork() -> None:
    global _opening  # noqa: PLW0603 - the parent's lock may be held for ever in the child
    _opening = threading.Lock()
    for module in _modules.values():
        module.after_fork()


os.register_at_fork(after_in_child=_after_fork)
