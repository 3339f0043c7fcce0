"""What must pass, what a verdict says of itself, and which finding decides."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from support.clock import SeededEntropy
from support.hierarchy import ORGANISATION, Hierarchy
from support.region_builder import CODE, ORIGIN, STATUS_URI, RegionBuilder
from yinxin_ca.profile import LICENCE_CA
from yinxin_ca.subject import Subject
from yinxin_proto import sdjwt
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import InvalidArgumentError, VerificationError
from yinxin_proto.jose import sign_compact
from yinxin_proto.keybinding import bind
from yinxin_proto.keyrecord import KeyState, Pin
from yinxin_proto.licence import LicenceFile
from yinxin_proto.logkey import FrozenHead
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.note import NoteSigner
from yinxin_proto.scope import TypeScope
from yinxin_proto.suite import ES256
from yinxin_verifier.decision import STEPS, Request, steps_table, verify
from yinxin_verifier.evidence import Evidence, LogAnswer, TrustSet
from yinxin_verifier.keystate import proven_time
from yinxin_verifier.parallelroot import check_cosigners
from yinxin_verifier.policy import OFFLINE, ONLINE, Policy, ReceiptRule
from yinxin_verifier.reason import Indication, Outcome, SubIndication
from yinxin_verifier.report import CheckResult, Report

BARE = dataclasses.replace(OFFLINE, name="BARE", receipt=ReceiptRule.NOT_REQUIRED)
ANY_AGE = dataclasses.replace(OFFLINE, name="ANY_AGE", max_status_age=None, max_trust_age=None)


@pytest.fixture
def region() -> RegionBuilder:
    built = RegionBuilder()
    built.fill_log(5)
    return built


def judge(
    region: RegionBuilder,
    licence: bytes | str,
    *,
    policy: Policy = OFFLINE,
    trust: TrustSet | None = None,
) -> Report:
    evidence = Evidence(licence=licence, trust=trust or region.trust())
    return verify(evidence, policy, region.clock.now())


def check(report: Report, name: str) -> CheckResult:
    return next(found for found in report.checks if found.name == name)


def assert_passed(report: Report) -> None:
    assert report.indication is Indication.TOTAL_PASSED, report.text.en


def test_a_licence_with_its_receipt_passes_offline(region: RegionBuilder) -> None:
    report = judge(region, region.file(region.issue()))
    assert_passed(report)
    claims = report.require_passed()
    assert claims["ZZBH"] == "虚构证字第00001号"
    assert "_sd" not in claims
    assert [hop.region for hop in report.path] == ["350399"]


def test_a_bare_presentation_passes_where_no_receipt_is_asked(region: RegionBuilder) -> None:
    issued = region.issue()
    report = judge(region, region.undisclosed(issued), policy=BARE)
    assert_passed(report)
    assert "ZZBH" not in report.require_passed()
    assert check(report, "opening").outcome is Outcome.NOT_APPLICABLE


def test_a_licence_without_receipt_passes_online_once_the_log_confirms(
    region: RegionBuilder,
) -> None:
    evidence = Evidence(
        licence=region.issue().sd_jwt, trust=region.trust(), log_answer=LogAnswer.CONFIRMED
    )
    report = verify(evidence, ONLINE, region.clock.now())
    assert_passed(report)
    assert check(report, "opening").reason == "LOG_CONFIRMED"


def test_the_logs_word_does_not_replace_the_receipt_offline(region: RegionBuilder) -> None:
    evidence = Evidence(
        licence=region.issue().sd_jwt, trust=region.trust(), log_answer=LogAnswer.CONFIRMED
    )
    assert verify(evidence, OFFLINE, region.clock.now()).code == "NO_RECEIPT"


def test_a_receipt_that_the_log_sent_counts_like_the_holders(region: RegionBuilder) -> None:
    issued = region.issue()
    evidence = Evidence(
        licence=issued.sd_jwt,
        trust=region.trust(),
        log_answer=LogAnswer.CONFIRMED,
        opening=issued.opening.to_bytes(),
        receipt=region.receipt(issued).to_bytes(),
    )
    assert_passed(verify(evidence, OFFLINE, region.clock.now()))


def test_a_receipt_newer_than_the_pack_stands_on_the_logs_signature_and_is_reported(
    region: RegionBuilder,
) -> None:
    old_checkpoint = region.checkpoint()
    issued = region.issue()
    report = judge(region, region.file(issued), trust=region.trust(checkpoint=old_checkpoint))
    assert_passed(report)
    assert "unwitnessed" in check(report, "checkpoint").evidence.en


def test_an_older_receipt_is_tied_to_the_pack_by_its_consistency_proof(
    region: RegionBuilder,
) -> None:
    issued = region.issue()
    file, size = region.file(issued), len(region.leaves)
    region.fill_log(9)
    trust = region.trust(proofs=[(size, len(region.leaves))])
    report = judge(region, file, trust=trust)
    assert_passed(report)
    assert "consistent with the pack" in check(report, "checkpoint").evidence.en


# --- the stolen key -----------------------------------------------------------


def pinned(region: RegionBuilder, **changes: object) -> None:
    head = region.head()
    pin = Pin(origin=ORIGIN, n_stop=head.size, root=head.root, n_safe=head.size)
    region.add_key(
        region.key,
        state=KeyState.COMPROMISED,
        pin=dataclasses.replace(pin, **changes),  # type: ignore[arg-type]
    )


def test_a_licence_logged_before_the_theft_still_verifies(region: RegionBuilder) -> None:
    issued = region.issue()
    file = region.file(issued)
    pinned(region)
    assert_passed(judge(region, file))


def test_a_receipt_refreshed_after_the_theft_still_verifies(region: RegionBuilder) -> None:
    issued = region.issue()
    pinned(region)
    size = len(region.leaves)
    region.fill_log(7)
    trust = region.trust(proofs=[(size, len(region.leaves))])
    assert_passed(judge(region, region.file(issued), trust=trust))


def test_receipt_and_pin_may_be_tied_through_the_packs_checkpoint(region: RegionBuilder) -> None:
    issued = region.issue()
    file, at = region.file(issued), len(region.leaves)
    region.fill_log(4)
    pinned(region)
    stop = len(region.leaves)
    region.fill_log(7)
    head = len(region.leaves)
    assert_passed(judge(region, file, trust=region.trust(proofs=[(at, head), (stop, head)])))
    for proofs in ([(at, head)], [(stop, head)]):
        report = judge(region, file, trust=region.trust(proofs=proofs))
        assert report.code == "PIN_CONSISTENCY_UNAVAILABLE"


def test_two_trees_that_only_extend_the_packs_checkpoint_are_not_tied(
    region: RegionBuilder,
) -> None:
    # Both begin with the head; they may go on differently.
    head, checkpoint = len(region.leaves), region.checkpoint()
    issued = region.issue()
    file, at = region.file(issued), len(region.leaves)
    region.fill_log(4)
    pinned(region)
    proofs = [(head, at), (head, len(region.leaves))]
    report = judge(region, file, trust=region.trust(checkpoint=checkpoint, proofs=proofs))
    assert report.code == "PIN_CONSISTENCY_UNAVAILABLE"


def test_a_reattested_licence_stands_and_its_neighbour_does_not(region: RegionBuilder) -> None:
    forged, honest = region.issue(), region.issue()
    pinned(region, n_safe=forged.index, reattested=((honest.index, honest.index + 1),))
    assert_passed(judge(region, region.file(honest)))
    assert judge(region, region.file(forged)).code == "KEY_COMPROMISED_LATER_ENTRY"


def compromise(region: RegionBuilder) -> Pin:
    """Declare the key stolen: the log's present head is the last that counts."""
    head = region.head()
    pin = Pin(origin=region.origin, n_stop=head.size, root=head.root, n_safe=head.size)
    region.add_key(region.key, state=KeyState.COMPROMISED, pin=pin)
    return pin


