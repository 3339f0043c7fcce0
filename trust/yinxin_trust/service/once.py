"""Writes that a repeated request makes once, on record with what they made.

For calls whose domain function works inside an open transaction. Where the
caller gave a ``request_id``, it is claimed in the transaction of what it made.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import Connection

from yinxin_edge.database_error import UniqueError
from yinxin_proto.clock import Clock
from yinxin_proto.error import UnavailableError
from yinxin_proto.strict import Json, canonical_json, parse_json
from yinxin_trust.commit import insert_rows
from yinxin_trust.request import RequestKey, claim, find_outcome
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.storage import Storage

Act = Callable[[Connection, RowBatch], Json]
"""Does the work inside a write transaction; queues rows; returns what it made."""

Keys = Callable[[], Sequence[bytes]]
"""Returns the keys of the moment."""

_ATTEMPTS: Final = 8
_CONDITIONS: Final = ("context", "request_id", "etag")
"""Fields that say why, which and when, not what is asked for."""


class Once:
    """Does such writes.

    Args:
        storage: The region's database.
        admission: Puts them on record.
        keys: Keyed hashing of requests: they may hold a subject's number. The
            first one hashes; by the others an earlier request is recognised.
        clock: Dates the claims.
    """

    def __init__(self, *, storage: Storage, admission: Admission, keys: Keys, clock: Clock) -> None:
        self._storage = storage
        self._admission = admission
        self._keys = keys
        self._clock = clock

    def run(self, visit: Visit, request: Message, act: Act) -> Json:
        """Do the work unless the same request did it before; return what it made.

        Args:
            visit: The call; it is put on record with the work.
            request: Its message, with a ``request_id`` that may be empty.
            act: Does the work. What it returns is kept as the outcome, so it
                holds nothing of a subject.

        Raises:
            ConflictError: The request_id was used with another body.
            UnavailableError: Other calls kept interfering (``CONTENTION``).
            YinxinError: As ``act`` raises; nothing is stored then.
        """
        request_id = str(getattr(request, "request_id", ""))
        first, *others = self._hashes(visit, request)
        key = RequestKey(visit.caller.principal_id, request_id, first, tuple(others))
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(visit, key, act)
            except UniqueError:
                # The same request, or the same thing, was written meanwhile: look again.
                continue
        raise UnavailableError("other calls kept interfering; try again", reason="CONTENTION")

    def _attempt(self, visit: Visit, key: RequestKey, act: Act) -> Json:
        batch = RowBatch()
        with self._storage.write() as conn:
            earlier = find_outcome(conn, key) if key.request_id else None
            if earlier is not None:
                return parse_json(earlier)
            outcome = act(conn, batch)
            if key.request_id:
                now_ms = milliseconds(self._clock.now())
                claim(batch, key, outcome=canonical_json(outcome), now_ms=now_ms)
            self._admission.queue_record(visit, batch)
            insert_rows(self._storage, conn, batch)
        visit.recorded = True
        return outcome

    def _hashes(self, visit: Visit, request: Message) -> list[bytes]:
        body = type(request)()
        body.CopyFrom(request)
        for name in _CONDITIONS:
            if name in body.DESCRIPTOR.fields_by_name:
                body.ClearField(name)
        message = visit.call.method.encode() + b"\0" + body.SerializeToString(deterministic=True)
        return [hmac.digest(key, message, "sha256") for key in self._keys()]
