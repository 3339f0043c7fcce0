"""A logged-in connection to one token: a pool of sessions that all threads share.

A token's login belongs to the process and not to a session, so there is one
connection per token and process. A PIN that the token refused is never tried
again in this process, and a token that has one try left is not tried at all:
after a few wrong PINs a token locks itself.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import pkcs11
from pkcs11 import exceptions as fault
from pkcs11.constants import TokenFlag
from pkcs11.types import SignMixin

from yinxin_ca.pkcs11_module import Module, gone, open_module
from yinxin_proto.error import (
    KeyStoreError,
    UnavailableError,
    WrongPassphraseError,
    YinxinError,
)

T = TypeVar("T")

MAX_SESSIONS: Final = 16
"""Of one process on one token; more threads wait their turn."""

_LOOKS: Final = 6
_LOOK_PAUSE: Final = timedelta(milliseconds=100)
_PIN_FAULTS: Final = (fault.PinIncorrect, fault.PinInvalid, fault.PinLenRange)
_LOST: Final = {"KEY_NOT_FOUND", "KEY_INCOMPLETE"}
"""What a token that is being pulled out may say of a key that it has."""
_ANSWERS: Final = (
    fault.MechanismInvalid,
    fault.MechanismParamInvalid,
    fault.TemplateIncomplete,
    fault.TemplateInconsistent,
    fault.AttributeTypeInvalid,
    fault.AttributeValueInvalid,
    fault.AttributeReadOnly,
    fault.FunctionNotSupported,
    fault.TokenWriteProtected,
    fault.DeviceMemory,
    fault.KeySizeRange,
    fault.DomainParamsInvalid,
    fault.DataLenRange,
)
"""What a token says while it is there: no reason to look for it anew."""


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """Which token, by which module."""

    module: Path
    """The vendor's shared library."""
    label: str
    """The token's label, given when it was initialised."""


@dataclass(slots=True)
class TokenSession:
    """One open session, and the objects that were looked up through it."""

    session: pkcs11.Session
    generation: int
    """Of the module, when it was opened."""
    keys: dict[str, SignMixin] = field(default_factory=dict)
    """Private keys by name; a handle is good as long as its session."""


class Connection:
    """A token, logged in to; see `connect`. Safe to share between threads."""

    def __init__(self, address: TokenAddress, pin: str) -> None:
        self.address = address
        self.changing = threading.Lock()
        """Held while keys are made or destroyed: one at a time in this process."""
        self._pin = pin
        self._module: Module = open_module(address.module)
        self._login_lock = threading.Lock()
        self._login: TokenSession | None = None
        self._free: deque[TokenSession] = deque()
        self._refused: YinxinError | None = None
        self._places = threading.Semaphore(MAX_SESSIONS)
        self._pid = os.getpid()

    def accepts(self, pin: str) -> bool:
        """Whether ``pin`` is the one this connection was made with."""
        return hmac.compare_digest(self._pin.encode(), pin.encode())

    @property
    def is_refused(self) -> bool:
        """Whether the token has refused its PIN."""
        return self._refused is not None

    def run(
        self, work: Callable[[TokenSession], T], *, repeat: bool = True, is_known: bool = False
    ) -> T:
        """Do ``work`` in a session of its own.

        When the token does not answer it is looked for anew, once, and ``work``
        is done again if ``repeat`` allows that. The same where it says that it
        has no such key, or half of one: so do some modules of a token that was
        pulled out, perhaps between one look and the next.

        Raises:
            UnavailableError: The token is not there (``TOKEN_GONE``).
            WrongPassphraseError: It refused the PIN (``PIN_WRONG``).
            KeyStoreError: ``PIN_LOCKED``, ``PIN_FINAL_TRY``; ``TOKEN_REFUSED``,
                it answered that it will not do this.
        """
        seen = self._module.gate.generation
        try:
            return self._attempt(work)
        except _ANSWERS as error:
            raise self._declined(error) from error
        except fault.PKCS11Error as error:
            if not repeat:
                raise gone(self.address.label) from error
        except KeyStoreError as error:
            is_lost = repeat and error.reason in _LOST
            if not is_lost or (self._module.gate.is_fresh and not is_known):
                raise
        self._module.restart(seen)
        try:
            result = self._attempt(work)
        except _ANSWERS as error:
            raise self._declined(error) from error
        except fault.PKCS11Error as error:
            self._module.gate.note_absence()
            raise gone(self.address.label) from error
        self._module.gate.note_presence()
        return result

    def mechanisms(self) -> frozenset[int]:
        """Return what the token can do, as mechanism numbers."""
        return self.run(
            lambda session: frozenset(
                int(mechanism) for mechanism in session.session.token.slot.get_mechanisms()
            )
        )

    def _attempt(self, work: Callable[[TokenSession], T]) -> T:
        self._after_fork()
        with self._places, self._module.gate.use():
            session = self._take()
            is_sound = False
            try:
                result = work(session)
                is_sound = True
                return result
            except YinxinError:
                is_sound = True
                raise
            finally:
                if is_sound:
                    self._free.append(session)
                else:
                    # In an unknown state: let go of it.
                    _close_quietly(session)

    def _take(self) -> TokenSession:
        generation = self._module.gate.generation
        if self._login is None or self._login.generation != generation:
            self._log_in(generation)
        while True:
            try:
                session = self._free.pop()
            except IndexError:
                return TokenSession(self._token().open(rw=True), generation)
            if session.generation == generation:
                return session

    def _log_in(self, generation: int) -> None:
        with self._login_lock:
            if self._login is not None and self._login.generation == generation:
                return
            if self._refused is not None:
                raise self._refused
            token = self._token()
            self._check_tries(token)
            try:
                session = token.open(rw=True, user_pin=self._pin)
            except _PIN_FAULTS as error:
                self._refused = WrongPassphraseError(
                    f"the token {self.address.label} refused the PIN; it is not tried again, "
                    "since a token locks itself after a few wrong ones. Correct the PIN file, "
                    "then start anew",
                    reason="PIN_WRONG",
                )
                raise self._refused from error
            except fault.PinLocked as error:
                self._refused = _locked(self.address.label)
                raise self._refused from error
            self._login = TokenSession(session, generation)

    def _check_tries(self, token: pkcs11.Token) -> None:
        if token.flags & TokenFlag.USER_PIN_LOCKED:
            self._refused = _locked(self.address.label)
            raise self._refused
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            self._refused = KeyStoreError(
                f"the token {self.address.label} has one try of the PIN left; log in to it once "
                "with its own tool, then start anew",
                reason="PIN_FINAL_TRY",
            )
            raise self._refused

    def _token(self) -> pkcs11.Token:
        return self._module.library.get_token(token_label=self.address.label)

    def _declined(self, error: fault.PKCS11Error) -> KeyStoreError:
        return KeyStoreError(
            f"the token {self.address.label} will not do this ({type(error).__name__}); see "
            "what it supports with: pkcs11-tool --list-mechanisms",
            reason="TOKEN_REFUSED",
        )

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            # The module began a new generation; the parent's locks may be held.
            self._pid, self._login_lock = os.getpid(), threading.Lock()
            self.changing = threading.Lock()
            self._free, self._login = deque(), None
            self._places = threading.Semaphore(MAX_SESSIONS)