@pytest.mark.parametrize("size", [7, 300, 512, 600])
def test_tiles_find_an_entry_for_receipts_of_any_size(region: RegionBuilder, size: int) -> None:
    region.fill_log(size - len(region.leaves) - 1)
    issued = region.issue()
    early = region.file(issued)
    region.fill_log(700)
    later = region.file(issued)
    compromise(region)
    region.fill_log(900)
    newest = region.file(issued)
    block = issued.index // 256
    trust = region.trust(trees=[(size + 700, ((block, block + 1),))])
    for file in (early, later, newest):
        report = judge(region, file, trust=trust)
        assert_passed(report)
        assert "0 attested anew" in check(report, "key-state").evidence.en


def test_a_refreshed_receipt_needs_no_tile_of_its_own_block(region: RegionBuilder) -> None:
    issued = region.issue()
    early = region.file(issued)
    region.fill_log(700)
    pin = compromise(region)
    region.fill_log(50)
    trust = region.trust(trees=[(pin.n_stop, ())])
    assert_passed(judge(region, region.file(issued), trust=trust))
    assert judge(region, early, trust=trust).code == "PIN_CONSISTENCY_UNAVAILABLE"


def test_a_receipt_of_the_next_epoch_is_found_in_the_pin_of_the_past_one(
    region: RegionBuilder,
) -> None:
    issued = region.issue()
    early = region.file(issued)
    compromise(region)
    size = len(region.leaves)
    region.succeed()
    region.fill_log(3)
    by_tiles = region.trust(trees=[(size, ())])
    by_proof = region.trust(proofs=[(size, len(region.leaves))])
    for trust in (by_tiles, by_proof):
        assert_passed(judge(region, region.file(issued), trust=trust))
    assert_passed(judge(region, early, trust=by_tiles))


