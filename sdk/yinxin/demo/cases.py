"""Licences that must not pass, each for a reason of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from yinxin.approval_csv import ApprovalRow
from yinxin.client import Client
from yinxin.context import Context
from yinxin.lifecycle import ChangeDetails
from yinxin_proto.error import InternalError, MalformedError, UnavailableError
from yinxin_proto.licence import LicenceFile
from yinxin_proto.strict import b64url_decode, b64url_encode, canonical_json, parse_json_object
from yinxin_verifier.fetch import LogProof
from yinxin_verifier.report import Indication, Report

CONTEXT: Final = Context("证照监督管理", operator="示例窗口")
SUSPENSION: Final[ChangeDetails] = {
    "context": CONTEXT,
    "reason": "示例：涉嫌违法，调查期间暂扣",
    "legal_basis": "《中华人民共和国行政处罚法》第九条",
    "reason_code": "INVESTIGATION",
}
REVOCATION: Final[ChangeDetails] = {
    "context": CONTEXT,
    "reason": "示例：违法行为查实，吊销",
    "legal_basis": "《中华人民共和国行政处罚法》第九条",
    "reason_code": "PENALTY",
}
_MAX_TOKEN: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One licence that must not pass."""

    name: str
    """Of its texts: ``demo.case.<name>``."""
    file: bytes
    code: str
    """The finding that it must end with."""
    indication: Indication = Indication.TOTAL_FAILED

    def check(self, report: Report) -> Report:
        """Refuse a verdict that is not the one that the case is about.

        Raises:
            InternalError: ``DEMO_VERDICT``.
        """
        if (report.indication, report.code) != (self.indication, self.code):
            raise InternalError(
                f"{self.name}: {self.code} was expected, not {report.code or report.indication}",
                reason="DEMO_VERDICT",
            )
        return report


def tamper(file: bytes) -> bytes:
    """Return a licence file whose validity somebody prolonged, under the old signature."""
    licence = LicenceFile.parse(file)
    token, _, disclosures = licence.sd_jwt.partition("~")
    header, payload, signature = token.split(".")
    claims = parse_json_object(b64url_decode(payload, max_bytes=_MAX_TOKEN))
    claims["ZZYXQJZRQ"] = "2099-12-31"
    forged = b64url_encode(canonical_json(claims))
    sd_jwt = f"{header}.{forged}.{signature}~{disclosures}"
    return LicenceFile(sd_jwt, licence.opening, licence.receipt).to_bytes()


def outdated(row: ApprovalRow, today: date) -> ApprovalRow:
    """Return an approval whose five years ended yesterday, as stock that is brought in late."""
    begin = _five_years_before(today)
    end = today - timedelta(days=1)
    request = {
        **row.request,
        "number": f"{row.request['number']}-旧",
        "issued_on": begin.isoformat(),
        "valid_from": begin.isoformat(),
        "valid_until": end.isoformat(),
    }
    return ApprovalRow(
        line=row.line,
        case_number=row.case_number,
        service_item=row.service_item,
        request=request,
    )


def _five_years_before(day: date) -> date:
    try:
        return day.replace(year=day.year - 5)
    except ValueError:
        # 29 February.
        return day.replace(year=day.year - 5, day=28) + timedelta(days=1)


class RegionSource:
    """Asks a region's own service for a licence's status, as an online counter does.

    Args:
        client: Of the region.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def status_token(self, uri: str) -> str:
        """See `yinxin_verifier.fetch.EvidenceSource`."""
        return self._client.status_list(uri).token

    def log_proof(self, identifier: str) -> LogProof | None:
        """Every licence here has its receipt: the log is never asked.

        Raises:
            UnavailableError: Always.
        """
        raise UnavailableError(f"the log is not asked for {identifier}")


def require_file(file: bytes | None) -> bytes:
    """Return a licence file that must be there.

    Raises:
        MalformedError: It is not.
    """
    if file is None:
        raise MalformedError("a licence came without its file", reason="NO_FILE")
    return file
