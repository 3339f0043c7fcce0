"""Nothing in the audit trail can be altered, added, dropped, moved or cut off unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from support.small_region import CONTEXT, SmallRegion
from yinxin_trust import schema
from yinxin_trust.access import Principal
from yinxin_trust.auditchain import AuditCheck
from yinxin_trust.ledger import USES
from yinxin_trust.rows import RowBatch

CALLER = Principal("housing-bureau", "虚构局", None, frozenset(), enabled=True)
_a, _b = schema.audit.c, schema.audit_block.c


@pytest.fixture(scope="module")
def trail() -> Iterator[SmallRegion]:
    """A region whose trail has three blocks, and rows that wait for the next."""
    with SmallRegion.found() as small:
        for _ in range(3):
            _record(small, 4)
            small.region.audit_chain.extend()
            small.later(minutes=10)
        _record(small, 2)
        small.region.sequence(USES)
        yield small


def _record(small: SmallRegion, count: int) -> None:
    batch = RowBatch()
    for place in range(count):
        small.later(seconds=1)
        small.region.audit.add(
            batch, caller=CALLER, method="M", resource=f"r/{place}", context=CONTEXT
        )
    small.region.committer.commit(batch)


def _codes(small: SmallRegion, conn: Connection, newest: int | None = None) -> set[str]:
    check = AuditCheck(conn=conn, seal=small.region.audit_seal, newest=newest)
    return {finding.code for finding in check.findings()}


def test_a_trail_that_nobody_touched_is_whole(trail: SmallRegion) -> None:
    with trail.region.storage.read() as conn:
        assert _codes(trail, conn) == set()
        assert _codes(trail, conn, newest=1) == set()


def _alter(conn: Connection) -> None:
    conn.execute(update(schema.audit).where(_a.resource == "r/1").values(caller="nobody"))


def _alter_unchained(conn: Connection) -> None:
    conn.execute(update(schema.audit).where(_a.block.is_(None)).values(outcome="REFUSED"))


def _delete(conn: Connection) -> None:
    conn.execute(delete(schema.audit).where(_a.block == 2, _a.resource == "r/3"))


def _insert(conn: Connection) -> None:
    row = dict(conn.execute(select(schema.audit).limit(1)).one()._mapping)
    conn.execute(insert(schema.audit).values({**row, "audit_ref": bytes(16)}))


def _replay(conn: Connection) -> None:
    """An old row, MAC and all, in place of another."""
    old = dict(conn.execute(select(schema.audit).where(_a.block == 1).limit(1)).one()._mapping)
    new = conn.execute(select(_a.audit_ref).where(_a.block == 3).limit(1)).scalar_one()
    old.pop("audit_ref")
    conn.execute(update(schema.audit).where(_a.audit_ref == new).values({**old, "block": 3}))


def _reorder(conn: Connection) -> None:
    """Rows of one block given to another."""
    conn.execute(update(schema.audit).where(_a.block == 1).values(block=2))


def _swap_blocks(conn: Connection) -> None:
    conn.execute(update(schema.audit_block).where(_b.number == 2).values(number=9))
    conn.execute(update(schema.audit_block).where(_b.number == 1).values(number=2))
    conn.execute(update(schema.audit_block).where(_b.number == 9).values(number=1))


def _truncate(conn: Connection) -> None:
    conn.execute(delete(schema.audit).where((_a.block == 3) | _a.block.is_(None)))
    conn.execute(delete(schema.audit_block).where(_b.number == 3))


def _drop_middle(conn: Connection) -> None:
    conn.execute(delete(schema.audit).where(_a.block == 2))
    conn.execute(delete(schema.audit_block).where(_b.number == 2))


def _unlog(conn: Connection) -> None:
    conn.execute(delete(schema.log_entry).where(schema.log_entry.c.log_number == USES))


def _unchain(conn: Connection) -> None:
    """The whole chain is taken away, so that it would be begun anew."""
    conn.execute(delete(schema.audit_block))
    conn.execute(update(schema.audit).values(block=None))


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (_alter, "AUDIT_ROW"),
        (_alter_unchained, "AUDIT_ROW"),
        (_delete, "AUDIT_BLOCK"),
        (_insert, "AUDIT_ROW"),
        (_replay, "AUDIT_ROW"),
        (_reorder, "AUDIT_BLOCK"),
        (_swap_blocks, "AUDIT_CHAIN"),
        (_truncate, "AUDIT_CHAIN"),
        (_drop_middle, "AUDIT_CHAIN"),
        (_unlog, "AUDIT_LOG"),
        (_unchain, "AUDIT_CHAIN"),
    ],
)
def test_each_attack_shows(
    trail: SmallRegion, attack: Callable[[Connection], None], code: str
) -> None:
    class UndoneError(Exception):
        """Nothing of the attack stays."""

    with suppress(UndoneError), trail.region.storage.write() as conn:
        attack(conn)
        assert code in _codes(trail, conn)
        raise UndoneError


def test_a_clock_that_was_set_back_shows(trail: SmallRegion) -> None:
    with SmallRegion.found() as small:
        _record(small, 1)
        small.region.audit_chain.extend()
        small.later(hours=-1)
        _record(small, 1)
        small.region.audit_chain.extend()
        with small.region.storage.read() as conn:
            assert _codes(small, conn) == {"AUDIT_CLOCK"}
