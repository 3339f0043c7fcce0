"""Verdicts over gRPC: each failure for its own reason, and doubt said to be doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.requests import NAME, NUMBER
from support.running_region import (
    CONTEXT,
    PARENT,
    VERIFIER,
    RunningRegion,
    refused,
    running_on,
    violations,
)
from yinxin_ca.keystore import Purpose
from yinxin_ca.software import SoftwareKeyStore
from yinxin_proto import sdjwt
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.leaf import Opening
from yinxin_proto.licence import LicenceFile
from yinxin_proto.merkle import TreeHead, leaf_hash, node_hash
from yinxin_proto.receipt import Receipt
from yinxin_proto.strict import b64url_encode
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2 import Licence
from yinxin_proto.v1.verification_pb2 import (
    BatchVerifyLicencesRequest,
    CheckOutcome,
    Indication,
    PresentationRequest,
    Report,
    VerifyLicenceRequest,
)
from yinxin_proto.v1.verification_pb2_grpc import VerificationServiceStub
from yinxin_trust.loginquiry import _entry
from yinxin_trust.refresh import refresh
from yinxin_trust.transition import Operation
from yinxin_verifier.decision import STEPS

PASSED = Indication.INDICATION_TOTAL_PASSED
FAILED = Indication.INDICATION_TOTAL_FAILED
UNCLEAR = Indication.INDICATION_INDETERMINATE


@pytest.fixture
def stub(running: RunningRegion) -> Iterator[VerificationServiceStub]:
    with running.channel(VERIFIER) as channel:
        yield VerificationServiceStub(channel)


@pytest.fixture(scope="module")
def licence(running: RunningRegion) -> Licence:
    return running.issue()


def _request(presentation: bytes, **members: object) -> VerifyLicenceRequest:
    return VerifyLicenceRequest(
        context=CONTEXT,
        parent=PARENT,
        presentation=presentation,
        **members,  # type: ignore[arg-type]
    )


def _verify(running: RunningRegion, presentation: bytes, **members: object) -> Report:
    with running.channel(VERIFIER) as channel:
        return VerificationServiceStub(channel).VerifyLicence(_request(presentation, **members))


def _bare(licence: Licence) -> bytes:
    return LicenceFile.parse(licence.licence_file).sd_jwt.encode()


# --- what passes ------------------------------------------------------------------------


def test_a_licence_just_issued_passes(stored: RunningRegion) -> None:
    for _ in range(3):
        report = _verify(stored, stored.issue().licence_file)

        assert report.indication == PASSED, report
        assert not report.code
        assert report.text.zh == "核验通过"


def test_the_report_has_every_step_with_its_evidence(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    report = stub.VerifyLicence(_request(licence.licence_file))

    assert [check.name for check in report.checks] == [step.name for step in STEPS]
    assert [check.number for check in report.checks] == [step.number for step in STEPS]
    signature = next(check for check in report.checks if check.name == "signature")
    assert signature.outcome == CheckOutcome.CHECK_OUTCOME_PASSED
    assert signature.title.zh == "签名"
    assert signature.clause
    status = next(check for check in report.checks if check.name == "status")
    assert status.HasField("age")
    assert [hop.region for hop in report.path] == ["350300"]
    assert report.policy == "ONLINE"


def test_claims_are_told_but_no_evidence_names_the_holder(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    report = stub.VerifyLicence(_request(licence.licence_file))

    claims = json.loads(report.unverified_claims)
    assert claims["ZZBS"] == licence.identifier
    report.unverified_claims = b""
    text = str(report)
    assert NUMBER not in text
    assert NAME not in text


def test_a_bare_sd_jwt_passes_because_the_log_is_asked(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    report = stub.VerifyLicence(_request(_bare(licence)))

    assert report.indication == PASSED, report
    checkpoint = next(check for check in report.checks if check.name == "checkpoint")
    assert checkpoint.outcome == CheckOutcome.CHECK_OUTCOME_PASSED


def test_an_opening_without_receipt_is_enough_to_ask_the_log(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    file = LicenceFile.parse(licence.licence_file)

    report = stub.VerifyLicence(_request(LicenceFile(file.sd_jwt, file.opening).to_bytes()))

    assert report.indication == PASSED, report


def test_offline_policy_wants_the_receipt(stub: VerificationServiceStub, licence: Licence) -> None:
    whole = stub.VerifyLicence(_request(licence.licence_file, policy="OFFLINE"))

    assert (whole.indication, whole.policy) == (PASSED, "OFFLINE")


def test_after_a_publication_the_receipt_is_tied_to_the_published_checkpoint(
    running: RunningRegion, stub: VerificationServiceStub
) -> None:
    licence = running.issue()
    refresh(running.region)

    report = stub.VerifyLicence(_request(licence.licence_file))

    assert report.indication == PASSED
    checkpoint = next(check for check in report.checks if check.name == "checkpoint")
    assert "与核验包检查点一致" in checkpoint.evidence.zh


# --- what fails, each for its own reason -------------------------------------------------


def test_a_tampered_licence_fails_for_its_signature(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    token, *rest = _bare(licence).decode().split("~")
    header, payload, signature = token.split(".")
    other = ("A" if signature[0] != "A" else "B") + signature[1:]
    tampered = "~".join([f"{header}.{payload}.{other}", *rest]).encode()

    report = stub.VerifyLicence(_request(tampered))

    assert report.indication == FAILED
    assert report.sub_indication == "SIG_CRYPTO_FAILURE"


@pytest.mark.parametrize(
    ("operation", "sub"),
    [
        (Operation.SUSPEND, "SUSPENDED"),
        (Operation.FREEZE, "FROZEN"),
        (Operation.REVOKE, "REVOKED"),
        (Operation.CANCEL, "REVOKED"),
    ],
)
def test_a_change_of_status_is_in_the_next_verdict(
    operation: Operation, sub: str, stored: RunningRegion
) -> None:
    licence = stored.issue()
    assert _verify(stored, licence.licence_file).indication == PASSED

    stored.change(licence, operation)
    report = _verify(stored, licence.licence_file)

    assert (report.indication, report.sub_indication) == (FAILED, sub)


def test_a_reinstated_licence_passes_again(running: RunningRegion) -> None:
    licence = running.issue()
    running.change(licence, Operation.SUSPEND)
    running.change(licence, Operation.REINSTATE)

    assert _verify(running, licence.licence_file).indication == PASSED


def test_an_expired_licence_fails(running: RunningRegion, stub: VerificationServiceStub) -> None:
    last = (running.clock.now() - timedelta(days=40)).date().isoformat()
    licence = running.issue(issued_on=last, valid_from=last, valid_until=last)

    report = stub.VerifyLicence(_request(licence.licence_file))

    assert (report.indication, report.sub_indication) == (FAILED, "EXPIRED")


def test_a_licence_that_was_never_logged_fails(
    running: RunningRegion, stub: VerificationServiceStub, licence: Licence
) -> None:
    """Signed with the region's own key, as a thief of it would."""
    forged = _forge(running, licence)

    report = stub.VerifyLicence(_request(forged))

    assert (report.indication, report.code) == (FAILED, "NOT_LOGGED")