_connections: Final[dict[TokenAddress, Connection]] = {}
_connecting = threading.Lock()


def connect(address: TokenAddress, *, pin: str) -> Connection:
    """Return this process's connection to a token, logged in.

    Raises:
        ConfigurationError: No such module (``PKCS11_MODULE``).
        UnavailableError: The module has no token of that label (``TOKEN_UNKNOWN``).
        YinxinError: As `Connection.run`.
    """
    with _connecting:
        found = _connections.get(address)
        if found is None or (found.is_refused and not found.accepts(pin)):
            found = _open_patiently(Connection(address, pin))
            _connections[address] = found
        elif not found.accepts(pin):
            raise WrongPassphraseError(
                f"the token {address.label} is open in this process under another PIN",
                reason="PIN_WRONG",
            )
    found.run(lambda _: None)
    return found


def _open_patiently(connection: Connection) -> Connection:
    """Find the token and log in; looks more than once, but offers the PIN once.

    SoftHSM does not see a token, or fails, while another process is rewriting
    the token's file, as it does at each login (tried: the processes of one
    service start together).
    """
    module, address = open_module(connection.address.module), connection.address
    lost: UnavailableError | None = None
    for attempt in range(_LOOKS):
        if attempt:
            time.sleep(_LOOK_PAUSE.total_seconds())
            module.gate.note_presence()
        try:
            count = _count_tokens(module, address.label)
            if count == 1:
                connection.run(lambda _: None)
                return connection
            module.restart(module.gate.generation)
            lost = None
        except WrongPassphraseError:
            return connection
        except UnavailableError as error:
            lost = error
    if lost is not None:
        raise lost
    # Passing, as far as anybody can tell: it may be out, or another name meant.
    raise UnavailableError(
        f"{address.module} has no token, or several, labelled {address.label}; put it in, or name "
        "one that there is once (pkcs11-tool --list-token-slots), and check that the module finds "
        "its own settings",
        reason="TOKEN_UNKNOWN",
    )


def _count_tokens(module: Module, label: str) -> int:
    with module.gate.use():
        try:
            return [token.label for token in module.library.get_tokens()].count(label)
        except fault.PKCS11Error as error:
            raise gone(label) from error


def _close_quietly(session: TokenSession) -> None:
    try:
        session.session.close()
    except fault.PKCS11Error:
        return


def _locked(label: str) -> KeyStoreError:
    return KeyStoreError(
        f"the PIN of the token {label} is locked after wrong tries; its security officer "
        "sets a new one",
        reason="PIN_LOCKED",
    )


def _after_fork() -> None:
    global _connecting  # noqa: PLW0603 - the parent's lock may be held for ever in the child
    _connecting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
