"""Issuing what the authorities approved: some one by one, the rest in a batch each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yinxin.approval_csv import ApprovalRow
from yinxin.client import Client, connect
from yinxin.context import Context
from yinxin.credentials import Credentials
from yinxin.demo.approvals import ApprovingAuthority
from yinxin.licence import IssuedLicence

PURPOSE: Final = "行政审批办结制证"
SINGLES: Final = 12
"""So many of each authority's approvals are issued one by one."""
_IN_FLIGHT: Final = 8
_OPERATOR: Final = "示例窗口"


@dataclass(frozen=True, slots=True)
class Department:
    """One authority's own client: its certificate, and its approval key."""

    authority: ApprovingAuthority
    credentials: Path
    """Folder."""

    def connect(self, address: str) -> Client:
        """Return a client that acts for the authority."""
        return connect(address, credentials=Credentials.load(self.credentials))

    def rows_of(self, rows: Sequence[ApprovalRow]) -> list[ApprovalRow]:
        """Return what this authority approved."""
        return [row for row in rows if row.request["issuer"] == self.authority.code]

    def issue(self, client: Client, rows: Sequence[ApprovalRow]) -> list[IssuedLicence]:
        """Issue approvals: the first ones singly, at the same time, the rest as one batch."""
        singles, rest = rows[:SINGLES], rows[SINGLES:]
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            issued = list(pool.map(lambda row: self.issue_one(client, row), singles))
        if rest:
            context = Context(PURPOSE, case_number=rest[0].case_number, operator=_OPERATOR)
            issued += client.issue_many([row.request for row in rest], context=context)
        return issued

    def issue_one(self, client: Client, row: ApprovalRow) -> IssuedLicence:
        """Issue one approval, in the context of its case."""
        return client.issue(row.request, context=row.context(PURPOSE, operator=_OPERATOR))