def _forge(running: RunningRegion, licence: Licence) -> bytes:
    """The same claims signed once more, which ECDSA never does alike."""
    file = LicenceFile.parse(licence.licence_file)
    token, *disclosures = file.sd_jwt.split("~")
    signing_input = token.rpartition(".")[0]
    store = running.region.keyring.online
    assert isinstance(store, SoftwareKeyStore)
    (ref,) = [
        info.ref
        for info in store.list()
        if info.ref.purpose is Purpose.LICENCE and info.ref.owner in licence.issuer
    ]
    signature = b64url_encode(store.signer(ref).sign(signing_input.encode()))
    return "~".join([f"{signing_input}.{signature}", *disclosures]).encode()


def test_a_receipt_from_a_log_that_we_never_signed_fails(
    running: RunningRegion, stub: VerificationServiceStub, licence: Licence
) -> None:
    """The log's key was stolen too: the region knows its own trees."""
    forged = _forge(running, licence).decode()
    file = LicenceFile.parse(licence.licence_file)
    assert file.opening is not None
    entry = _entry_of(running, forged, Opening.parse(file.opening))
    head = TreeHead(1, leaf_hash(entry))
    signer = running.region.keyring.log_signer(1)
    note = Checkpoint(
        origin=running.region.namespace.log_origin("licences", 1), size=head.size, root=head.root
    ).sign([signer])
    receipt = Receipt(index=0, proof=(), checkpoint=note)
    refresh(running.region)

    report = stub.VerifyLicence(
        _request(LicenceFile(forged, file.opening, receipt.to_bytes()).to_bytes())
    )

    assert (report.indication, report.code) == (FAILED, "LOG_EQUIVOCATION")


