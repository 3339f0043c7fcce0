"""The check before serving: do tiles, head, signature, entries and tables agree?

A region that contradicts itself must not sign another checkpoint or status
list, so a server asks before it starts. The quick examination is bounded: the
roots, the signature, the newest entries with what stands behind them. The full
one reads everything; ``doctor`` asks for it. Either names all that is wrong at
once, from one snapshot, beside running writers.

The codes are listed in `log_check`, `tree_check`, `table_check` and `state_check`; besides,
``LOG_UNKNOWN`` is a stored log that nobody has a key for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from yinxin_proto.checkpoint import VerifiedCheckpoint
from yinxin_proto.error import IntegrityError, Violation
from yinxin_proto.note import NoteVerifier
from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.log_check import LogCheck
from yinxin_trust.state_check import StateCheck
from yinxin_trust.storage import Storage
from yinxin_trust.table_check import TableCheck

QUICK_TAIL: Final = 2048
"""How many of each log's newest entries the quick examination recomputes."""


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What an examination found."""

    full: bool
    """Whether everything was read, or the newest part."""
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing contradicts anything."""
        return not self.findings

    def require_sound(self) -> None:
        """Refuse to go on over contradictions.

        Raises:
            IntegrityError: ``PREFLIGHT``, with a violation for each finding.
        """
        if self.findings:
            raise IntegrityError(
                "the stored data contradicts itself; do not serve it, and keep a copy",
                reason="PREFLIGHT",
                violations=[Violation(f.where, f.detail, f.code) for f in self.findings],
            )


def preflight(
    storage: Storage,
    *,
    logs: Mapping[int, NoteVerifier],
    full: bool = False,
    known: Sequence[VerifiedCheckpoint] = (),
) -> PreflightReport:
    """Examine a region's stored data; writes nothing.

    Args:
        storage: The region's database.
        logs: Every log that the region keeps, with the key of its checkpoints.
        full: Read everything: seconds for each million entries.
        known: Verified checkpoints that others hold. One that the database is
            behind shows that it was restored, even where it agrees with itself.

    Raises:
        UnavailableError: The database cannot be read now.
        IntegrityError: ``DATABASE_CORRUPT``, its pages cannot be read at all.
    """
    tail = None if full else QUICK_TAIL
    with storage.read() as conn:
        findings = [*_unknown_logs(conn, logs)]
        for number, verifier in sorted(logs.items()):
            log = LogCheck(conn=conn, number=number, verifier=verifier, tail=tail, known=known)
            findings += log.findings()
        findings += TableCheck(conn=conn, tail=tail).findings()
        findings += StateCheck(conn=conn, tail=tail).findings()
    return PreflightReport(full, tuple(findings))


def _unknown_logs(conn: Connection, logs: Mapping[int, NoteVerifier]) -> Iterator[Finding]:
    h = schema.log_head.c
    rows = conn.execute(select(h.log_number, h.origin).order_by(h.log_number))
    for number, origin in rows:
        if number not in logs:
            yield Finding("LOG_UNKNOWN", f"log {number}", f"{origin} is kept, but has no key here")
