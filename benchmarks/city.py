"""A city of invented people: the region, approvals and packs that are measured.

Everything is the product: a region founded in memory (or on PostgreSQL), the
approvals of ``examples/approvals-putian.csv``, and the trust that a verifier
reads out of the repository that the region published.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Self

from yinxin_edge.clock import SystemClock
from yinxin_proto.approval import IssueRequest, approve
from yinxin_proto.receipt import Receipt
from yinxin_proto.strict import b64url_encode
from yinxin_proto.suite import ES256, SigningKey
from yinxin_trust import ledger
from yinxin_trust.access import Principal, Role
from yinxin_trust.catalogue import Catalogue
from yinxin_trust.context import CallContext
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.ledger import LICENCES
from yinxin_trust.publication import current_view
from yinxin_trust.record import LicenceRecord
from yinxin_trust.region import Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.status import StatusSigner
from yinxin_verifier.assembly import assemble
from yinxin_verifier.evidence import TrustSet

APPROVALS: Final = Path(__file__).parent.parent / "examples" / "approvals-putian.csv"
OPEN_END: Final = "长期"
SEPARATOR: Final = ";"
DESK: Final = "desk"
"""The principal that issues."""


def read_approvals() -> list[dict[str, str]]:
    """Return the examples of the first issuing authority, as a department exports them."""
    with APPROVALS.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["颁发机构代码"] == rows[0]["颁发机构代码"]]


class Requests:
    """Makes issue requests without end out of a few approvals: numbers never repeat.

    Args:
        rows: Approvals of one authority, as exported.
        region: Code of the region that is to issue.
        catalogue: Names the fields of each type.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, str]], *, region: str, catalogue: Catalogue
    ) -> None:
        self._rows = rows
        self._region = region
        self._catalogue = catalogue
        self._counter = count()
        self._clock = SystemClock()
        self._run = int(self._clock.now().timestamp() * 1000)

    def take(self, size: int) -> list[bytes]:
        """Return the next ``size`` requests."""
        return [self._request(next(self._counter)).to_bytes() for _ in range(size)]

    def _request(self, sequence: int) -> IssueRequest:
        row = self._rows[sequence % len(self._rows)]
        names = self._catalogue.get(row["证照类型代码"]).document["display_names"]
        columns = {name["zh"]: field_name for field_name, name in names.items()}
        holders = zip(
            row["持证主体"].split(SEPARATOR),
            row["持证主体代码"].split(SEPARATOR),
            row["持证主体代码类型代码"].split(SEPARATOR),
            strict=True,
        )
        last = row["有效期截止日期"]
        nonce = (self._run << 64 | sequence).to_bytes(32, "big")
        return IssueRequest.from_document(
            {
                "fields": {columns[k]: v for k, v in row.items() if k in columns and v},
                "holder_key": None,
                "holders": [
                    {"name": name, "number": number, "number_type": kind}
                    for name, number, kind in holders
                ],
                "issued_on": row["颁发日期"],
                "issuer": row["颁发机构代码"],
                "nonce": b64url_encode(nonce),
                "number": f"{row['证照编号']}-{self._run}-{sequence}",
                "region": self._region,
                "schema": 1,
                "type": row["证照类型代码"],
                "type_version": 1,
                "valid_from": row["有效期起始日期"],
                "valid_until": None if last in ("", OPEN_END) else last,
            }
        )


@dataclass(slots=True, kw_only=True)
class City:
    """A region with one authority that approves and one principal that issues."""

    region: Region
    requests: Requests
    authority: str
    approver: SigningKey
    caller: Principal
    _calls: count[int] = field(default_factory=count)

    @classmethod
    def found(cls, database_url: str = "sqlite://") -> Self:
        """Found a region in memory, and settle it."""
        return cls.settle(Region.in_memory(database_url=database_url))

    @classmethod
    def settle(cls, region: Region) -> Self:
        """Register the examples' authority with its approval key, and a caller, in a region."""
        rows = read_approvals()
        code, approver = rows[0]["颁发机构代码"], ES256.generate()
        region.registrar.add_authority(
            NewAuthority(
                code=code,
                name=rows[0]["颁发机构"],
                types=tuple(sorted({row["证照类型代码"] for row in rows})),
                approval_key=approver.public_key,
            )
        )
        with region.storage.write() as conn:
            region.registrar.add_principal(
                conn, principal_id=DESK, display_name="示例窗口", authority_code=code
            )
            region.registrar.assign(conn, DESK, Role.ISSUER, by="benchmark")
        with region.storage.read() as conn:
            snapshot = region.directory.snapshot(conn)
        return cls(
            region=region,
            requests=Requests(rows, region=region.namespace.code, catalogue=snapshot.catalogue),
            authority=code,
            approver=approver,
            caller=snapshot.principal(DESK),
        )

    def approve(self, requests: Sequence[bytes]) -> str:
        """Approve requests as their authority does."""
        region = self.region
        return approve(
            requests,
            signer=self.approver,
            authority=self.authority,
            region=region.namespace.code,
            clock=region.clock,
            entropy=region.entropy,
        )

    def command(self, size: int) -> IssueCommand:
        """Return a call that issues ``size`` licences under one approval."""
        requests = self.requests.take(size)
        return IssueCommand(
            caller=self.caller,
            context=CallContext("性能测试"),
            request_id=f"call-{next(self._calls)}",
            requests=requests,
            approval=self.approve(requests),
        )

    def issue(self, size: int) -> list[LicenceRecord]:
        """Issue ``size`` licences, sequenced."""
        records = self.region.issuance.issue(self.command(size))
        self.region.sequence()
        return records

    def receipts(self, records: Sequence[LicenceRecord]) -> dict[bytes, Receipt]:
        """Return the receipts of sequenced licences, by entry."""
        with self.region.storage.read() as conn:
            return ledger.receipts(conn, LICENCES, [record.entry for record in records])

    def trust(self) -> TrustSet:
        """Sign the status lists, publish, and believe what was published."""
        region = self.region
        signer = StatusSigner(keyring=region.keyring, clock=region.clock)
        with region.storage.write() as conn:
            region.publication.publish(conn, {"status": signer.sign_due(conn)})
        with region.storage.read() as conn:
            head = ledger.signed_head(conn, LICENCES)
            view = current_view(conn, region.clock.now())
            return TrustSet(home=assemble(view, checkpoints={head.origin: head.checkpoint}))
