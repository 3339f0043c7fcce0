"""Holding the log against what the authorities approved: what of a stolen key's entries stands.

Every entry below ``n_stop`` is made anew from the row behind it. One that no
row explains could be anything, so it is held against the key. An entry of the
key reconciles iff its approval is the authority's own, its request is in it,
no earlier entry that reconciles used that request, whichever key signed it,
and the licence says what was requested and hides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from yinxin_proto import sdjwt
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.concealment import SD
from yinxin_proto.error import IntegrityError, YinxinError
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.jose import x5c_chain
from yinxin_proto.keyrecord import Pin, ranges_of
from yinxin_proto.leaf import KeyEventLeaf
from yinxin_proto.licence import build_claims
from yinxin_proto.merkle import TreeHead, root
from yinxin_proto.strict import Json
from yinxin_trust import schema
from yinxin_trust.approvedstock import ApprovedStock
from yinxin_trust.catalogue import Catalogue, load_catalogue
from yinxin_trust.decoy import decoy_digests
from yinxin_trust.ledger import LICENCES
from yinxin_trust.namespace import Namespace
from yinxin_trust.record import LicenceRecord, open_rows
from yinxin_trust.state_check import SAME_VERSION, event_opens
from yinxin_trust.subject import SubjectDirectory

_CHUNK: Final = 500
_li, _ev, _e = schema.licence.c, schema.licence_event.c, schema.log_entry.c


class Doubt(StrEnum):
    """Why an entry does not reconcile."""

    UNEXPLAINED = "UNEXPLAINED"
    """No row stands behind it, or one that makes another entry."""
    NO_APPROVAL = "NO_APPROVAL"
    """The authority has no such approval."""
    NOT_REQUESTED = "NOT_REQUESTED"
    """The approval does not cover the request."""
    REPLAYED = "REPLAYED"
    """An earlier entry used the same approved request."""
    CONTENT = "CONTENT"
    """The licence says something else than the request, or hides something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """One entry that does not reconcile."""

    index: int
    doubt: Doubt
    identifier: str | None = None
    """Of the licence, where a row says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What the comparison found."""

    pin: Pin
    entries: int
    """Of the key, below ``n_stop``, and known to be."""
    compared: int
    """Of those, how many licences were compared with the request word for word."""
    doubtful: tuple[Doubtful, ...]

    @property
    def reattested(self) -> int:
        """How many entries of the key stand although they come after the first doubtful one."""
        return (
            self.entries
            - self.before
            - sum(1 for one in self.doubtful if one.doubt is not Doubt.UNEXPLAINED)
        )

    before: int = 0
    """How many entries of the key come before ``n_safe``."""

    def reasons(self) -> dict[str, int]:
        """Return how many entries each doubt has."""
        return dict(Counter(one.doubt.value for one in self.doubtful))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Compares a key's entries with what was approved."""

    subjects: SubjectDirectory
    namespace: Namespace
    stock: ApprovedStock

    def run(
        self, conn: Connection, thumbprint: bytes, *, origin: str, head: TreeHead
    ) -> Reconciliation:
        """Compare every entry below a signed head.

        Args:
            conn: A read transaction.
            thumbprint: Of the stolen key.
            origin: The log's.
            head: (``n_stop``, root): everything the key ever had logged is below it.

        Raises:
            IntegrityError: The entries in the table are not those of the signed tree
                (``LOG_ENTRIES``): somebody hid what was logged.
        """
        tally = _Tally(
            thumbprint=thumbprint,
            stock=self.stock,
            catalogue=load_catalogue(conn),
            domain=self.namespace.domain,
        )
        logged: list[bytes] = []
        for start in range(0, head.size, _CHUNK):
            entries = _entries(conn, start, min(start + _CHUNK, head.size))
            logged += entries
            self._look(conn, start, entries, tally)
        if root(logged) != head.root:
            raise IntegrityError(
                "the log's table holds other entries than its signed tree: somebody changed "
                "them. Recover them from a backup or a witness first",
                reason="LOG_ENTRIES",
            )
        doubts = [one.index for one in tally.doubtful]
        n_safe = min(doubts, default=head.size)
        standing = set(range(n_safe, head.size)) - set(doubts)
        return Reconciliation(
            pin=Pin(
                origin=origin,
                n_stop=head.size,
                root=head.root,
                n_safe=n_safe,
                reattested=ranges_of(standing),
            ),
            entries=len(tally.own),
            before=sum(1 for index in tally.own if index < n_safe),
            compared=tally.compared,
            doubtful=tuple(tally.doubtful),
        )

    def _look(self, conn: Connection, start: int, entries: Sequence[bytes], tally: _Tally) -> None:
        licences = self._licences(conn, entries)
        events = _events(conn, entries)
        for index, entry in enumerate(entries, start):
            if entry in licences:
                tally.licence(index, entry, licences[entry])
            elif entry not in events:
                tally.doubt(index, Doubt.UNEXPLAINED)

    def _licences(
        self, conn: Connection, entries: Sequence[bytes]
    ) -> dict[bytes, LicenceRecord | None]:
        """Return the licences behind entries; None for a row that does not open."""
        rows = list(conn.execute(select(schema.licence).where(_li.entry.in_(entries))))
        owners = self.subjects.by_ref(conn, {bytes(row.subject_ref) for row in rows})
        found: dict[bytes, LicenceRecord | None] = {}
        for row in rows:
            try:
                (record,) = open_rows([row], owners, self.namespace)
            except YinxinError:
                # Erased, or altered: nobody can say any more what it was.
                found[bytes(row.entry)] = None
            else:
                found[bytes(row.entry)] = record
        return found