def test_what_the_pin_admits_outlives_the_revocation_of_its_stolen_keys_certificate(
    region: RegionBuilder,
) -> None:
    issued = region.issue()
    region.clock.advance(hours=1)
    compromise(region)
    serial = parse_certificate(region.chain[0]).serial_number
    region.hierarchy.licences.revoke(serial, RevocationReason.KEY_COMPROMISE)
    region.crls = [region.hierarchy.licences.sign_crl(lifetime=timedelta(days=7))]
    region.fill_log(3)
    trust = region.trust(trees=[(6, ())])
    assert_passed(judge(region, region.file(issued), trust=trust))


def test_what_the_pin_admits_outlives_its_certificate(region: RegionBuilder) -> None:
    issued = region.issue(request=region.request(valid_until=None))
    head = region.head()
    pin = Pin(origin=ORIGIN, n_stop=head.size, root=head.root, n_safe=head.size)
    region.add_key(region.key, state=KeyState.COMPROMISED, pin=pin, not_after=region.since)
    region.clock.advance(days=4 * 365)
    region.status_chain = region.certify_status(region.status_key)
    report = judge(region, region.file(issued), trust=region.trust(trees=[(head.size, ())]))
    assert_passed(report)


def retire(region: RegionBuilder) -> Pin:
    """Retire the key in the ordinary way, now: all that it signed is in the log."""
    head = region.head()
    pin = Pin(origin=region.origin, n_stop=head.size, root=head.root, n_safe=head.size)
    now = int(region.clock.now().timestamp())
    region.add_key(region.key, state=KeyState.RETIRED, not_after=now, pin=pin)
    return pin


def test_a_retired_keys_licence_outlives_its_certificate_by_its_pin(
    region: RegionBuilder,
) -> None:
    issued = region.issue(request=region.request(valid_until=None))
    early = region.file(issued)
    region.clock.advance(days=1)
    retire(region)
    size = len(region.leaves)
    region.succeed()
    region.clock.advance(days=4 * 365)
    region.status_chain = region.certify_status(region.status_key)
    region.fill_log(3)
    plain, tied = region.trust(), region.trust(proofs=[(size, len(region.leaves))])
    for file in (early, region.file(issued)):
        report = judge(region, file, trust=plain)
        assert_passed(report)
        assert "end of the signing key" in check(report, "period").evidence.en
        assert_passed(judge(region, file, trust=tied))
    assert (
        "log's signature"
        in check(judge(region, region.file(issued), trust=plain), "key-state").evidence.en
    )
    assert (
        "was found"
        in check(judge(region, region.file(issued), trust=tied), "key-state").evidence.en
    )


