"""The tables of a region.

Three rules shape them (design section 9):

* What belongs to a subject leads with a random ``subject_ref`` and is
  hash-partitioned by it on PostgreSQL. Rotating the index key then rewrites
  ``identifier_index`` alone, and a distributed PostgreSQL can shard by it.
* What must be unique across subjects lives in a small *claim table* keyed by
  what it claims, written in the same transaction; PostgreSQL cannot hold a
  unique constraint on a table that is partitioned by another column. What
  could be personal is claimed as a keyed HMAC only.
* No column holds a subject's number or name in clear. ``sealed`` columns are
  AES-256-GCM under the subject's data key, bound to their row.

Times are Unix milliseconds (``_ms``); dates inside licences are not columns.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from yinxin_edge.lease import lease_table

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_BY_SUBJECT: Final[dict[str, Any]] = {"postgresql_partition_by": "HASH (subject_ref)"}
# WITHOUT ROWID: one tree instead of two, for rows small enough to sit in its nodes.
_ONE_TREE: Final[dict[str, Any]] = {"sqlite_with_rowid": False}

# --- What belongs to a subject --------------------------------------------------------

subject: Final = Table(
    "subject",
    metadata,
    Column("subject_ref", LargeBinary(16), nullable=False),
    Column("kek_version", Integer, nullable=False),
    Column("wrapped_key", LargeBinary(40), nullable=False, comment="AES-KW (RFC 3394)"),
    Column("sealed_profile", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject_ref"),
    **_BY_SUBJECT,
    **_ONE_TREE,
)

licence: Final = Table(
    "licence",
    metadata,
    Column("subject_ref", LargeBinary(16), nullable=False, comment="the first holder"),
    Column("licence_ref", LargeBinary(16), nullable=False),
    Column("revision", Integer, nullable=False, comment="version 001… of the identifier"),
    Column("type_code", Text, nullable=False),
    Column("type_version", Integer, nullable=False),
    Column("issuer_code", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("generation", Integer, nullable=False, comment="the etag; rises at each change"),
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("valid_until_ms", BigInteger, comment="first moment after; absent for 长期"),
    Column("status_list", Integer, nullable=False),
    Column("status_idx", Integer, nullable=False),
    Column("key_thumbprint", LargeBinary(32), nullable=False),
    Column("approval_hash", LargeBinary(32), nullable=False),
    Column("evidence_hash", LargeBinary(32), nullable=False),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("entry", LargeBinary(32), nullable=False, comment="what the log holds"),
    Column("sealed_payload", LargeBinary, nullable=False, comment="salt and SD-JWT"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject_ref", "licence_ref", "revision"),
    Index("ix_licence_entry", "entry"),
    Index("ix_licence_expiry", "state", "valid_until_ms"),
    Index("ix_licence_issuer", "issuer_code", "created_ms"),
    **_BY_SUBJECT,
)

holding: Final = Table(
    "holding",
    metadata,
    Column("subject_ref", LargeBinary(16), nullable=False, comment="each holder"),
    Column("licence_ref", LargeBinary(16), nullable=False),
    Column("owner_ref", LargeBinary(16), nullable=False, comment="licence.subject_ref"),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject_ref", "licence_ref"),
    **_BY_SUBJECT,
    **_ONE_TREE,
)

licence_event: Final = Table(
    "licence_event",
    metadata,
    Column("subject_ref", LargeBinary(16), nullable=False),
    Column("licence_ref", LargeBinary(16), nullable=False),
    Column("generation", Integer, nullable=False, comment="the generation it made"),
    Column("revision", Integer, nullable=False),
    Column("operation", Text, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("caller", Text, nullable=False),
    Column("operator_certificate_hash", LargeBinary(32)),
    Column("approval_hash", LargeBinary(32)),
    Column("salt", LargeBinary(32), nullable=False),
    Column("prior_index", BigInteger, comment="what the leaf says; absent if it had none then"),
    Column("entry", LargeBinary(32), nullable=False),
    Column("sealed_detail", LargeBinary, nullable=False, comment="reason and legal basis"),
    PrimaryKeyConstraint("subject_ref", "licence_ref", "generation"),
    Index("ix_licence_event_entry", "entry"),
    **_BY_SUBJECT,
)

# --- Claims: what must be unique across subjects ---------------------------------------

identifier_index: Final = Table(
    "identifier_index",
    metadata,
    Column("kind", Text, nullable=False, comment="GB/T 36903 annex A code type"),
    Column("key_version", Integer, nullable=False),
    Column("value", LargeBinary(32), nullable=False, comment="keyed HMAC"),
    Column("subject_ref", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("kind", "key_version", "value"),
    Index("ix_identifier_index_subject", "subject_ref"),
    **_ONE_TREE,
)

licence_identifier: Final = Table(
    "licence_identifier",
    metadata,
    Column("body", Text, nullable=False, comment="type.issuer.serial"),
    Column("subject_ref", LargeBinary(16), nullable=False),
    Column("licence_ref", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("body"),
    **_ONE_TREE,
)

licence_number: Final = Table(
    "licence_number",
    metadata,
    Column("key_version", Integer, nullable=False),
    Column("value", LargeBinary(32), nullable=False, comment="HMAC of type, issuer, number"),
    Column("subject_ref", LargeBinary(16), nullable=False),
    Column("licence_ref", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("key_version", "value"),
    **_ONE_TREE,
)

status_index: Final = Table(
    "status_index",
    metadata,
    Column("list_number", Integer, nullable=False),
    Column("idx", Integer, nullable=False),
    Column("value", SmallInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("list_number", "idx"),
    Index(
        "ix_status_index_set",
        "list_number",
        sqlite_where=text("value <> 0"),
        postgresql_where=text("value <> 0"),
    ),
    **_ONE_TREE,
)
STATUS_IS_SET: Final = text("value <> 0")
"""Condition, word for word the index's: SQLite uses a partial index for no other."""

