"""An open cryptographic machine, and a pool of its sessions that all threads share.

An access code that the machine refused is never tried again: machines lock a
key after a few wrong ones.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from yinxin_ca.devicegate import DeviceGate
from yinxin_ca.sdf_library import SILENT, SdfFault, SdfLibrary, gone, typed
from yinxin_proto.error import UnavailableError, YinxinError

T = TypeVar("T")

MAX_SESSIONS: Final = 16
"""Of one process on one machine; more threads wait their turn."""


@dataclass(slots=True)
class SdfSession:
    """One open session."""

    handle: ctypes.c_void_p
    generation: int
    """Of the device, when it was opened."""
    rights: set[int] = field(default_factory=set)
    """Key indexes whose private key it may use."""


class SdfDevice:
    """A machine. Safe to share between threads.

    Args:
        library: The vendor's.
        code: The private keys' access code (私钥访问控制码).

    Raises:
        UnavailableError: It does not answer (``SDF_GONE``).
    """

    def __init__(self, library: SdfLibrary, *, code: str) -> None:
        self.library = library
        self._code = code.encode("utf-8")
        self._gate = DeviceGate(lambda: gone(library.path))
        self._places = threading.Semaphore(MAX_SESSIONS)
        self._free: deque[SdfSession] = deque()
        self._refused: YinxinError | None = None
        self._right_lock = threading.Lock()
        self._device: ctypes.c_void_p | None = None
        self._pid = os.getpid()
        self._begin()

    def run(self, work: Callable[[SdfSession], T], *, index: int | None = None) -> T:
        """Do ``work`` in a session of its own; once more if the machine was away.

        Raises:
            UnavailableError: ``SDF_GONE``, or no session free (``SDF_BUSY``).
            WrongPassphraseError: It refused the access code (``SDF_CODE_WRONG``).
            KeyStoreError: It refused otherwise (``SDF_INDEX``, ``SDF_REFUSED``).
        """
        self._after_fork()
        seen = self._gate.generation
        try:
            return self._attempt(work)
        except SdfFault as fault:
            if fault.code not in SILENT:
                raise typed(fault, index=index) from fault
        self._gate.restart(seen, self._begin)
        try:
            result = self._attempt(work)
        except SdfFault as fault:
            if fault.code not in SILENT:
                raise typed(fault, index=index) from fault
            self._gate.note_absence()
            raise gone(self.library.path) from fault
        self._gate.note_presence()
        return result

    def require_right(self, session: SdfSession, index: int) -> None:
        """Get the right to use a private key, once for each session.

        Raises:
            WrongPassphraseError: The code was refused, now or before.
        """
        if index in session.rights:
            return
        with self._right_lock:
            if self._refused is not None:
                raise self._refused
            try:
                self.library.get_right(session.handle, index, self._code)
            except SdfFault as fault:
                error = typed(fault, index=index)
                if error.reason == "SDF_CODE_WRONG":
                    self._refused = error
                    raise error from fault
                raise
        session.rights.add(index)

    def _attempt(self, work: Callable[[SdfSession], T]) -> T:
        with self._places, self._gate.use():
            session = self._take()
            is_sound = False
            try:
                result = work(session)
                is_sound = True
                return result
            finally:
                if is_sound:
                    self._free.append(session)
                else:
                    with suppress(SdfFault):
                        self.library.close_session(session.handle)

    def _take(self) -> SdfSession:
        generation = self._gate.generation
        while True:
            try:
                session = self._free.pop()
            except IndexError:
                if self._device is None:
                    raise SdfFault("SDF_OpenDevice", next(iter(SILENT))) from None
                return SdfSession(self.library.open_session(self._device), generation)
            if session.generation == generation:
                return session

    def _begin(self) -> None:
        if self._device is not None:
            # Whoever is gone cannot be closed; the handle is dropped all the same.
            with suppress(SdfFault):
                self.library.close_device(self._device)
            self._device = None
        try:
            self._device = self.library.open_device()
        except SdfFault as fault:
            raise gone(self.library.path) from fault

    def _after_fork(self) -> None:
        if self._pid == os.getpid():
            return
        # Sessions are the parent's: not closed here, since it goes on using them.
        self._pid, self._device, self._free = os.getpid(), None, deque()
        self._places = threading.Semaphore(MAX_SESSIONS)
        self._right_lock = threading.Lock()
        self._gate.after_fork()
        with suppress(UnavailableError):
            self._begin()
