"""Stopped keys and their pins; audit rows that are chained; roles kept apart.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


_EXCLUSIVE = (
    "withdrawn_ms IS NULL AND (role = 'system-administrator' OR role = 'security-administrator' "
    "OR role = 'auditor' OR role = 'key-operator')"
)


def upgrade() -> None:
    """Add the columns, the table of audit blocks, and what keeps roles apart."""
    op.create_index(
        "uq_role_assignment_exclusive",
        "role_assignment",
        ["principal_id"],
        unique=True,
        sqlite_where=sa.text(_EXCLUSIVE),
        postgresql_where=sa.text(_EXCLUSIVE),
    )
    op.add_column(
        "authority_key",
        sa.Column(
            "stopped_ms",
            sa.BigInteger(),
            comment="nothing that it signed is stored from then on",
        ),
    )
    op.add_column(
        "authority_key",
        sa.Column("pin", sa.Text(), comment="JSON: which entries of a compromised key stand"),
    )
    op.add_column(
        "audit", sa.Column("mac", sa.LargeBinary(length=32), comment="over the columns above")
    )
    op.add_column(
        "audit",
        sa.Column("block", sa.BigInteger(), comment="of `audit_block`; absent until it is chained"),
    )
    op.create_index(
        "ix_audit_unchained",
        "audit",
        ["at_ms"],
        sqlite_where=sa.text("block IS NULL"),
        postgresql_where=sa.text("block IS NULL"),
    )
    op.create_table(
        "audit_block",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column(
            "digest",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="of its rows' MACs, in order",
        ),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=False),
        sa.Column("newest_ms", sa.BigInteger(), nullable=False, comment="at_ms of its newest row"),
        sa.Column(
            "mac",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="over this row and the block before",
        ),
        sa.Column(
            "entry", sa.LargeBinary(length=32), nullable=False, comment="what the log of uses holds"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_block")),
    )
    op.create_index("ix_audit_block_entry", "audit_block", ["entry"])


def downgrade() -> None:
    """Refuse: what was stopped or chained must not be forgotten."""
    raise RuntimeError("restore a backup instead of going below this schema")
