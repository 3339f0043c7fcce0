"""What happened to a key, on the audit trail and in the log of licences."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.leaf import SALT_SIZE, KeyEventLeaf
from yinxin_trust import schema
from yinxin_trust.access import Principal
from yinxin_trust.audit import AuditTrail
from yinxin_trust.context import CallContext
from yinxin_trust.keyinventory import KeyVersion
from yinxin_trust.keystage import STAGE_NAMES, Step
from yinxin_trust.ledger import LICENCES, queue
from yinxin_trust.publication import trust_list_version
from yinxin_trust.rows import RowBatch, milliseconds

CONSOLE: Final = Principal("@console", "the region's console", None, frozenset(), enabled=True)
"""Stands in the audit trail: somebody at the machine, or the region by itself."""


class KeyEvents:
    """Records steps.

    Args:
        audit: The trail.
        clock: Dates them.
        entropy: Salts of the log's leaves.
    """

    def __init__(self, *, audit: AuditTrail, clock: Clock, entropy: Entropy) -> None:
        self._audit = audit
        self._clock = clock
        self._entropy = entropy

    def record(self, conn: Connection, key: KeyVersion, step: Step) -> None:
        """Record a step in the transaction that takes it.

        The log gets what others can have seen of a key: not that one was
        prepared, and nothing of secrets, which have no public half.
        """
        now_ms = milliseconds(self._clock.now())
        self._audit.record(
            conn,
            caller=CONSOLE,
            method=f"{step.value.capitalize()}Key",
            resource=f"keys/{key.ref}",
            context=CallContext(f"密钥轮换：{STAGE_NAMES[key.stage]}"),
        )
        if key.thumbprint is None or step is Step.PREPARE:
            return
        version = trust_list_version(conn)
        leaf = KeyEventLeaf(
            key_spki_hash=key.thumbprint,
            purpose=key.ref.purpose.value,
            event=key.stage.value,
            effective_time=now_ms // 1000,
            trust_list_version=version,
            evidence_hash=None,
        )
        salt = self._entropy.token(SALT_SIZE)
        entry = leaf.entry(salt)
        batch = RowBatch()
        batch.add(
            schema.key_event,
            {
                "entry": entry,
                "thumbprint": key.thumbprint,
                "purpose": key.ref.purpose.value,
                "event": key.stage.value,
                "effective_ms": now_ms,
                "trust_list_version": version,
                "evidence_hash": None,
                "salt": salt,
            },
        )
        queue(batch, LICENCES, entry, now_ms=now_ms)
        for table, rows in batch.tables():
            conn.execute(table.insert(), rows)
