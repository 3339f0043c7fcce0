"""Who may do what only one may do at a time, fenced by an epoch.

A lease alone does not stop a process that was paused past its expiry: it wakes,
believes, and writes. So every acquisition raises the lease's epoch, and the
holder calls `Lease.check_in` inside each transaction that the lease protects:
the transaction commits only if no one acquired the lease since. Clocks that
disagree cost waiting, never safety.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, insert, or_, update

from yinxin_edge.database import Database
from yinxin_edge.database_error import UniqueError
from yinxin_proto.clock import Clock
from yinxin_proto.error import FailedPreconditionError


def lease_table(metadata: MetaData, name: str = "lease") -> Table:
    """Declare the table of leases in a package's own metadata (and migration)."""
    return Table(
        name,
        metadata,
        Column("name", Text, primary_key=True),
        Column("holder", Text, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False, comment="0: released"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One acquisition: what its holder shows inside each transaction it protects."""

    name: str
    """What is leased, e.g. ``sequencer/licences``."""
    holder: str
    """Who acquired it; for people who read the table."""
    epoch: int
    """Higher than that of every earlier acquisition of this name; from 1."""
    office: LeaseOffice

    def check_in(self, connection: Connection) -> None:
        """Renew, in the caller's write transaction, if nobody took over.

        Locks the lease's row until the transaction ends, so nobody can take
        over between this check and the commit.

        Args:
            connection: From ``Database.write()``, with the work to protect.

        Raises:
            FailedPreconditionError: ``LEASE_LOST``; let it end the transaction.
        """
        self.office.extend(connection, self)

    def renew(self) -> None:
        """Extend the lease in a transaction of its own.

        Raises:
            FailedPreconditionError: ``LEASE_LOST``, another acquired it.
        """
        self.office.renew(self)

    def release(self) -> None:
        """Let the next one acquire at once; harmless when it was lost already."""
        self.office.release(self)


class LeaseOffice:
    """Hands out the leases kept in one table.

    Args:
        database: Where the table is.
        table: From `lease_table`.
        clock: Judges expiry.
        holder: Who this process is, e.g. ``host/pid``.
        term: How long a lease lasts without renewal.
    """

    def __init__(
        self, *, database: Database, table: Table, clock: Clock, holder: str, term: timedelta
    ) -> None:
        self._database = database
        self._table = table
        self._clock = clock
        self._holder = holder
        self._term = term

    def acquire(self, name: str) -> Lease | None:
        """Acquire ``name`` if it is free or expired; ``None`` when another holds it.

        Each success has a higher epoch, also for a holder that acquires again.
        """
        try:
            with self._database.write() as connection:
                epoch = self._take_over(connection, name)
                if epoch is None:
                    return None
        except UniqueError:
            # Another process made the row between our look and our insert.
            return None
        return Lease(name=name, holder=self._holder, epoch=epoch, office=self)

    def renew(self, lease: Lease) -> None:
        """See `Lease.renew`."""
        with self._database.write() as connection:
            self.extend(connection, lease)

    def extend(self, connection: Connection, lease: Lease) -> None:
        """See `Lease.check_in`."""
        if not self._set_expiry(connection, lease, self._expiry()):
            raise FailedPreconditionError(
                f"the lease {lease.name} of epoch {lease.epoch} was taken over", reason="LEASE_LOST"
            )

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        with self._database.write() as connection:
            self._set_expiry(connection, lease, 0)

    def _take_over(self, connection: Connection, name: str) -> int | None:
        table = self._table
        known = connection.execute(
            update(table)
            .where(
                table.c.name == name,
                or_(table.c.expires_ms <= self._now(), table.c.holder == self._holder),
            )
            .values(epoch=table.c.epoch + 1, holder=self._holder, expires_ms=self._expiry())
            .returning(table.c.epoch)
        ).scalar_one_or_none()
        if known is not None:
            return int(known)
        held = connection.execute(table.select().where(table.c.name == name)).first()
        if held is not None:
            return None
        connection.execute(
            insert(table).values(name=name, holder=self._holder, epoch=1, expires_ms=self._expiry())
        )
        return 1

    def _set_expiry(self, connection: Connection, lease: Lease, expires_ms: int) -> bool:
        table = self._table
        changed = connection.execute(
            update(table)
            .where(table.c.name == lease.name, table.c.epoch == lease.epoch)
            .values(expires_ms=expires_ms)
        )
        return changed.rowcount == 1

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _expiry(self) -> int:
        return self._now() + int(self._term.total_seconds() * 1000)