def test_a_suspended_key_keeps_its_pin_and_stays_suspended(region: RegionBuilder) -> None:
    issued = region.issue()
    pin = retire(region)
    region.add_key(region.key, state=KeyState.SUSPENDED, pin=pin)
    assert judge(region, region.file(issued)).code == "KEY_SUSPENDED"


def test_entries_of_a_closed_log_stand_on_its_signature(region: RegionBuilder) -> None:
    issued = region.issue()
    early = region.file(issued)
    region.fill_log(3)
    region.succeed()
    region.fill_log(2)
    later = region.issue()
    trust = region.trust()
    for file in (early, region.file(issued), region.file(later)):
        assert_passed(judge(region, file, trust=trust))


def test_a_log_stays_open_while_the_next_one_begins(region: RegionBuilder) -> None:
    issued = region.issue()
    early = region.file(issued)
    region.succeed()
    region.past_logs = [dataclasses.replace(log, closed_at=None) for log in region.past_logs]
    trust = region.trust()
    for file in (early, region.file(issued), region.file(region.issue())):
        assert_passed(judge(region, file, trust=region.trust()))
    assert_passed(judge(region, early, trust=trust))


def test_entries_of_a_frozen_log_stand_by_tiles_and_refreshed_under_the_next(
    region: RegionBuilder,
) -> None:
    issued = region.issue()
    early = region.file(issued)
    region.fill_log(3)
    head = region.head()
    region.succeed(frozen=FrozenHead(size=head.size, root=head.root))
    region.fill_log(2)
    later = region.issue()
    trust = region.trust(trees=[(head.size, ())])
    for file in (early, region.file(issued), region.file(later)):
        report = judge(region, file, trust=trust)
        assert_passed(report)
        said = check(report, "checkpoint").evidence.en
        assert ("found in the tree" in said) is (file is early)


# --- the log's ML-DSA-44 cosigner ------------------------------------------------


def test_a_cosigned_checkpoint_says_so_and_witnesses_nothing(region: RegionBuilder) -> None:
    report = judge(region, region.file(region.issue()))
    said = check(report, "checkpoint").evidence.en
    assert "with ML-DSA-44 too" in said
    assert "no witness signatures" in said


def test_with_the_ed25519_key_broken_cosigned_entries_still_verify(region: RegionBuilder) -> None:
    issued = region.issue()
    early = region.file(issued)
    region.ed25519_broken = True
    region.fill_log(3)
    for file in (early, region.file(issued)):
        report = judge(region, file)
        assert_passed(report)
        assert "signed by the log with ML-DSA-44" in check(report, "checkpoint").evidence.en


def test_a_verifier_that_pins_the_parallel_root_counts_ml_dsa_alone(region: RegionBuilder) -> None:
    issued = region.issue()
    root = region.hierarchy.parallel.certificate
    trust = region.trust(pq_root=root)
    assert_passed(judge(region, region.file(issued), trust=trust))
    region.cosigner, cosigner = None, region.cosigner
    bare = region.file(issued)
    assert judge(region, bare, trust=trust).code == "LOG_KEY_BROKEN"
    region.cosigner = cosigner
    assert_passed(judge(region, bare))