class _Tally:
    """What was seen so far, in the log's order."""

    def __init__(
        self, *, thumbprint: bytes, stock: ApprovedStock, catalogue: Catalogue, domain: str
    ) -> None:
        self._thumbprint = thumbprint
        self._stock = stock
        self._catalogue = catalogue
        self._domain = domain
        self._used: set[tuple[bytes, bytes]] = set()
        self.own: list[int] = []
        self.compared = 0
        self.doubtful: list[Doubtful] = []

    def doubt(self, index: int, doubt: Doubt, identifier: str | None = None) -> None:
        self.doubtful.append(Doubtful(index=index, doubt=doubt, identifier=identifier))

    def licence(self, index: int, entry: bytes, record: LicenceRecord | None) -> None:
        try:
            presented = None if record is None else sdjwt.parse(record.sd_jwt)
            key = None if presented is None else _key_of(presented)
        except YinxinError:
            presented = key = None
        if record is None or presented is None or key is None:
            self.doubt(index, Doubt.UNEXPLAINED)
            return
        if not _makes(entry, record, presented, key):
            self.doubt(index, Doubt.UNEXPLAINED, str(record.identifier))
            return
        # Whoever's key it is: what one key has used, a stolen one cannot use again.
        doubt = self._judge(record, presented, is_own=key == self._thumbprint)
        if key != self._thumbprint:
            return
        self.own.append(index)
        if doubt is not None:
            self.doubt(index, doubt, str(record.identifier))

    def _judge(
        self, record: LicenceRecord, presented: sdjwt.SdJwt, *, is_own: bool
    ) -> Doubt | None:
        approval, request = record.opening.approval, record.opening.request
        if approval is None or request is None:
            return Doubt.NO_APPROVAL
        batch = self._stock.get(approval)
        if batch is None or batch.authority != record.identifier.issuer:
            return Doubt.NO_APPROVAL
        if request not in batch.requests:
            return Doubt.NOT_REQUESTED
        if (approval, request) in self._used:
            return Doubt.REPLAYED
        body = batch.requests[request]
        self.compared += is_own and body is not None
        says = body is None or self._says(body, batch.name, record, presented)
        if _hides(record, presented) or not says:
            return Doubt.CONTENT
        self._used.add((approval, request))
        return None

    def _says(
        self, body: bytes, authority: str, record: LicenceRecord, presented: sdjwt.SdJwt
    ) -> bool:
        """Tell whether a licence says what was requested, and nothing more.

        What it is called and who issued it, which people read first, are the
        catalogue's and the trust list's words, not its own.
        """
        try:
            claims = presented.unverified_claims()
            request = IssueRequest.parse(body)
            expected = build_claims(
                request,
                identifier=record.identifier,
                status=record.status,
                domain=self._domain,
                type_name=self._catalogue.get(request.type, request.type_version).name,
                authority_name=authority,
                issued_at=datetime.fromtimestamp(int(claims["iat"]), UTC),
            )
        except (YinxinError, KeyError, IndexError, ValueError, TypeError, OverflowError, OSError):
            return False
        said = {name: value for name, value in claims.items() if name != "_sd_alg"}
        return bool(_plain(expected) == said)


def _entries(conn: Connection, start: int, end: int) -> list[bytes]:
    """Return what the table holds at indexes; nothing of the kind where a row is gone."""
    query = select(_e.idx, _e.entry).where(_e.log_number == LICENCES, _e.idx >= start, _e.idx < end)
    found = {row.idx: bytes(row.entry) for row in conn.execute(query)}
    return [found.get(index, b"") for index in range(start, end)]


def _events(conn: Connection, entries: Sequence[bytes]) -> set[bytes]:
    """Return which entries are changes of a licence or a key, made anew from their rows."""
    query = select(schema.licence_event, _li.type_code, _li.issuer_code, _li.serial)
    query = query.join_from(schema.licence_event, schema.licence, SAME_VERSION)
    rows: Iterator[Row[Any]] = iter(conn.execute(query.where(_ev.entry.in_(entries))))
    keys = conn.execute(select(schema.key_event).where(schema.key_event.c.entry.in_(entries)))
    return {bytes(row.entry) for row in rows if event_opens(row)} | {
        bytes(row.entry) for row in keys if key_event_opens(row)
    }


def key_event_opens(row: Row[Any]) -> bool:
    """Tell whether a key event's leaf, made anew from its row, is the one logged."""
    leaf = KeyEventLeaf(
        key_spki_hash=bytes(row.thumbprint),
        purpose=row.purpose,
        event=row.event,
        effective_time=row.effective_ms // 1000,
        trust_list_version=row.trust_list_version,
        evidence_hash=None if row.evidence_hash is None else bytes(row.evidence_hash),
    )
    return leaf.entry(bytes(row.salt)) == bytes(row.entry)


def _key_of(presented: sdjwt.SdJwt) -> bytes:
    return parse_certificate(x5c_chain(presented.jws.header)[0]).thumbprint


def _makes(entry: bytes, record: LicenceRecord, presented: sdjwt.SdJwt, key: bytes) -> bool:
    """Tell whether the licence behind an entry is what the entry commits to."""
    made = record.opening.licence_entry(
        presented.jws.token.encode("ascii"),
        key,
        str(record.identifier),
        record.status.uri,
        record.status.index,
    )
    return made == entry


def _hides(record: LicenceRecord, presented: sdjwt.SdJwt) -> bool:
    """Tell whether a licence holds a digest that is neither shown in its row nor a decoy.

    Whoever has what is behind it could show it to anybody, in place of what
    was approved: another name, or another holder.
    """
    try:
        hidden = presented.undisclosed()
        decoys = decoy_digests(record.licence_ref, record.opening.salt, presented.hashing)
    except YinxinError:
        return True
    return not hidden <= decoys


def _plain(value: Json | SD) -> Json:
    if isinstance(value, SD):
        return _plain(value.value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
