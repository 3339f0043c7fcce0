"""What a preflight found, as a message."""

from __future__ import annotations

from yinxin_proto.v1.administration_pb2 import PreflightFinding, PreflightSeverity
from yinxin_proto.v1.administration_pb2 import PreflightReport as ReportMessage
from yinxin_proto.v1.common_pb2 import LocalizedText
from yinxin_trust.preflight import PreflightReport


def preflight_message(report: PreflightReport) -> ReportMessage:
    """Return a report as a message; what contradicts is a fault, and there are no others."""
    return ReportMessage(
        findings=[
            PreflightFinding(
                check=finding.code,
                severity=PreflightSeverity.PREFLIGHT_SEVERITY_FAULT,
                text=LocalizedText(
                    zh=f"{finding.where}：存储数据自相矛盾（{finding.detail}）",
                    en=f"{finding.where}: {finding.detail}",
                ),
            )
            for finding in report.findings
        ],
        passed=report.sound,
    )