def test_another_parallel_root_than_the_pinned_one_is_refused(region: RegionBuilder) -> None:
    stranger = Hierarchy(entropy=SeededEntropy("stranger")).parallel.certificate
    for listed in (
        region.trust_list(),
        dataclasses.replace(
            region.trust_list(),
            anchors=dataclasses.replace(region.trust_list().anchors, pq_root=None),
            logs=tuple(dataclasses.replace(log, cosigner=None) for log in region.trust_list().logs),
        ),
    ):
        with pytest.raises(VerificationError) as caught:
            region.trust(trust_list=listed, pq_root=stranger)
        assert caught.value.reason == "PQ_ROOT_PINNED"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("another root", "CHAIN_SIGNATURE"),
        ("another key", "COSIGNER_KEY"),
        ("another log", "COSIGNER_NAME"),
        ("another purpose", "CERTIFICATE_PURPOSE"),
        ("a classical root", "CHAIN_ALGORITHM"),
    ],
)
def test_a_cosigner_that_the_parallel_root_did_not_certify_is_refused(
    region: RegionBuilder, change: str, reason: str
) -> None:
    listed = region.trust_list()
    (log,) = listed.logs
    assert log.cosigner is not None
    hierarchy, key = region.hierarchy, region.cosigner_key.public_key
    anchors = listed.anchors
    match change:
        case "another root":
            stranger = Hierarchy(entropy=SeededEntropy("stranger"))
            der = stranger.cosigner_certificate(ORIGIN, key)
            subject = parse_certificate(hierarchy.parallel.certificate)
            # The stranger uses the genuine root's name and key identifier.
            assert parse_certificate(der).issuer == subject.subject
            authority_key = parse_certificate(der).authority_key_id
            assert authority_key is not None
            assert subject.subject_key_id is not None
            der = der.replace(authority_key, subject.subject_key_id)
        case "another key":
            other = ML_DSA_44.load_seed(b"\x09" * 32).public_key
            der = hierarchy.cosigner_certificate(ORIGIN, other)
        case "another log":
            der = hierarchy.cosigner_certificate(ORIGIN.replace("licences", "uses"), key)
        case "another purpose":
            der = region.chain[0]
        case _:
            der = log.cosigner.certificate
            anchors = dataclasses.replace(
                anchors, root=anchors.pq_root or b"", pq_root=anchors.root
            )
    cosigner = dataclasses.replace(log.cosigner, certificate=der)
    changed = dataclasses.replace(
        listed, anchors=anchors, logs=(dataclasses.replace(log, cosigner=cosigner),)
    )
    with pytest.raises(VerificationError) as caught:
        check_cosigners(changed)
    assert caught.value.reason == reason


def test_entries_below_the_seal_of_a_log_stand(region: RegionBuilder) -> None:
    issued = region.issue()
    file = region.file(issued)
    head = region.head()
    region.frozen = FrozenHead(size=head.size, root=head.root)
    assert_passed(judge(region, file))


# --- proof of existence -------------------------------------------------------


def test_a_retired_keys_licence_passes_on_its_witnesses_time() -> None:
    region = RegionBuilder(witnesses=2)
    issued = region.issue()
    file = region.file(issued)
    region.clock.advance(days=1)
    region.add_key(region.key, state=KeyState.RETIRED, not_after=region.since + 3600)
    report = judge(region, file)
    assert_passed(report)
    assert check(report, "period").age == timedelta(days=1)


def test_a_licence_outlives_its_certificate_on_its_witnesses_time() -> None:
    region = RegionBuilder(witnesses=1)
    issued = region.issue(request=region.request(valid_until=None))
    file = region.file(issued)
    region.clock.advance(days=4 * 365)
    region.status_chain = region.certify_status(region.status_key)
    assert_passed(judge(region, file))


def test_a_licence_outlives_its_authoritys_scope_on_its_witnesses_time() -> None:
    region = RegionBuilder(witnesses=1)
    file = region.file(region.issue())
    (scope,) = region.scopes
    region.scopes = (dataclasses.replace(scope, not_after=region.since + 60),)
    region.clock.advance(days=1)
    assert_passed(judge(region, file))


def test_fewer_witnesses_than_the_quorum_prove_no_time() -> None:
    region = RegionBuilder(witnesses=2)
    issued = region.issue()
    receipt = dataclasses.replace(
        region.receipt(issued),
        checkpoint=region.checkpoint(witnesses=region.witness_signers[:1]),
    )
    region.clock.advance(days=1)
    region.add_key(region.key, state=KeyState.RETIRED, not_after=region.since + 3600)
    assert judge(region, region.file(issued, receipt=receipt)).code == "KEY_RETIRED_NO_POE"


