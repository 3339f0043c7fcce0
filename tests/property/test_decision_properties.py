"""No altered licence passes, and no input whatever raises anything."""

from __future__ import annotations

import copy
import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from support.json_mutation import VALUES, places, put
from support.region_builder import RegionBuilder
from yinxin_proto import sdjwt
from yinxin_proto.jose import encode_x5c, sign_compact
from yinxin_proto.strict import Json
from yinxin_verifier.decision import STEPS, Request, verify
from yinxin_verifier.evidence import Evidence, TrustSet
from yinxin_verifier.policy import OFFLINE, ONLINE
from yinxin_verifier.reason import Indication, Outcome
from yinxin_verifier.report import Report

Signed = tuple[RegionBuilder, TrustSet, bytes, dict[str, Json]]


@cache
def signed() -> Signed:
    """Return a region with one licence that passes; not to be changed."""
    region = RegionBuilder()
    region.fill_log(11)
    issued = region.issue(request=region.request(fields=2))
    region.fill_log(3)
    payload = sdjwt.parse(issued.sd_jwt).payload
    return region, region.trust(), region.file(issued), payload


def judge(licence: bytes | str) -> Report:
    region, trust, _, _ = signed()
    request = Request(purpose="虚构事项", audience="a", nonce="n")
    return verify(
        Evidence(licence=licence, trust=trust), OFFLINE, region.clock.now(), request=request
    )


def assert_coherent(report: Report) -> None:
    """The verdict follows from the checks, and every reason is one that the step names."""
    outcomes = {check.outcome for check in report.checks}
    if Outcome.FAILED in outcomes:
        assert report.indication is Indication.TOTAL_FAILED
    elif Outcome.UNDETERMINED in outcomes:
        assert report.indication is Indication.INDETERMINATE
    else:
        assert report.indication is Indication.TOTAL_PASSED
        assert Outcome.NOT_RUN not in outcomes
    for check, step in zip(report.checks, STEPS, strict=True):
        stated = {finding.text for finding in step.findings}
        assert check.reason is None or check.text in stated
    json.loads(report.to_json(claims=True))


@given(position=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_one_flipped_bit_never_passes(position: int, bit: int) -> None:
    _, _, file, _ = signed()
    assert judge(file).indication is Indication.TOTAL_PASSED
    altered = bytearray(file)
    altered[position % len(file)] ^= 1 << bit
    report = judge(bytes(altered))
    if report.indication is Indication.TOTAL_PASSED:
        # Whose line it was is not signed: one that names another key is nobody's,
        # and is ignored (C2SP signed-note). It then protects nothing.
        said = next(check for check in report.checks if check.name == "checkpoint")
        assert "ML-DSA-44" not in said.evidence.en
    assert_coherent(report)


@given(position=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_one_flipped_bit_never_passes_where_ml_dsa_alone_counts(position: int, bit: int) -> None:
    region, trust, file = strict()
    altered = bytearray(file)
    altered[position % len(file)] ^= 1 << bit
    now = region.clock.now()
    assert verify(Evidence(licence=file, trust=trust), OFFLINE, now).exit_status == 0
    report = verify(Evidence(licence=bytes(altered), trust=trust), OFFLINE, now)
    if report.indication is Indication.TOTAL_PASSED:
        # The Ed25519 line is nobody's there, whatever it says.
        lines = file.index("— ".encode())
        assert lines <= position % len(file) < file.index("— ".encode(), lines + 1)
    assert_coherent(report)


@cache
def strict() -> tuple[RegionBuilder, TrustSet, bytes]:
    """Return the same for a verifier that has pinned the parallel root."""
    region, _, file, _ = signed()
    return region, region.trust(pq_root=region.hierarchy.parallel.certificate), file


@given(licence=st.binary(max_size=300) | st.text(max_size=300))
def test_any_input_has_a_report(licence: bytes | str) -> None:
    report = judge(licence)
    assert report.indication is not Indication.TOTAL_PASSED
    assert_coherent(report)


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_an_issuer_signs_has_a_report(data: st.DataObject) -> None:
    region, trust, _, payload = signed()
    changed = copy.deepcopy(payload)
    put(changed, data.draw(st.sampled_from(places(changed))), data.draw(VALUES))
    token = sign_compact(
        region.key,
        typ=sdjwt.TYP,
        header={"x5c": encode_x5c(region.chain)},
        payload=json.dumps(changed, allow_nan=True).encode(),
    )
    for policy in (OFFLINE, ONLINE):
        report = verify(Evidence(licence=token + "~", trust=trust), policy, region.clock.now())
        assert report.indication is not Indication.TOTAL_PASSED
        assert_coherent(report)


@settings(max_examples=150)
@given(data=st.data())
def test_any_licence_file_has_a_report(data: st.DataObject) -> None:
    _, _, file, _ = signed()
    document = json.loads(file)
    put(document, data.draw(st.sampled_from(places(document))), data.draw(VALUES))
    assert_coherent(judge(json.dumps(document).encode()))