def test_a_receipt_of_a_tree_larger_than_the_log_fails(
    running: RunningRegion, stub: VerificationServiceStub, licence: Licence
) -> None:
    forged = _forge(running, licence).decode()
    file = LicenceFile.parse(licence.licence_file)
    assert file.opening is not None
    entry = _entry_of(running, forged, Opening.parse(file.opening))
    # A tree of 2^20 leaves, all the forger's, with ours at the end of a full right edge.
    node, proof = leaf_hash(entry), []
    for _ in range(20):
        proof.append(b"\x00" * 32)
        node = node_hash(b"\x00" * 32, node)
    signer = running.region.keyring.log_signer(1)
    note = Checkpoint(
        origin=running.region.namespace.log_origin("licences", 1), size=1 << 20, root=node
    ).sign([signer])
    receipt = Receipt(index=(1 << 20) - 1, proof=tuple(proof), checkpoint=note)
    refresh(running.region)

    report = stub.VerifyLicence(
        _request(LicenceFile(forged, file.opening, receipt.to_bytes()).to_bytes())
    )

    assert (report.indication, report.code) == (FAILED, "LOG_EQUIVOCATION")


def _entry_of(running: RunningRegion, sd_jwt: str, opening: Opening) -> bytes:
    return _entry(sdjwt.parse(sd_jwt), opening.to_bytes())


@pytest.mark.parametrize("presentation", [b"x", b"{}", b"\xff~", b"a.b.c~", b"[" * 2000])
def test_what_is_no_licence_is_a_verdict_not_an_error(
    presentation: bytes, stub: VerificationServiceStub
) -> None:
    report = stub.VerifyLicence(_request(presentation))

    assert (report.indication, report.sub_indication) == (FAILED, "FORMAT_FAILURE")


# --- doubt -------------------------------------------------------------------------------


def test_a_status_that_cannot_be_signed_is_doubt_and_never_a_failure() -> None:
    with running_on("sqlite") as running:
        licence = running.issue()
        assert _verify(running, licence.licence_file).indication == PASSED
        store = running.region.keyring.online
        # The next list is due, and its key is gone.
        running.clock.advance(minutes=6)
        store.destroy(running.region.keyring.ref(Purpose.STATUS))

        report = _verify(running, licence.licence_file)

    assert (report.indication, report.sub_indication) == (UNCLEAR, "TRY_LATER")
    assert report.code == "STATUS_UNAVAILABLE"
    assert report.advice.zh


def test_a_licence_that_waits_for_its_place_is_doubt(running: RunningRegion) -> None:
    running.paused.set()
    try:
        with running.channel() as channel:
            message = running.issue_message(return_immediately=True)
            name = IssuanceServiceStub(channel).IssueLicence(message).name
        body = name.rpartition("/")[2]
        with running.region.storage.read() as conn:
            record = running.region.holding.get(conn, body)
        report = _verify(running, record.sd_jwt.encode())
    finally:
        running.paused.clear()

    assert report.indication == UNCLEAR
    assert report.code == "LOG_UNREACHABLE"