@pytest.mark.parametrize(
    ("times", "dishonest", "expected"),
    [
        ([30, 10, 20], 0, 10),
        ([30, 10, 20], 1, 20),
        ([30, 10, 20], 3, None),
        ([0, 0, 50], 0, 50),
        ([0, 101], 0, None),
        ([], 0, None),
    ],
)
def test_zero_and_future_times_prove_nothing_and_liars_are_outvoted(
    times: list[int], dishonest: int, expected: int | None
) -> None:
    assert proven_time(times, dishonest=dishonest, now=100) == expected


# --- moments ------------------------------------------------------------------


def test_a_verdict_can_be_given_as_of_a_time(region: RegionBuilder) -> None:
    issued = region.issue()
    before, then = region.status_token(), region.clock.now()
    region.clock.advance(days=2)
    region.values[issued.status_index] = 1
    trust = region.trust(tokens=[region.status_token(), before])
    evidence = Evidence(licence=region.file(issued), trust=trust)
    now = region.clock.now()
    assert verify(evidence, OFFLINE, now).sub_indication is SubIndication.REVOKED
    report = verify(evidence, OFFLINE, now, at=then)
    assert_passed(report)
    assert check(report, "status").age == timedelta(days=2)


def test_a_newer_list_from_the_network_goes_before_the_packs(region: RegionBuilder) -> None:
    issued = region.issue()
    trust = region.trust()
    region.values[issued.status_index] = 1
    region.clock.advance(hours=1)
    evidence = Evidence(
        licence=region.file(issued), trust=trust, fetched={STATUS_URI: region.status_token()}
    )
    assert verify(evidence, OFFLINE, region.clock.now()).code == "REVOKED"


def test_an_older_list_from_the_network_does_not_undo_a_newer_one(region: RegionBuilder) -> None:
    issued = region.issue()
    replayed = region.status_token()
    region.values[issued.status_index] = 1
    region.clock.advance(hours=1)
    evidence = Evidence(
        licence=region.file(issued), trust=region.trust(), fetched={STATUS_URI: replayed}
    )
    assert verify(evidence, OFFLINE, region.clock.now()).code == "REVOKED"


def test_a_moment_in_the_future_cannot_be_asked_about(region: RegionBuilder) -> None:
    evidence = Evidence(licence=region.file(region.issue()), trust=region.trust())
    now = region.clock.now()
    with pytest.raises(InvalidArgumentError) as caught:
        verify(evidence, OFFLINE, now, at=now + timedelta(seconds=2))
    assert caught.value.reason == "AT_IN_FUTURE"


def test_a_naive_moment_is_refused(region: RegionBuilder) -> None:
    evidence = Evidence(licence=region.file(region.issue()), trust=region.trust())
    with pytest.raises(InvalidArgumentError) as caught:
        verify(evidence, OFFLINE, datetime(2026, 1, 1))  # noqa: DTZ001 - the point
    assert caught.value.reason == "NAIVE_TIME"


def test_a_licence_is_valid_to_the_last_second_of_its_last_day(region: RegionBuilder) -> None:
    last = datetime(2026, 1, 3, tzinfo=UTC).date()
    issued = region.issue(request=region.request(valid_until=last))
    file, trust = region.file(issued), region.trust()
    end = datetime(2026, 1, 3, 16, tzinfo=UTC)
    evidence = Evidence(licence=file, trust=trust)
    assert_passed(verify(evidence, OFFLINE, end - timedelta(seconds=1)))
    assert verify(evidence, OFFLINE, end).code == "EXPIRED"


# --- holder, purpose ----------------------------------------------------------


def test_a_presentation_bound_to_its_holder_passes(region: RegionBuilder) -> None:
    holder = ES256.load_deterministic(401)
    jwk = ES256.public_to_jwk(holder.public_key)
    issued = region.issue(request=region.request(holder_key=jwk))
    presented = bind(
        sdjwt.parse(issued.sd_jwt),
        signer=holder,
        audience="https://bank.example",
        nonce="n-1",
        issued_at=region.clock.now(),
    )
    report = verify(
        Evidence(licence=presented, trust=region.trust()),
        BARE,
        region.clock.now(),
        request=Request(purpose="虚构事项", audience="https://bank.example", nonce="n-1"),
    )
    assert_passed(report)
    assert check(report, "holder-binding").outcome is Outcome.PASSED


