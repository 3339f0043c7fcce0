"""Whether a region may be served: its data against itself, and against what was seen.

A database that was restored from an older state agrees with itself. So the
region's directory remembers the newest checkpoint of each log, outside the
database: a log that is behind it, or beside it, is found out at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yinxin_proto.checkpoint import VerifiedCheckpoint, parse
from yinxin_proto.error import ConfigurationError, YinxinError
from yinxin_proto.note import NoteVerifier
from yinxin_trust.auditchain import AuditCheck, AuditSeal
from yinxin_trust.keyring import Keyring
from yinxin_trust.ledger import LICENCES, USES, signed_head
from yinxin_trust.logsuccession import epoch_of
from yinxin_trust.permissionseal import PermissionSeal
from yinxin_trust.preflight import PreflightReport, preflight
from yinxin_trust.storage import Storage
from yinxin_trust.trust_check import TrustCheck

FOLDER: Final = "checkpoints"
_LOGS: Final = (LICENCES, USES)


def log_verifiers(keyring: Keyring) -> dict[int, NoteVerifier]:
    """Return the keys of the region's logs, from its key store and not its database.

    Args:
        keyring: As a transaction sees which epoch each log is in.
    """
    return {number: NoteVerifier(keyring.log_signer(number).vkey) for number in _LOGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """Examines a region's database.

    Args:
        keyring: Has the logs' keys.
        directory: The region's; remembers checkpoints.
    """

    keyring: Keyring
    directory: Path

    def examine(self, storage: Storage, *, full: bool = False) -> PreflightReport:
        """Check that a database agrees with itself and is no older than what was seen.

        The audit trail is a part of the full examination alone: a region whose
        trail was touched still serves, so that it can be looked at.

        Raises:
            YinxinError: It cannot be read.
        """
        with storage.read() as conn:
            logs = log_verifiers(self.keyring.at(conn))
        report = preflight(storage, logs=logs, full=full, known=self._known(logs))
        key = self.keyring.integrity_key()
        with storage.read() as conn:
            found = [*TrustCheck(conn=conn, seal=PermissionSeal(key)).findings()]
            if full:
                found += AuditCheck(conn=conn, seal=AuditSeal(key)).findings()
        return PreflightReport(report.full, (*report.findings, *found))

    def remember(self, storage: Storage) -> None:
        """Keep the newest checkpoints outside the database.

        Raises:
            ConfigurationError: They cannot be written (``CHECKPOINT_FILE``).
        """
        with storage.read() as conn:
            notes = {number: signed_head(conn, number).checkpoint for number in _LOGS}
        for number, note in notes.items():
            self._write(self._path(number), note)

    def _known(self, logs: Mapping[int, NoteVerifier]) -> list[VerifiedCheckpoint]:
        known: list[VerifiedCheckpoint] = []
        for number in logs:
            try:
                note = parse(self._path(number).read_bytes())
                # Perhaps from before the log's key changed: the tree is the same.
                signer = self.keyring.log_signer(number, epoch_of(note.claimed.origin))
                known.append(note.verify(NoteVerifier(signer.vkey)))
            except (OSError, YinxinError):
                # Absent at first; a damaged one tells nothing, and is written anew.
                continue
        return known

    def _path(self, log_number: int) -> Path:
        return self.directory / FOLDER / f"{log_number}.note"

    def _write(self, path: Path, note: bytes) -> None:
        draft = path.with_suffix(".new")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            draft.write_bytes(note)
            draft.replace(path)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {path}: {error.strerror}", reason="CHECKPOINT_FILE"
            ) from error