def test_what_was_published_long_ago_is_doubt() -> None:
    with running_on("sqlite") as running:
        licence = running.issue()
        running.clock.advance(days=2)

        stale = _verify(running, licence.licence_file)
        refresh(running.region)
        fresh = _verify(running, licence.licence_file)

    assert (stale.indication, stale.code) == (UNCLEAR, "TRUST_STALE")
    assert fresh.indication == PASSED


# --- other questions ------------------------------------------------------------------------


def test_a_verdict_can_be_given_as_of_a_time() -> None:
    with running_on("sqlite") as running:
        licence = running.issue()
        refresh(running.region)
        running.clock.advance(hours=2)
        before = running.clock.now()
        running.clock.advance(hours=2)
        running.change(licence, Operation.REVOKE)
        refresh(running.region)
        at = Timestamp()
        at.FromDatetime(before)

        then = _verify(running, licence.licence_file, at_time=at)
        now = _verify(running, licence.licence_file)

    assert then.indication == PASSED, then
    assert then.at_time == at
    assert (now.indication, now.sub_indication) == (FAILED, "REVOKED")


def test_a_batch_is_judged_each_by_itself_in_order(running: RunningRegion) -> None:
    licences = running.issue_many(20)
    running.change(licences[7], Operation.REVOKE)
    presentations = [licence.licence_file for licence in licences]
    presentations[3] = b"nothing"
    request = BatchVerifyLicencesRequest(
        context=CONTEXT, parent=PARENT, presentations=presentations
    )
    with running.recording() as rows, running.channel(VERIFIER) as channel:
        reports = VerificationServiceStub(channel).BatchVerifyLicences(request).reports

    verdicts = [report.indication for report in reports]
    assert [place for place, verdict in enumerate(verdicts) if verdict != PASSED] == [3, 7]
    assert [row["item_count"] for row in rows] == [20]


def test_the_licence_that_passed_is_on_record(
    running: RunningRegion, stub: VerificationServiceStub, licence: Licence
) -> None:
    with running.recording() as rows:
        stub.VerifyLicence(_request(licence.licence_file))

    assert [row["resource"] for row in rows] == [licence.name]


def test_faults_of_a_question_are_named_at_once(stub: VerificationServiceStub) -> None:
    future = Timestamp(seconds=1 << 60)
    request = VerifyLicenceRequest(
        context=CONTEXT, parent="regions/350400", policy="MINE", at_time=future
    )

    with refused(InvalidArgumentError) as caught:
        stub.VerifyLicence(request)

    assert violations(caught[0]).keys() == {"parent", "policy", "at_time", "presentation"}


def test_the_future_is_not_judged(
    running: RunningRegion, stub: VerificationServiceStub, licence: Licence
) -> None:
    at = Timestamp()
    at.FromDatetime(running.clock.now() + timedelta(hours=1))

    with refused(InvalidArgumentError) as caught:
        stub.VerifyLicence(_request(licence.licence_file, at_time=at))

    assert caught[0].reason == "AT_IN_FUTURE"


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand(count: int, stub: VerificationServiceStub) -> None:
    request = BatchVerifyLicencesRequest(
        context=CONTEXT, parent=PARENT, presentations=[b"x"] * count
    )

    with refused(InvalidArgumentError) as caught:
        stub.BatchVerifyLicences(request)

    assert violations(caught[0]) == {"presentations": "BATCH_SIZE"}


def test_a_holders_key_is_asked_for_when_the_request_names_audience_and_nonce(
    stub: VerificationServiceStub, licence: Licence
) -> None:
    asked = PresentationRequest(purpose="租房", audience="https://hall.example", nonce="n-1")

    report = stub.VerifyLicence(_request(licence.licence_file, presentation_request=asked))

    binding = next(check for check in report.checks if check.name == "holder-binding")
    assert binding.outcome != CheckOutcome.CHECK_OUTCOME_UNSPECIFIED
