"""Keys by version and stage, and the events that the log holds of them.

Every key of a region that is there already gets its row, active since it was
made: whatever was founded before could not rotate.

Revision ID: 0002
"""

from __future__ import annotations

import base64
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REGION_PURPOSES = (
    "root",
    "tuf-root",
    "tuf-targets",
    "licence-ca",
    "status-ca",
    "tls-ca",
    "tls-server",
    "tuf-snapshot",
    "tuf-timestamp",
    "tuf-status",
    "tuf-crl",
    "tuf-catalogue",
)
_SECRETS = ("index-hmac", "kek")
_CERTIFICATES = {
    "root": "ca/root",
    "licence-ca": "ca/licence",
    "status-ca": "ca/status",
    "tls-ca": "ca/tls",
}
_LOGS = {1: "licences", 2: "uses"}
_MADE = "(SELECT coalesce(min(published_ms), 0) FROM published_file)"
# Fixed texts, put together: nothing in them comes from outside.
_INSERT = (
    "INSERT INTO key_version (owner, purpose, version, suite, stage, thumbprint, public, chain, "
    "prepared_ms, published_ms, activated_ms, retired_ms) "
)


def upgrade() -> None:
    """Create both tables, and record the keys that there are."""
    op.create_table(
        "key_version",
        sa.Column(
            "owner",
            sa.Text(),
            nullable=False,
            comment="region, log, or an authority's credit code",
        ),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "suite", sa.Text(), nullable=False, comment="of the key pair; ``secret`` or ``Ed25519``"
        ),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column(
            "thumbprint",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="of the public half; absent for a secret",
        ),
        sa.Column(
            "public",
            sa.LargeBinary(),
            nullable=True,
            comment="SPKI, or the verifier key of a log",
        ),
        sa.Column(
            "chain",
            sa.Text(),
            nullable=False,
            comment="JSON: base64 DER, leaf first; may be empty",
        ),
        sa.Column(
            "ending",
            sa.Text(),
            nullable=True,
            comment="JSON: the tree within which a retired key signed",
        ),
        sa.Column(
            "fenced_ms",
            sa.BigInteger(),
            nullable=True,
            comment="nothing that it signed is stored from then on",
        ),
        sa.Column("prepared_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.Column("activated_ms", sa.BigInteger(), nullable=True),
        sa.Column("retiring_ms", sa.BigInteger(), nullable=True),
        sa.Column("retired_ms", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_ms", sa.BigInteger(), nullable=True),
        sa.Column(
            "stopped_ms",
            sa.BigInteger(),
            nullable=True,
            comment="suspended or declared compromised",
        ),
        sa.PrimaryKeyConstraint("owner", "purpose", "version", name=op.f("pk_key_version")),
    )
    op.create_index(
        "uq_key_version_active",
        "key_version",
        ["owner", "purpose"],
        unique=True,
        sqlite_where=sa.text("stage = 'active'"),
        postgresql_where=sa.text("stage = 'active'"),
    )
    op.create_index("ix_key_version_thumbprint", "key_version", ["thumbprint"], unique=False)
    op.create_table(
        "key_event",
        sa.Column("entry", sa.LargeBinary(length=32), nullable=False, comment="what the log holds"),
        sa.Column("thumbprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False, comment="the stage that the key entered"),
        sa.Column("effective_ms", sa.BigInteger(), nullable=False),
        sa.Column("trust_list_version", sa.BigInteger(), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("salt", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_key_event")),
    )
    op.create_index("ix_key_event_thumbprint", "key_event", ["thumbprint"], unique=False)
    _record_present_keys(op.get_bind())


def _setting(conn: sa.Connection, name: str) -> str | None:
    query = sa.text("SELECT value FROM setting WHERE name = :name")
    found: str | None = conn.execute(query, {"name": name}).scalar_one_or_none()
    return found


def _chain(*parts: str) -> str:
    return json.dumps(
        [base64.b64encode(bytes.fromhex(part)).decode() for part in parts], separators=(",", ":")
    )


def _record_present_keys(conn: sa.Connection) -> None:
    region = _setting(conn, "region")
    if region is None:
        return
    conn.execute(
        sa.text(
            _INSERT + "SELECT CASE authority_code WHEN '' THEN :region ELSE authority_code END, "
            "purpose, version, suite, state, thumbprint, spki, x5c, not_before_ms, not_before_ms, "
            "not_before_ms, CASE state WHEN 'retired' THEN not_after_ms END "
            "FROM authority_key"
        ),
        {"region": region},
    )
    conn.execute(
        sa.text("UPDATE key_version SET chain = :chain WHERE purpose = 'status'"),
        {"chain": _chain(*json.loads(_setting(conn, "status_x5c") or "[]"))},
    )
    for purpose in (*_REGION_PURPOSES, *_SECRETS):
        certificate = _setting(conn, _CERTIFICATES.get(purpose, ""))
        # What the key store alone knows (its suite, its public half) is filled in at the
        # first rotation, from there.
        conn.execute(
            sa.text(
                _INSERT + f"VALUES (:region, :purpose, 1, :suite, 'active', NULL, NULL, :chain, "
                f"{_MADE}, {_MADE}, {_MADE}, NULL)"
            ),
            {
                "region": region,
                "purpose": purpose,
                "chain": "[]" if certificate is None else _chain(certificate),
                "suite": "secret" if purpose in _SECRETS else "",
            },
        )
    for number, kind in _LOGS.items():
        vkey = _setting(conn, f"vkey/{number}")
        conn.execute(
            sa.text(
                _INSERT + "VALUES (:owner, 'log', 1, 'Ed25519', 'active', NULL, :public, '[]', "
                f"{_MADE}, {_MADE}, {_MADE}, NULL)"
            ),
            {
                "owner": f"{region}-{kind}",
                "public": None if vkey is None else vkey.encode("ascii"),
            },
        )


def downgrade() -> None:
    """Refuse: keys that have rotated would be forgotten."""
    raise RuntimeError("restore a backup instead of going back before key versions")
