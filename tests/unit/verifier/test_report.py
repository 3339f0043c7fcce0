from __future__ import annotations

import json

import pytest

from support.region_builder import RegionBuilder
from yinxin_proto.error import NotPassedError
from yinxin_verifier import reason
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.reason import Finding, Outcome
from yinxin_verifier.report import Report

FINDINGS = [value for value in vars(reason).values() if isinstance(value, Finding)]


def report(*, receipt: bool = True, status: int = 0) -> Report:
    region = RegionBuilder()
    issued = region.issue()
    region.values[issued.status_index] = status
    licence = region.file(issued) if receipt else issued.sd_jwt
    evidence = Evidence(licence=licence, trust=region.trust())
    return verify(evidence, OFFLINE, region.clock.now())


def test_a_report_is_not_a_boolean() -> None:
    passed = report()
    with pytest.raises(TypeError, match="require_passed"):
        bool(passed)


def test_claims_come_only_from_a_report_that_passed() -> None:
    assert report().require_passed()["ZZMC"] == "虚构许可证"
    failed = report(status=1)
    with pytest.raises(NotPassedError) as caught:
        failed.require_passed()
    assert caught.value.reason == "REVOKED"
    assert failed.unverified_claims["ZZMC"] == "虚构许可证"


@pytest.mark.parametrize(
    ("made", "exit_status", "zh"),
    [
        (report(), 0, "核验通过"),
        (report(status=2), 1, "核验不通过（证照已暂扣）"),
    ],
)
def test_people_read_the_verdict_in_words(made: Report, exit_status: int, zh: str) -> None:
    assert made.exit_status == exit_status
    assert made.text.zh == zh


def test_what_could_not_be_confirmed_comes_with_advice() -> None:
    unclear = report(receipt=False)
    assert unclear.exit_status == 2
    assert unclear.text.zh.startswith("暂无法确认（")
    assert unclear.advice is not None
    assert unclear.advice.zh in unclear.text.zh
    assert unclear.advice.en in unclear.text.en


def test_the_json_form_has_every_check_and_no_claims_unless_asked() -> None:
    made = report()
    members = json.loads(made.to_json())
    assert members["indication"] == "TOTAL_PASSED"
    assert members["exitStatus"] == 0
    assert len(members["checks"]) == len(made.checks)
    assert "claims" not in members
    assert json.loads(made.to_json(claims=True))["claims"]["ZZMC"] == "虚构许可证"


def test_checks_are_made_once() -> None:
    made = report()
    assert made.checks is made.checks


def test_a_repr_shows_the_verdict_and_nothing_of_the_subject() -> None:
    assert repr(report(status=1)) == "<Report TOTAL_FAILED REVOKED>"
    assert repr(report()) == "<Report TOTAL_PASSED>"


def test_forged_is_said_of_a_broken_signature_alone() -> None:
    saying = {f.code for f in FINDINGS if "伪造" in f.text.zh or "forged" in f.text.en}
    assert saying == {"SIGNATURE"}


def test_findings_have_distinct_codes_and_both_languages() -> None:
    codes = [finding.code for finding in FINDINGS]
    assert len(set(codes)) == len(codes)
    for finding in FINDINGS:
        assert finding.text.zh
        assert finding.text.en
        undetermined = finding.outcome is Outcome.UNDETERMINED
        assert bool(finding.advice.zh and finding.advice.en) is undetermined
        assert (finding.sub_indication is None) is (finding.outcome is Outcome.NOT_APPLICABLE)
