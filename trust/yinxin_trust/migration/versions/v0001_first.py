"""The first schema: subjects, licences, claims, the log, status, records.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PARTITIONS = 16
_PARTITIONED = ("subject", "licence", "holding", "licence_event")


def upgrade() -> None:
    """Create every table, and PostgreSQL's hash partitions."""
    op.create_table(
        "approval",
        sa.Column(
            "digest",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="SHA-256 of the compact JWS",
        ),
        sa.Column("issuer_code", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False, comment="holds no subject data"),
        sa.Column(
            "requests",
            sa.Text(),
            nullable=False,
            comment="JSON: of each its digest in hexadecimal, its licence's body and version",
        ),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_approval")),
    )
    op.create_index("ix_approval_issuer", "approval", ["issuer_code", "created_ms"], unique=False)
    op.create_table(
        "audit",
        sa.Column("audit_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False, comment="never a subject's number"),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False, comment="用证事由"),
        sa.Column("case_number", sa.Text(), nullable=False, comment="办件编号"),
        sa.Column("service_item", sa.Text(), nullable=False, comment="事项编码"),
        sa.Column("operator", sa.Text(), nullable=False, comment="经办人"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="OK or an error's code"),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="an error's reason"
        ),
        sa.PrimaryKeyConstraint("audit_ref", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at_ms", "audit", ["at_ms"], unique=False)
    op.create_table(
        "authority",
        sa.Column("code", sa.Text(), nullable=False, comment="unified social credit code"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), server_default="", nullable=False),
        sa.Column("types", sa.Text(), nullable=False, comment="JSON: type scopes"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_authority")),
    )
    op.create_table(
        "authority_key",
        sa.Column("thumbprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("authority_code", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False, comment="licence, approval or request"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("spki", sa.LargeBinary(), nullable=False),
        sa.Column(
            "x5c", sa.Text(), nullable=False, comment="JSON: base64 DER, leaf first; may be empty"
        ),
        sa.Column(
            "evidence_hash",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="of the chain and the newest CRL",
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_after_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("thumbprint", name=op.f("pk_authority_key")),
        sa.UniqueConstraint(
            "authority_code",
            "purpose",
            "version",
            name=op.f("uq_authority_key_authority_code_purpose_version"),
        ),
    )
    op.create_table(
        "evidence",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "content", sa.LargeBinary(), nullable=False, comment="DER chain and CRL at signing"
        ),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_evidence")),
    )
    op.create_table(
        "holding",
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False, comment="each holder"),
        sa.Column("licence_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "owner_ref", sa.LargeBinary(length=16), nullable=False, comment="licence.subject_ref"
        ),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject_ref", "licence_ref", name=op.f("pk_holding")),
        postgresql_partition_by="HASH (subject_ref)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identifier_index",
        sa.Column("kind", sa.Text(), nullable=False, comment="GB/T 36903 annex A code type"),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False, comment="keyed HMAC"),
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key_version", "value", name=op.f("pk_identifier_index")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_identifier_index_subject", "identifier_index", ["subject_ref"], unique=False
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False, comment="0: released"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "licence",
        sa.Column(
            "subject_ref", sa.LargeBinary(length=16), nullable=False, comment="the first holder"
        ),
        sa.Column("licence_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="version 001… of the identifier"
        ),
        sa.Column("type_code", sa.Text(), nullable=False),
        sa.Column("type_version", sa.Integer(), nullable=False),
        sa.Column("issuer_code", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "generation", sa.Integer(), nullable=False, comment="the etag; rises at each change"
        ),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "valid_until_ms",
            sa.BigInteger(),
            nullable=True,
            comment="first moment after; absent for 长期",
        ),
        sa.Column("status_list", sa.Integer(), nullable=False),
        sa.Column("status_idx", sa.Integer(), nullable=False),
        sa.Column("key_thumbprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("approval_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("entry", sa.LargeBinary(length=32), nullable=False, comment="what the log holds"),
        sa.Column("sealed_payload", sa.LargeBinary(), nullable=False, comment="salt and SD-JWT"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject_ref", "licence_ref", "revision", name=op.f("pk_licence")),
        postgresql_partition_by="HASH (subject_ref)",
    )
    op.create_index("ix_licence_entry", "licence", ["entry"], unique=False)
    op.create_index("ix_licence_expiry", "licence", ["state", "valid_until_ms"], unique=False)
    op.create_index("ix_licence_issuer", "licence", ["issuer_code", "created_ms"], unique=False)
    op.create_table(
        "licence_event",
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("licence_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False, comment="the generation it made"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("effective_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("operator_certificate_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("approval_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("salt", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "prior_index",
            sa.BigInteger(),
            nullable=True,
            comment="what the leaf says; absent if it had none then",
        ),
        sa.Column("entry", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "sealed_detail", sa.LargeBinary(), nullable=False, comment="reason and legal basis"
        ),
        sa.PrimaryKeyConstraint(
            "subject_ref", "licence_ref", "generation", name=op.f("pk_licence_event")
        ),
        postgresql_partition_by="HASH (subject_ref)",
    )
    op.create_index("ix_licence_event_entry", "licence_event", ["entry"], unique=False)
    op.create_table(
        "licence_identifier",
        sa.Column("body", sa.Text(), nullable=False, comment="type.issuer.serial"),
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("licence_ref", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("body", name=op.f("pk_licence_identifier")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "licence_number",
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column(
            "value",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="HMAC of type, issuer, number",
        ),
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("licence_ref", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("key_version", "value", name=op.f("pk_licence_number")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "licence_type",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False, comment="catalogue entry, JSON"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", "schema_version", name=op.f("pk_licence_type")),
    )
    op.create_table(
        "log_entry",
        sa.Column("log_number", sa.SmallInteger(), nullable=False),
        sa.Column("entry", sa.LargeBinary(length=32), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=True, comment="absent until sequenced"),
        sa.Column("queued_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_number", "entry", name=op.f("pk_log_entry")),
        sa.UniqueConstraint("log_number", "idx", name=op.f("uq_log_entry_log_number_idx")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_log_entry_waiting",
        "log_entry",
        ["log_number", "queued_ms"],
        unique=False,
        sqlite_where=sa.text("idx IS NULL"),
        postgresql_where=sa.text("idx IS NULL"),
    )
    op.create_table(
        "log_head",
        sa.Column("log_number", sa.SmallInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column(
            "epoch", sa.BigInteger(), nullable=False, comment="of the lease that advanced it"
        ),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_size", sa.BigInteger(), nullable=False, comment="of `checkpoint`"),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False, comment="signed note"),
        sa.PrimaryKeyConstraint("log_number", name=op.f("pk_log_head")),
    )
    op.create_table(
        "log_tile",
        sa.Column("log_number", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("tile_index", sa.BigInteger(), nullable=False),
        sa.Column(
            "hashes", sa.LargeBinary(), nullable=False, comment="the widest version, 32 bytes each"
        ),
        sa.PrimaryKeyConstraint("log_number", "level", "tile_index", name=op.f("pk_log_tile")),
    )
    op.create_table(
        "principal",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column(
            "authority_code", sa.Text(), nullable=True, comment="the authority it acts for, if any"
        ),
        sa.Column("enabled", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_principal")),
    )
    op.create_table(
        "published_file",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_published_file")),
    )
    op.create_table(
        "request",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "outcome", sa.LargeBinary(), nullable=False, comment="names of what it made, JSON"
        ),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id", name=op.f("pk_request")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_request_created_ms", "request", ["created_ms"], unique=False)
    op.create_table(
        "role_assignment",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("assigned_by", sa.Text(), nullable=False),
        sa.Column("assigned_ms", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True, comment="absent while in force"),
        sa.PrimaryKeyConstraint(
            "principal_id", "role", "assigned_ms", name=op.f("pk_role_assignment")
        ),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "status_index",
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("value", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("list_number", "idx", name=op.f("pk_status_index")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_status_index_set",
        "status_index",
        ["list_number"],
        unique=False,
        sqlite_where=sa.text("value <> 0"),
        postgresql_where=sa.text("value <> 0"),
    )
    op.create_table(
        "status_list",
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False, comment="indexes handed out so far"),
        sa.Column("changes", sa.BigInteger(), nullable=False, comment="status changes so far"),
        sa.PrimaryKeyConstraint("list_number", name=op.f("pk_status_list")),
        sa.UniqueConstraint("uri", name=op.f("uq_status_list_uri")),
    )
    op.create_table(
        "status_shuffle",
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column(
            "shuffle",
            sa.LargeBinary(),
            nullable=False,
            comment="every index once, 3 bytes each, in the random order it is handed out in",
        ),
        sa.PrimaryKeyConstraint("list_number", name=op.f("pk_status_shuffle")),
    )
    op.create_table(
        "status_token",
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("log_size", sa.BigInteger(), nullable=False),
        sa.Column(
            "changes", sa.BigInteger(), nullable=False, comment="status_list.changes it reflects"
        ),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("list_number", "issued_ms", name=op.f("pk_status_token")),
    )
    op.create_table(
        "subject",
        sa.Column("subject_ref", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kek_version", sa.Integer(), nullable=False),
        sa.Column(
            "wrapped_key", sa.LargeBinary(length=40), nullable=False, comment="AES-KW (RFC 3394)"
        ),
        sa.Column("sealed_profile", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject_ref", name=op.f("pk_subject")),
        postgresql_partition_by="HASH (subject_ref)",
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        for name in _PARTITIONED:
            for part in range(_PARTITIONS):
                op.execute(
                    f"CREATE TABLE {name}_p{part:02d} PARTITION OF {name} "
                    f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {part})"
                )


def downgrade() -> None:
    """Refuse: the first schema has nothing before it."""
    raise RuntimeError("restore a backup instead of going below the first schema")