def test_a_holder_key_is_not_asked_for_without_a_challenge(region: RegionBuilder) -> None:
    jwk = ES256.public_to_jwk(ES256.load_deterministic(401).public_key)
    issued = region.issue(request=region.request(holder_key=jwk))
    report = judge(region, region.file(issued))
    assert_passed(report)
    assert check(report, "holder-binding").reason == "HOLDER_BINDING_NOT_ASKED"


# --- which finding decides ----------------------------------------------------


def test_failed_beats_undetermined_wherever_it_stands(region: RegionBuilder) -> None:
    request = region.request(valid_until=datetime(2026, 1, 1, tzinfo=UTC).date())
    issued = region.issue(request=request)
    region.clock.advance(days=2)
    report = judge(region, issued.sd_jwt, trust=region.trust(tokens=[]))
    # The missing receipt comes first, and the missing status is unclear too.
    assert report.code == "EXPIRED"
    assert {c.name for c in report.checks if c.outcome is Outcome.UNDETERMINED} == {
        "opening",
        "status",
    }


def test_the_first_of_equals_decides(region: RegionBuilder) -> None:
    issued = region.issue(request=region.request(type="11100000MB03271699002"))
    region.values[issued.status_index] = 1
    report = judge(region, region.file(issued))
    assert report.code == "TYPE_NOT_IN_SCOPE"
    assert check(report, "status").reason == "REVOKED"


def test_what_builds_on_a_failed_step_does_not_run_and_says_so(region: RegionBuilder) -> None:
    report = judge(region, "a.b.c~")
    outcomes = {c.name: c.outcome for c in report.checks}
    assert outcomes.pop("format") is Outcome.FAILED
    assert outcomes.pop("purpose") is Outcome.NOT_APPLICABLE
    assert set(outcomes.values()) == {Outcome.NOT_RUN}
    assert report.path == ()
    assert report.unverified_claims == {}


def test_the_same_question_has_the_same_answer(region: RegionBuilder) -> None:
    file = region.file(region.issue())
    warm = region.trust()
    first = judge(region, file, trust=warm).to_json(claims=True)
    assert judge(region, file, trust=warm).to_json(claims=True) == first
    assert judge(region, file, trust=region.trust()).to_json(claims=True) == first


def test_authorities_keep_apart_in_one_cache(region: RegionBuilder) -> None:
    trust = region.trust()
    stranger = ES256.load_deterministic(666)
    forged = region.issue(key=stranger, chain=region.certify(stranger))
    honest = region.issue()
    trust = region.trust()
    for _ in range(3):
        assert_passed(judge(region, region.file(honest), trust=trust))
        assert judge(region, region.file(forged), trust=trust).code == "KEY_NOT_TRUSTED"


def test_the_scope_may_have_several_periods(region: RegionBuilder) -> None:
    (scope,) = region.scopes
    region.scopes = (
        TypeScope(type=scope.type, not_before=0, not_after=10),
        scope,
    )
    assert_passed(judge(region, region.file(region.issue())))


# --- the table ----------------------------------------------------------------


def test_steps_are_numbered_from_one_and_build_on_earlier_ones() -> None:
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))
    for step in STEPS:
        assert step.requires < step.bit


def test_the_table_names_every_step_and_every_failure() -> None:
    table = steps_table()
    for step in STEPS:
        assert f"`{step.name}`" in table
        for finding in step.findings:
            if finding.outcome is not Outcome.NOT_APPLICABLE:
                assert f"`{finding.code}`" in table


def test_no_evidence_text_repeats_a_subjects_number_or_name(region: RegionBuilder) -> None:
    report = judge(region, region.file(region.issue()))
    text = report.to_json()
    assert "350302188503150016" not in text
    assert "虚构人甲" not in text
    assert CODE in text


