"""Status lists: what the region says of every licence, signed by its own key.

A token states the log size that it reflects and that size never goes back:
the head is read before the values, in one snapshot, and a value changes in
the transaction that queues its log entry. So whatever the log held at that
size, the list shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, select, update

from yinxin_ca.keystore import Purpose
from yinxin_proto.clock import Clock
from yinxin_proto.error import IntegrityError, NotFoundError
from yinxin_proto.statuslist import StatusList, StatusToken, StatusValue
from yinxin_proto.strict import canonical_json, parse_json
from yinxin_trust import schema
from yinxin_trust.keyring import Keyring
from yinxin_trust.ledger import LICENCES, signed_head
from yinxin_trust.rows import milliseconds, moment
from yinxin_trust.storage import put_setting, require_setting

_CHAIN: Final = "status_x5c"
"""Setting: the status key's certificates, JSON list of hexadecimal DER."""
LIFETIME: Final = timedelta(days=1)
TTL: Final = timedelta(minutes=5)
_KEEP_APART: Final = timedelta(hours=6)


def put_status_chain(conn: Connection, chain: Sequence[bytes]) -> None:
    """Write the certificates of the status key that signs from now on, leaf first."""
    put_setting(conn, _CHAIN, canonical_json([der.hex() for der in chain]).decode())


def status_chain(conn: Connection) -> list[bytes]:
    """Return the certificates of the status key that signs, leaf first."""
    return [bytes.fromhex(der) for der in parse_json(require_setting(conn, _CHAIN).encode())]


@dataclass(frozen=True, slots=True)
class SignedStatusList:
    """One signed token, with what is needed to choose it."""

    uri: str
    issued_at: datetime
    expires_at: datetime
    log_size: int
    token: str


def set_value(conn: Connection, list_number: int, idx: int, value: StatusValue) -> None:
    """Write one licence's value; see `set_values`."""
    set_values(conn, {(list_number, idx): value})


def set_values(conn: Connection, values: Mapping[tuple[int, int], StatusValue]) -> None:
    """Write licences' values, in the transaction of the changes they follow from.

    Args:
        conn: An open write transaction.
        values: By list number and index.

    Raises:
        IntegrityError: An index was never claimed (``STATUS_INDEX``).
    """
    if not values:
        return
    s, lists = schema.status_index, schema.status_list
    # In one order for everybody, or two batches could wait for each other.
    ordered = sorted(values)
    changed = conn.execute(
        update(s)
        .where(s.c.list_number == bindparam("b_list"), s.c.idx == bindparam("b_idx"))
        .values(value=bindparam("b_value")),
        [{"b_list": key[0], "b_idx": key[1], "b_value": int(values[key])} for key in ordered],
    ).rowcount
    if changed != len(ordered):
        raise IntegrityError(
            "a status index that is to change was never claimed", reason="STATUS_INDEX"
        )
    for list_number, count in sorted(Counter(key[0] for key in ordered).items()):
        conn.execute(
            update(lists)
            .where(lists.c.list_number == list_number)
            .values(changes=lists.c.changes + count)
        )


def current_value(conn: Connection, uri: str, idx: int) -> StatusValue:
    """Return what the database says now, for a verdict online.

    Raises:
        NotFoundError: Not a list of this region, or an index never claimed.
    """
    s, lists = schema.status_index.c, schema.status_list.c
    value = conn.execute(
        select(s.value)
        .join_from(schema.status_index, schema.status_list, s.list_number == lists.list_number)
        .where(lists.uri == uri, s.idx == idx)
    ).scalar_one_or_none()
    if value is None:
        raise NotFoundError("no such status index in this region", reason="STATUS_INDEX")
    return StatusValue(value)


def token_at(conn: Connection, uri: str, at: datetime | None = None) -> SignedStatusList:
    """Return the newest token of a list, or the one in force at a moment.

    Raises:
        NotFoundError: Not a list of this region, or none was signed by then.
    """
    t, lists = schema.status_token.c, schema.status_list.c
    query = (
        select(t.issued_ms, t.expires_ms, t.log_size, t.token)
        .join_from(schema.status_token, schema.status_list, t.list_number == lists.list_number)
        .where(lists.uri == uri)
        .order_by(t.issued_ms.desc())
        .limit(1)
    )
    if at is not None:
        query = query.where(t.issued_ms <= milliseconds(at))
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("no status list of that name was signed by then", reason="STATUS_LIST")
    return SignedStatusList(
        uri, moment(row.issued_ms), moment(row.expires_ms), row.log_size, row.token
    )


def tokens_at(conn: Connection, at: datetime) -> dict[str, str]:
    """Return the token of every list that was in force at a moment, by uri."""
    t, lists = schema.status_token.c, schema.status_list.c
    newest = (
        select(t.list_number, func.max(t.issued_ms).label("issued_ms"))
        .where(t.issued_ms <= milliseconds(at))
        .group_by(t.list_number)
        .subquery()
    )
    query = (
        select(lists.uri, t.token)
        .join_from(schema.status_token, schema.status_list, t.list_number == lists.list_number)
        .join(
            newest,
            and_(t.list_number == newest.c.list_number, t.issued_ms == newest.c.issued_ms),
        )
    )
    return {row.uri: row.token for row in conn.execute(query)}


