"""Asking the region's own log about a licence that came without a receipt."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from yinxin_proto import identifier as identifiers
from yinxin_proto import sdjwt
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.error import InvalidArgumentError, MalformedError, NotFoundError
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_proto.jose import x5c_chain
from yinxin_proto.leaf import Opening
from yinxin_proto.licence import LicenceFile
from yinxin_proto.statuslist import StatusReference
from yinxin_trust import schema
from yinxin_trust.holding import Holding
from yinxin_trust.ledger import LICENCES, receipts
from yinxin_verifier.evidence import LogAnswer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the log says of one licence."""

    answer: LogAnswer | None
    """None where there was nothing to ask about."""
    opening: bytes | None = None
    receipt: bytes | None = None


_NOTHING_TO_ASK = Answer(None)


class LogInquiry:
    """Asks the log.

    Args:
        holding: Finds a licence by its identifier.
    """

    def __init__(self, *, holding: Holding) -> None:
        self._holding = holding

    def ask(self, conn: Connection, presentation: bytes) -> Answer:
        """Return what the log holds of exactly the licence presented.

        One that cannot be read is left for the verdict to say so. Where the
        opening came with it, the entry is computed anew, which also works for
        a licence whose record was erased; else the record is found by its
        identifier, and must be byte for byte what was presented.
        """
        try:
            file = LicenceFile.parse(presentation)
            presented = sdjwt.parse(file.sd_jwt)
            entry = None if file.opening is None else _entry(presented, file.opening)
            identifier = identifiers.parse(str(presented.payload.get("ZZBS")))
        except (MalformedError, InvalidArgumentError):
            return _NOTHING_TO_ASK
        if entry is not None:
            return self._by_entry(conn, entry, None)
        return self._by_identifier(conn, presented, identifier)

    def _by_identifier(
        self, conn: Connection, presented: sdjwt.SdJwt, identifier: LicenceIdentifier
    ) -> Answer:
        try:
            record = self._holding.get(conn, identifier.body, identifier.version)
        except NotFoundError:
            return Answer(LogAnswer.ABSENT)
        if record.sd_jwt.partition("~")[0] != presented.jws.token:
            return Answer(LogAnswer.ABSENT)
        return self._by_entry(conn, record.entry, record.opening)

    def _by_entry(self, conn: Connection, entry: bytes, opening: Opening | None) -> Answer:
        receipt = receipts(conn, LICENCES, (entry,)).get(entry)
        if receipt is not None:
            sent = None if opening is None else opening.to_bytes()
            return Answer(LogAnswer.CONFIRMED, sent, receipt.to_bytes())
        e = schema.log_entry.c
        queued = select(e.entry).where(e.log_number == LICENCES, e.entry == entry)
        # It is stored and waits for its place: asked again in a moment, the log can say.
        waits = conn.execute(queued).first() is not None
        return Answer(LogAnswer.UNREACHABLE if waits else LogAnswer.ABSENT)


def _entry(presented: sdjwt.SdJwt, opening: bytes) -> bytes:
    """Compute the log's entry from exactly what was presented."""
    signer = parse_certificate(x5c_chain(presented.jws.header)[0])
    status = StatusReference.from_claims(presented.payload)
    return Opening.parse(opening).licence_entry(
        presented.jws.token.encode("ascii"),
        signer.thumbprint,
        str(presented.payload.get("ZZBS")),
        None if status is None else status.uri,
        None if status is None else status.index,
    )