def test_a_receipt_does_not_put_its_own_words_into_the_report(region: RegionBuilder) -> None:
    issued = region.issue()
    said = "evil.example/350302188503150016"
    forged = region.checkpoint(signer=NoteSigner(name=said, key=b"\x06" * 32))
    receipt = dataclasses.replace(region.receipt(issued), checkpoint=forged)
    evidence = Evidence(licence=region.file(issued, receipt=receipt), trust=region.trust())
    report = verify(evidence, OFFLINE, region.clock.now())
    assert report.reason == "LOG_UNKNOWN"
    assert said not in report.to_json()


def test_an_opening_is_never_read_against_somebody_elses_receipt(region: RegionBuilder) -> None:
    issued, other = region.issue(), region.issue()
    half = LicenceFile(issued.sd_jwt, None, region.receipt(other).to_bytes()).to_bytes()
    evidence = Evidence(
        licence=half,
        trust=region.trust(),
        log_answer=LogAnswer.CONFIRMED,
        opening=issued.opening.to_bytes(),
        receipt=region.receipt(issued).to_bytes(),
    )
    assert verify(evidence, ONLINE, region.clock.now()).reason is None


def test_a_status_list_counts_the_entries_of_every_epoch(region: RegionBuilder) -> None:
    early, late = region.issue(), region.issue()
    token = region.status_token(log_size=late.index)
    region.succeed()
    trust = region.trust(tokens=[token])
    assert_passed(judge(region, region.file(early), trust=trust))
    assert judge(region, region.file(late), trust=trust).code == "STATUS_OLDER_THAN_LICENCE"


def test_a_peer_cannot_issue_in_homes_name(region: RegionBuilder) -> None:
    impostor = RegionBuilder(entropy=SeededEntropy("impostor"))
    with pytest.raises(InvalidArgumentError) as caught:
        TrustSet(home=region.trust().home, peers=[impostor.trust().home])
    assert caught.value.reason == "REGION_DOMAIN"


def test_a_payload_nested_beyond_the_bound_is_refused_before_it_is_shown(
    region: RegionBuilder,
) -> None:
    payload = b'{"a":' + b"[" * 400 + b"]" * 400 + b"}"
    token = sign_compact(region.key, typ=sdjwt.TYP, payload=payload) + "~"
    report = verify(Evidence(licence=token, trust=region.trust()), OFFLINE, region.clock.now())
    assert (report.code, report.reason) == ("FORMAT", "TOO_DEEP")
    assert report.unverified_claims == {}


def test_what_is_no_identifier_is_not_repeated(region: RegionBuilder) -> None:
    said = "350302188503150016"
    issued = region.issue(change=lambda claims: claims.update(ZZBS=said))
    report = judge(region, region.file(issued))
    assert report.code == "IDENTIFIER"
    assert said not in report.to_json()


def test_one_key_may_not_certify_for_two_purposes(region: RegionBuilder) -> None:
    hierarchy = region.hierarchy
    twice = hierarchy.root.issue(
        LICENCE_CA,
        subject=Subject(organisation=ORGANISATION, common_name="licence CA 2"),
        public_key=ES256.load_public(parse_certificate(hierarchy.tls.certificate).spki),
    )
    listed = region.trust_list()
    anchors = dataclasses.replace(listed.anchors, licence=(*listed.anchors.licence, twice))
    with pytest.raises(VerificationError) as caught:
        region.trust(trust_list=dataclasses.replace(listed, anchors=anchors))
    assert caught.value.reason == "KEY_PURPOSE"


def test_an_issuing_ca_does_not_sign_licences_itself(region: RegionBuilder) -> None:
    spki = parse_certificate(region.hierarchy.licences.certificate).spki
    listed = region.trust_list()
    (authority,) = listed.authorities
    own = dataclasses.replace(authority.keys[0], spki=spki)
    changed = dataclasses.replace(authority, keys=(*authority.keys, own))
    with pytest.raises(VerificationError) as caught:
        region.trust(trust_list=dataclasses.replace(listed, authorities=(changed,)))
    assert caught.value.reason == "KEY_PURPOSE"
