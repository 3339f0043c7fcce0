"""The call that this thread serves: who makes it, and until when it matters."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from datetime import timedelta

from yinxin_edge.principal import Principal
from yinxin_proto.error import DeadlineExceededError, InternalError

_CURRENT: ContextVar[Call] = ContextVar("yinxin_call")


class Call:
    """One call in progress; the interceptor makes it, servicers read it."""

    __slots__ = ("_expires", "method", "principal")

    def __init__(self, *, method: str, principal: Principal, allowed: timedelta) -> None:
        self.method = method
        """Full name, ``/yinxin.v1.IssuanceService/IssueLicence``."""
        self.principal = principal
        """Who makes it, authenticated; not yet authorised."""
        self._expires = time.monotonic() + allowed.total_seconds()

    @property
    def remaining(self) -> timedelta:
        """How long the caller still waits; zero once the deadline passed."""
        return timedelta(seconds=max(0.0, self._expires - time.monotonic()))

    def check_deadline(self) -> None:
        """Stop work that nobody waits for any more.

        Raises:
            DeadlineExceededError: The deadline passed.
        """
        if time.monotonic() >= self._expires:
            raise DeadlineExceededError("the caller's deadline passed")


def current_call() -> Call:
    """Return the call that this thread serves.

    Raises:
        InternalError: ``NO_CALL``, outside of a call.
    """
    try:
        return _CURRENT.get()
    except LookupError:
        raise InternalError("no call is being served here", reason="NO_CALL") from None


def enter(call: Call) -> Token[Call]:
    """Make ``call`` this thread's; hand the token to `leave`."""
    return _CURRENT.set(call)


def leave(token: Token[Call]) -> None:
    """Forget the call that `enter` set."""
    _CURRENT.reset(token)