request: Final = Table(
    "request",
    metadata,
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("outcome", LargeBinary, nullable=False, comment="names of what it made, JSON"),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("caller", "request_id"),
    Index("ix_request_created_ms", "created_ms"),
    **_ONE_TREE,
)

approval: Final = Table(
    "approval",
    metadata,
    Column("digest", LargeBinary(32), nullable=False, comment="SHA-256 of the compact JWS"),
    Column("issuer_code", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("token", Text, nullable=False, comment="holds no subject data"),
    Column(
        "requests",
        Text,
        nullable=False,
        comment="JSON: of each its digest in hexadecimal, its licence's body and version",
    ),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("digest"),
    Index("ix_approval_issuer", "issuer_code", "created_ms"),
)

# --- The log ---------------------------------------------------------------------------

log_head: Final = Table(
    "log_head",
    metadata,
    Column("log_number", SmallInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False, comment="of the lease that advanced it"),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("signed_size", BigInteger, nullable=False, comment="of `checkpoint`"),
    Column("checkpoint", LargeBinary, nullable=False, comment="signed note"),
    PrimaryKeyConstraint("log_number"),
)

log_entry: Final = Table(
    "log_entry",
    metadata,
    Column("log_number", SmallInteger, nullable=False),
    Column("entry", LargeBinary(32), nullable=False),
    Column("idx", BigInteger, comment="absent until sequenced"),
    Column("queued_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("log_number", "entry"),
    UniqueConstraint("log_number", "idx"),
    Index(
        "ix_log_entry_waiting",
        "log_number",
        "queued_ms",
        sqlite_where=text("idx IS NULL"),
        postgresql_where=text("idx IS NULL"),
    ),
    **_ONE_TREE,
)

log_tile: Final = Table(
    "log_tile",
    metadata,
    Column("log_number", SmallInteger, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("tile_index", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False, comment="the widest version, 32 bytes each"),
    PrimaryKeyConstraint("log_number", "level", "tile_index"),
)

evidence: Final = Table(
    "evidence",
    metadata,
    Column("digest", LargeBinary(32), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="DER chain and CRL at signing"),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("digest"),
)

# --- Status ----------------------------------------------------------------------------

status_list: Final = Table(
    "status_list",
    metadata,
    Column("list_number", Integer, nullable=False),
    Column("uri", Text, nullable=False),
    Column("taken", Integer, nullable=False, comment="indexes handed out so far"),
    Column("changes", BigInteger, nullable=False, comment="status changes so far"),
    PrimaryKeyConstraint("list_number"),
    UniqueConstraint("uri"),
)

# Apart from the list: SQLite rewrites a whole row, and this one has 384 kB.
status_shuffle: Final = Table(
    "status_shuffle",
    metadata,
    Column("list_number", Integer, nullable=False),
    Column(
        "shuffle",
        LargeBinary,
        nullable=False,
        comment="every index once, 3 bytes each, in the random order it is handed out in",
    ),
    PrimaryKeyConstraint("list_number"),
)

status_token: Final = Table(
    "status_token",
    metadata,
    Column("list_number", Integer, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("log_size", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False, comment="status_list.changes it reflects"),
    Column("token", Text, nullable=False),
    PrimaryKeyConstraint("list_number", "issued_ms"),
)

# --- Who, what, and the catalogue -------------------------------------------------------

authority: Final = Table(
    "authority",
    metadata,
    Column("code", Text, nullable=False, comment="unified social credit code"),
    Column("name", Text, nullable=False),
    Column("name_en", Text, nullable=False, server_default=""),
    Column("types", Text, nullable=False, comment="JSON: type scopes"),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("code"),
)

authority_key: Final = Table(
    "authority_key",
    metadata,
    Column("thumbprint", LargeBinary(32), nullable=False),
    Column("authority_code", Text, nullable=False),
    Column("purpose", Text, nullable=False, comment="licence, approval or request"),
    Column("version", Integer, nullable=False),
    Column("suite", Text, nullable=False),
    Column("spki", LargeBinary, nullable=False),
    Column("x5c", Text, nullable=False, comment="JSON: base64 DER, leaf first; may be empty"),
    Column("evidence_hash", LargeBinary(32), comment="of the chain and the newest CRL"),
    Column("state", Text, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("not_after_ms", BigInteger),
    Column("stopped_ms", BigInteger, comment="nothing that it signed is stored from then on"),
    Column("pin", Text, comment="JSON: which entries of a compromised key stand"),
    PrimaryKeyConstraint("thumbprint"),
    UniqueConstraint("authority_code", "purpose", "version"),
)

key_version: Final = Table(
    "key_version",
    metadata,
    Column("owner", Text, nullable=False, comment="region, log, or an authority's credit code"),
    Column("purpose", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("suite", Text, nullable=False, comment="of the key pair; ``secret`` or ``Ed25519``"),
    Column("stage", Text, nullable=False),
    Column("thumbprint", LargeBinary(32), comment="of the public half; absent for a secret"),
    Column("public", LargeBinary, comment="SPKI, or the verifier key of a log"),
    Column("chain", Text, nullable=False, comment="JSON: base64 DER, leaf first; may be empty"),
    Column("ending", Text, comment="JSON: the tree within which a retired key signed"),
    Column("fenced_ms", BigInteger, comment="nothing that it signed is stored from then on"),
    Column("prepared_ms", BigInteger, nullable=False),
    Column("published_ms", BigInteger),
    Column("activated_ms", BigInteger),
    Column("retiring_ms", BigInteger),
    Column("retired_ms", BigInteger),
    Column("destroyed_ms", BigInteger),
    Column("stopped_ms", BigInteger, comment="suspended or declared compromised"),
    PrimaryKeyConstraint("owner", "purpose", "version"),
    Index(
        "uq_key_version_active",
        "owner",
        "purpose",
        unique=True,
        sqlite_where=text("stage = 'active'"),
        postgresql_where=text("stage = 'active'"),
    ),
    Index("ix_key_version_thumbprint", "thumbprint"),
)

key_event: Final = Table(
    "key_event",
    metadata,
    Column("entry", LargeBinary(32), nullable=False, comment="what the log holds"),
    Column("thumbprint", LargeBinary(32), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("event", Text, nullable=False, comment="the stage that the key entered"),
    Column("effective_ms", BigInteger, nullable=False),
    Column("trust_list_version", BigInteger, nullable=False),
    Column("evidence_hash", LargeBinary(32)),
    Column("salt", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("entry"),
    Index("ix_key_event_thumbprint", "thumbprint"),
)

principal: Final = Table(
    "principal",
    metadata,
    Column("principal_id", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("authority_code", Text, comment="the authority it acts for, if any"),
    Column("enabled", SmallInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("principal_id"),
)

EXCLUSIVE_IN_FORCE: Final = (
    "withdrawn_ms IS NULL AND (role = 'system-administrator' OR role = 'security-administrator' "
    "OR role = 'auditor' OR role = 'key-operator')"
)
role_assignment: Final = Table(
    "role_assignment",
    metadata,
    Column("principal_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("assigned_by", Text, nullable=False),
    Column("assigned_ms", BigInteger, nullable=False),
    Column("withdrawn_by", Text),
    Column("withdrawn_ms", BigInteger, comment="absent while in force"),
    PrimaryKeyConstraint("principal_id", "role", "assigned_ms"),
    # The database holds it too: whoever acts is not whoever checks (`access.EXCLUSIVE`).
    Index(
        "uq_role_assignment_exclusive",
        "principal_id",
        unique=True,
        sqlite_where=text(EXCLUSIVE_IN_FORCE),
        postgresql_where=text(EXCLUSIVE_IN_FORCE),
    ),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("audit_ref", LargeBinary(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("caller", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("resource", Text, nullable=False, comment="never a subject's number"),
    Column("item_count", Integer, nullable=False),
    Column("purpose", Text, nullable=False, comment="用证事由"),
    Column("case_number", Text, nullable=False, comment="办件编号"),
    Column("service_item", Text, nullable=False, comment="事项编码"),
    Column("operator", Text, nullable=False, comment="经办人"),
    Column("outcome", Text, nullable=False, comment="OK or an error's code"),
    Column("reason", Text, nullable=False, server_default="", comment="an error's reason"),
    Column("mac", LargeBinary(32), comment="over the columns above"),
    Column("block", BigInteger, comment="of `audit_block`; absent until it is chained"),
    PrimaryKeyConstraint("audit_ref"),
    Index("ix_audit_at_ms", "at_ms"),
    Index(
        "ix_audit_unchained",
        "at_ms",
        sqlite_where=text("block IS NULL"),
        postgresql_where=text("block IS NULL"),
    ),
)

audit_block: Final = Table(
    "audit_block",
    metadata,
    Column("number", BigInteger, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("digest", LargeBinary(32), nullable=False, comment="of its rows' MACs, in order"),
    Column("sealed_ms", BigInteger, nullable=False),
    Column("newest_ms", BigInteger, nullable=False, comment="at_ms of its newest row"),
    Column("mac", LargeBinary(32), nullable=False, comment="over this row and the block before"),
    Column("entry", LargeBinary(32), nullable=False, comment="what the log of uses holds"),
    PrimaryKeyConstraint("number"),
    Index("ix_audit_block_entry", "entry"),
)

licence_type: Final = Table(
    "licence_type",
    metadata,
    Column("code", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("document", Text, nullable=False, comment="catalogue entry, JSON"),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("code", "schema_version"),
)

published_file: Final = Table(
    "published_file",
    metadata,
    Column("path", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("published_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("path"),
)

setting: Final = Table(
    "setting",
    metadata,
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name"),
)

lease: Final = lease_table(metadata)
