"""Status lists signed for the moment, for verdicts of this process alone.

They are never handed out: what other verifiers get is signed in turn, kept,
and never goes back. Here a list is signed again when a status in it changed,
when it grows old, and when a licence is younger than it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from yinxin_proto.clock import Clock
from yinxin_proto.error import YinxinError
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, signed_size
from yinxin_trust.status import TTL, StatusSigner

_s = schema.status_list.c
_VERSION: Final = select(func.count(), func.coalesce(func.sum(_s.changes), 0))
_LISTS: Final = select(_s.list_number, _s.uri, _s.changes)


@dataclass(frozen=True, slots=True)
class _Signed:
    changes: int
    log_size: int
    at: datetime
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    version: tuple[int, int]
    """Number of lists, and of all status changes ever."""
    oldest: datetime
    signed: Mapping[str, _Signed]
    tokens: Mapping[str, str | None] = field(default_factory=dict)


class FreshStatus:
    """Keeps the newest tokens by uri; any thread may ask.

    Args:
        signer: Signs lists.
        clock: Says when a token is old.
    """

    def __init__(self, *, signer: StatusSigner, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._lock = threading.Lock()
        self._state: _State | None = None

    def current(self, conn: Connection) -> Mapping[str, str | None]:
        """Return a token for every list, saying what the transaction sees.

        None for a list that could not be signed: its licences cannot be
        confirmed, and none of them is thereby revoked.
        """
        count, changes = conn.execute(_VERSION).one()
        version = int(count), int(changes)
        state = self._state
        if state is not None and self._stands(state, version):
            return state.tokens
        with self._lock:
            state = self._state
            if state is None or not self._stands(state, version):
                state = self._state = self._sign(conn, version, state)
        return state.tokens

    def renew(self, conn: Connection) -> None:
        """Sign lists that reflect a shorter log than there is."""
        with self._lock:
            state = self._state
            version = (0, 0) if state is None else state.version
            self._state = self._sign(conn, version, state, reflect_log=True)

    def _stands(self, state: _State, version: tuple[int, int]) -> bool:
        # A slower call may see less than what is signed already: newer is as good.
        behind = any(held < seen for held, seen in zip(state.version, version, strict=True))
        if behind or None in state.tokens.values():
            return False
        return abs(self._clock.now() - state.oldest) < TTL

    def _sign(
        self,
        conn: Connection,
        version: tuple[int, int],
        before: _State | None,
        *,
        reflect_log: bool = False,
    ) -> _State:
        # The size is read before the values: whatever the log held then, the lists show.
        size = signed_size(conn, LICENCES)
        known = {} if before is None else before.signed
        signed: dict[str, _Signed] = {}
        tokens: dict[str, str | None] = {}
        for number, uri, changes in conn.execute(_LISTS).all():
            held = known.get(uri)
            if held is None or not self._holds(held, changes, size if reflect_log else 0):
                held = self._try(conn, number, uri, changes, size)
            if held is not None:
                signed[uri] = held
            tokens[uri] = None if held is None else held.token
        oldest = min((entry.at for entry in signed.values()), default=self._clock.now())
        return _State(version=version, oldest=oldest, signed=signed, tokens=tokens)

    def _holds(self, held: _Signed, changes: int, size: int) -> bool:
        if held.changes < changes or held.log_size < size:
            return False
        return abs(self._clock.now() - held.at) * 2 < TTL

    def _try(
        self, conn: Connection, number: int, uri: str, changes: int, size: int
    ) -> _Signed | None:
        try:
            _, token = self._signer.sign_now(conn, number, uri, size)
        except YinxinError:
            # "Could not be had" is an answer that the verdict knows.
            return None
        return _Signed(changes, size, self._clock.now(), token)