class StatusSigner:
    """Signs the lists that need it.

    Args:
        keyring: Holds the status key.
        clock: Dates the tokens.
    """

    def __init__(self, *, keyring: Keyring, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock

    def sign_due(self, conn: Connection, *, every: bool = False) -> dict[str, bytes | None]:
        """Sign and keep a token for every list that is not up to date.

        Must run inside a write transaction.

        Args:
            conn: The transaction.
            every: Sign the lists that are up to date too: their key changed.

        Returns:
            Repository targets of the ``status`` role by name.
        """
        head = signed_head(conn, LICENCES)
        lists = schema.status_list.c
        targets: dict[str, bytes | None] = {}
        for row in conn.execute(select(lists.list_number, lists.uri, lists.changes)):
            if self._is_due(conn, row, head.size) or every:
                token = self._sign(conn, row, head.size)
                targets[f"status/{row.list_number}.jwt"] = token.encode()
        return targets

    def _is_due(self, conn: Connection, row: Row[*tuple[Any, ...]], log_size: int) -> bool:
        last = _last_tokens(conn, row.list_number, 1)
        if not last:
            return True
        newest = last[0]
        if newest.log_size > log_size:
            raise IntegrityError(
                "a status list was signed for a longer log than there is: the database was "
                "restored from an older state",
                reason="LOG_ROLLED_BACK",
            )
        age_ms = milliseconds(self._clock.now()) - newest.issued_ms
        return bool(
            newest.log_size < log_size
            or newest.changes != row.changes
            or age_ms * 2 > LIFETIME.total_seconds() * 1000
        )

    def _sign(self, conn: Connection, listed: Row[*tuple[Any, ...]], log_size: int) -> str:
        token, signed = self.sign_now(conn, listed.list_number, listed.uri, log_size)
        self._keep(conn, listed, token, signed)
        return signed

    def sign_now(
        self, conn: Connection, list_number: int, uri: str, log_size: int
    ) -> tuple[StatusToken, str]:
        """Sign a list as the transaction sees it, without keeping the token.

        Args:
            conn: Any transaction, in which ``log_size`` was read before.
            list_number: Which list.
            uri: Of that list.
            log_size: Size of the log that the values reflect.
        """
        s = schema.status_index.c
        values = conn.execute(
            select(s.idx, s.value).where(s.list_number == list_number, schema.STATUS_IS_SET)
        )
        now = self._issue_time(conn, list_number)
        token = StatusToken(
            uri=uri,
            issued_at=now,
            expires_at=now + LIFETIME,
            ttl=TTL,
            log_size=log_size,
            list=StatusList.filled().replace({row.idx: row.value for row in values}),
        )
        signer = self._keyring.at(conn).signer(Purpose.STATUS)
        return token, token.sign(signer, status_chain(conn))

    def _issue_time(self, conn: Connection, list_number: int) -> datetime:
        """Return now, whole seconds, but never before the newest token.

        A clock that was set back would hide what is signed behind what was.
        """
        now = self._clock.now().replace(microsecond=0)
        last = _last_tokens(conn, list_number, 1)
        return max(now, moment(last[0].issued_ms)) if last else now

    def _keep(
        self, conn: Connection, row: Row[*tuple[Any, ...]], token: StatusToken, signed: str
    ) -> None:
        t = schema.status_token
        issued_ms = milliseconds(token.issued_at)
        same_second = t.c.list_number == row.list_number, t.c.issued_ms == issued_ms
        conn.execute(delete(t).where(*same_second))
        conn.execute(
            t.insert().values(
                list_number=row.list_number,
                issued_ms=issued_ms,
                expires_ms=milliseconds(token.issued_at + LIFETIME),
                log_size=token.log_size,
                changes=row.changes,
                token=signed,
            )
        )
        _thin(conn, row.list_number)


def _last_tokens(conn: Connection, list_number: int, count: int) -> list[Row[*tuple[Any, ...]]]:
    t = schema.status_token.c
    query = (
        select(t.issued_ms, t.log_size, t.changes)
        .where(t.list_number == list_number)
        .order_by(t.issued_ms.desc())
        .limit(count)
    )
    return list(conn.execute(query))


def _thin(conn: Connection, list_number: int) -> None:
    """Drop the middle one of three tokens that say the same within a few hours.

    What is left still answers for every moment: a token lives a day.
    """
    last = _last_tokens(conn, list_number, 3)
    if len(last) < 3:
        return
    newest, middle, oldest = last
    if newest.changes == middle.changes == oldest.changes and (
        newest.issued_ms - oldest.issued_ms < _KEEP_APART.total_seconds() * 1000
    ):
        t = schema.status_token
        conn.execute(
            delete(t).where(t.c.list_number == list_number, t.c.issued_ms == middle.issued_ms)
        )
