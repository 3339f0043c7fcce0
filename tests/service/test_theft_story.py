"""A stolen licence-signing key: what was issued stands, what was forged does not."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import delete

from support.officers import FIRST
from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import SmallRegion
from support.theft import (
    KEY,
    HidingIssuer,
    Scene,
    compromise_of,
    declare,
    forge_outside,
    forge_through,
    licence_key,
    propose,
    stolen_signer,
)
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_proto.approvalcopy import ApprovalCopy
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import FailedPreconditionError, PermissionDeniedError, VerificationError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.licence import LicenceFile
from yinxin_proto.ocsp import OcspAnswer, OcspStatus, parse_ocsp
from yinxin_proto.operation import Action
from yinxin_proto.suite import ES256
from yinxin_trust import schema
from yinxin_trust.answering import Answering
from yinxin_trust.certification import get_crl, issuing_cas
from yinxin_trust.compromise import STEPS
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.keystage import Stage
from yinxin_trust.reattestation import Doubt
from yinxin_trust.refresh import refresh
from yinxin_trust.region import EXAMPLE
from yinxin_trust.suspension import Suspension
from yinxin_verifier.report import Indication


@pytest.fixture
def scene() -> Iterator[Scene]:
    with SmallRegion.found() as small:
        yield Scene.of(small)


@pytest.mark.parametrize("suite", ["ES256", "SM2"])
def test_after_a_theft_everything_issued_stands_and_every_forgery_fails(
    suite: str, tmp_path: Path
) -> None:
    with SmallRegion.found(table=replace(EXAMPLE, suite=suite)) as small:
        _tell(Scene.of(small), tmp_path)


def _tell(scene: Scene, tmp_path: Path) -> None:
    small, region = scene.small, scene.small.region
    before = [scene.file(record) for record in scene.genuine]
    old_pack = scene.pack(tmp_path / "old.zip")
    signer = stolen_signer(region, AUTHORITY)
    small.later(hours=3)

    # The thief, through the hijacked service and outside it, between honest issues.
    hidden = forge_through(small.region, small.issue_request(), bytes(32), keep_row=False)
    made_up = forge_through(small.region, small.issue_request(), bytes(range(32)))
    scene.issue(2)
    first = scene.copies[0]
    replayed = forge_through(
        small.region,
        small.issue_request(),
        first.parse_approval().claimed.digest,
        claimed_request=first.digests[0],
    )
    region.sequence()
    through = [scene.file(record) for record in (hidden, made_up, replayed)]
    outside = forge_outside(before[0], signer, issued_at=small.clock.now() - timedelta(hours=2))
    small.later(minutes=1)

    proposal = scene.propose()
    found = proposal.reconciliation
    assert found is not None
    assert found.reasons() == {
        Doubt.UNEXPLAINED: 1,
        Doubt.NO_APPROVAL: 1,
        Doubt.REPLAYED: 1,
    }
    assert (found.entries, found.before, found.reattested) == (7, 3, 2)
    assert found.compared == 5
    assert (found.pin.n_safe, found.pin.n_stop) == (3, 8)
    declare(scene.officers, proposal)
    scene.issue(1)
    small.later(minutes=1)

    pack = scene.pack(tmp_path / "pack.zip")
    refreshed = [scene.file(record) for record in scene.genuine]
    for presentation in [*before, *refreshed]:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert report.indication is Indication.TOTAL_PASSED, report.code
    for presentation, code in [(one, "KEY_COMPROMISED_LATER_ENTRY") for one in through] + [
        (outside, "INCLUSION")
    ]:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert (report.indication, report.code) == (Indication.TOTAL_FAILED, code)
    # Who has not heard of the theft is told by the age of what he has.
    assert any(check.age for check in scene.offline(old_pack, through[1]).checks)


def test_the_thief_cannot_use_the_key_in_the_service_once_it_is_stopped(scene: Scene) -> None:
    small = scene.small
    command = scene.command([small.issue_request()])
    Suspension(registrar=small.region.registrar).stop(KEY)

    with pytest.raises(FailedPreconditionError) as refused:
        small.region.issuance.issue(command)
    assert refused.value.reason == "NO_ACTIVE_KEY"


def test_what_was_signed_just_before_the_stop_is_not_stored_after_it(scene: Scene) -> None:
    small = scene.small
    with small.region.storage.read() as conn:
        snapshot = small.region.directory.snapshot(conn)
    # A call that looked up the key before it was stopped, and commits after.
    command = scene.command([small.issue_request()])
    late = IssueCommand(
        command.caller,
        command.context,
        command.request_id,
        command.requests,
        command.approval,
        snapshot=snapshot,
    )
    Suspension(registrar=small.region.registrar).stop(KEY)

    with pytest.raises(FailedPreconditionError) as refused:
        small.region.issuance.issue(late)
    assert refused.value.reason == "NO_ACTIVE_KEY"


def test_each_way_to_hide_a_forgery_is_held_against_the_key(scene: Scene) -> None:
    small = scene.small
    # A true approval, used for a licence that says something else.
    scene.command([small.issue_request()])
    copy = scene.copies[-1]
    forge_through(
        small.region,
        small.issue_request(fields={"KZ_JYCS": "虚构路 99 号"}),
        copy.parse_approval().claimed.digest,
        claimed_request=copy.digests[0],
    )
    # An approval signed by another authority, kept among this one's copies.
    requests = [small.issue_request()]
    foreign = ApprovalCopy.of(small.approve(requests, code=OTHER_AUTHORITY), tuple(requests))
    forge_through(small.region, requests[0], foreign.parse_approval().claimed.digest)
    scene.copies.append(foreign)
    # An entry whose row was removed again.
    removed = forge_through(small.region, small.issue_request(), bytes(32))
    small.region.sequence()
    with small.region.storage.write() as conn:
        conn.execute(delete(schema.licence).where(schema.licence.c.entry == removed.entry))

    found = scene.propose().reconciliation
    assert found is not None
    assert found.reasons() == {Doubt.CONTENT: 1, Doubt.NO_APPROVAL: 1, Doubt.UNEXPLAINED: 1}


@pytest.mark.parametrize("path", ["holder", "field", "name", "issuer"])
def test_a_licence_that_says_or_hides_what_was_not_requested_does_not_reconcile(
    scene: Scene, path: str
) -> None:
    """Its row says word for word what was approved; somebody holds one disclosure more.

    Or it says so under the name of a better type, or of a higher authority.
    """
    small, region = scene.small, scene.small.region
    signer = stolen_signer(region, AUTHORITY)
    chain = licence_key(region, AUTHORITY).chain
    hiding = HidingIssuer(signer, {"x5c": list(chain)}, path)
    scene.command([small.issue_request()])
    copy = scene.copies[-1]
    assert copy.requests is not None
    record = forge_through(
        region,
        copy.requests[0],
        copy.parse_approval().claimed.digest,
        backdated=timedelta(0),
        hiding=hiding,
    )
    region.sequence()
    file = LicenceFile.parse(scene.file(record))
    shown = LicenceFile(
        "~".join([file.sd_jwt.removesuffix("~"), *hiding.hidden[:1], ""]),
        file.opening,
        file.receipt,
    ).to_bytes()
    assert scene.online(shown).indication is Indication.TOTAL_PASSED

    proposal = scene.propose()
    assert proposal.reconciliation is not None
    assert proposal.reconciliation.reasons() == {Doubt.CONTENT: 1}
    declare(scene.officers, proposal)
    small.later(minutes=1)
    assert scene.online(shown).code == "KEY_COMPROMISED_LATER_ENTRY"
    for genuine in scene.genuine:
        assert scene.online(scene.file(genuine)).indication is Indication.TOTAL_PASSED


def test_what_one_key_has_used_a_stolen_one_cannot_use_again(scene: Scene) -> None:
    """The thief of the second key issues once more what was approved under the first."""
    small, region = scene.small, scene.small.region
    declare(scene.officers, scene.propose())
    small.later(minutes=1)
    scene.issue(1)
    first = scene.copies[0]
    assert first.requests is not None
    again = forge_through(
        region,
        first.requests[0],
        first.parse_approval().claimed.digest,
        backdated=timedelta(0),
        again=True,
    )
    region.sequence()
    small.later(minutes=1)
    assert scene.online(scene.file(again)).indication is Indication.TOTAL_PASSED

    proposal = scene.propose(f"{AUTHORITY}.licence.2")
    assert proposal.reconciliation is not None
    assert proposal.reconciliation.reasons() == {Doubt.REPLAYED: 1}
    declare(scene.officers, proposal)
    small.later(minutes=1)
    assert scene.online(scene.file(again)).code == "KEY_COMPROMISED_LATER_ENTRY"
    for genuine in scene.genuine:
        assert scene.online(scene.file(genuine)).indication is Indication.TOTAL_PASSED


def test_better_evidence_only_takes_away(scene: Scene) -> None:
    small, region = scene.small, scene.small.region
    declare(scene.officers, scene.propose())
    pinned = licence_key(region, AUTHORITY).record.pin
    assert pinned is not None
    assert pinned.n_safe == pinned.n_stop == 3

    # It turns out that the authority never gave the approval of the first batch.
    scene.copies.clear()
    proposal = scene.propose()
    assert proposal.record.pin is not None
    assert (proposal.record.pin.n_safe, proposal.record.pin.n_stop) == (0, 3)
    small.later(minutes=1)
    declare(scene.officers, proposal)

    lowered = licence_key(region, AUTHORITY).record.pin
    assert lowered is not None
    assert lowered.n_safe == 0
    assert small.region.directory is region.directory


def test_issuing_goes_on_under_a_new_key_and_the_old_certificate_is_revoked(scene: Scene) -> None:
    region = scene.small.region
    old = licence_key(region, AUTHORITY)
    declare(scene.officers, scene.propose())

    new = licence_key(region, AUTHORITY, 2)
    (made,) = scene.issue(1)
    assert scene.online(scene.file(made)).indication is Indication.TOTAL_PASSED
    assert new.record.state is KeyState.ACTIVE
    found = scene.trust_list().find_key(old.thumbprint)
    assert found is not None
    assert found[1].state is KeyState.COMPROMISED
    with region.storage.read() as conn:
        crl = get_crl(conn, "licence")
    assert crl is not None
    reasons = [one.reason for one in parse_crl(crl).content.entries.values()]
    assert reasons == [RevocationReason.KEY_COMPROMISE]


def test_ocsp_says_that_the_key_was_compromised(scene: Scene) -> None:
    region = scene.small.region
    old = licence_key(region, AUTHORITY)
    leaf, issuer = (parse(base64.b64decode(der)) for der in old.chain[:2])
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(
            x509.load_der_x509_certificate(leaf.der),
            x509.load_der_x509_certificate(issuer.der),
            hashes.SHA256(),
        )
        .build()
        .public_bytes(Encoding.DER)
    )
    book = InMemoryTimestampBook(entropy=region.entropy)
    responder = Answering(region=region, book=book).responder

    def answer() -> OcspAnswer:
        at = region.clock.now()
        return parse_ocsp(responder.answer(asked).der).verify(leaf, issuer, suite=ES256, at=at)

    assert answer().status is OcspStatus.GOOD
    declare(scene.officers, scene.propose())
    scene.small.later(minutes=1)

    said = answer()
    assert said.status is OcspStatus.REVOKED
    assert said.reason is RevocationReason.KEY_COMPROMISE


def test_a_key_turns_out_stolen_after_its_authority_was_destroyed(
    scene: Scene, tmp_path: Path
) -> None:
    small, region = scene.small, scene.small.region
    presented = scene.file(scene.genuine[0])
    stolen = stolen_signer(region, AUTHORITY)
    rotation = region.rotation()
    for owner, purpose in (
        (region.namespace.code, Purpose.LICENCE_CA),
        (AUTHORITY, Purpose.LICENCE),
        (OTHER_AUTHORITY, Purpose.LICENCE),
    ):
        progress = rotation.rotate(owner, purpose)
        while progress.waiting is not None:
            small.later(days=1)
            region.sequence()
            refresh(region)
            progress = rotation.resume(owner, purpose)
    for _ in range(2):
        small.later(days=31)
        refresh(region)
        rotation.run_due()
    with region.storage.read() as conn:
        assert issuing_cas(conn, "licence")[0].key.stage is Stage.DESTROYED

    declare(scene.officers, propose(region, KEY, scene.copies))
    small.later(minutes=1)

    backdated = small.clock.now() - timedelta(days=90)
    forged = forge_outside(presented, stolen, issued_at=backdated)
    pack = scene.pack(tmp_path / "pack.zip")
    for good in (presented, scene.file(scene.genuine[0])):
        for report in (scene.online(good), scene.offline(pack, good)):
            assert report.indication is Indication.TOTAL_PASSED, report.code
    for report in (scene.online(forged), scene.offline(pack, forged)):
        assert report.indication is Indication.TOTAL_FAILED, report.code


def test_nothing_is_published_that_two_officers_did_not_sign(scene: Scene) -> None:
    region, officers = scene.small.region, scene.officers
    proposal = scene.propose()
    operation = proposal.operation(region.registrar)
    other = officers.operation(Action.COMPROMISE_KEY, operation.target)
    before = scene.trust_list()
    work = compromise_of(region)
    for signed, code in (
        ((), "OPERATION_MISSING"),
        ((officers.sign(operation, FIRST),), "OPERATION_PERSONS"),
        ((officers.sign(operation, FIRST, FIRST),), "OFFICER_TWICE"),
        ((officers.sign(other),), "OPERATION_TARGET"),
    ):
        with pytest.raises(PermissionDeniedError) as refused:
            work.carry_out(proposal.record, signed)
        assert refused.value.reason == code
    assert scene.trust_list() == before
    # Nothing was made for it either.
    names = [str(info.ref) for info in region.keyring.online.list()]
    assert f"{AUTHORITY}.licence.2" not in names


class CrashError(Exception):
    """The process ends here."""


def _crash_at(step: str) -> Callable[[str], None]:
    def done(name: str) -> None:
        if name == step:
            raise CrashError

    return done


def test_a_crash_at_any_step_publishes_nothing_by_halves_and_is_gone_on_from(
    scene: Scene,
) -> None:
    """One attempt after the other, each cut short a step later, on what the last one left."""
    region = scene.small.region
    proposal = scene.propose()
    signed = scene.officers.sign(proposal.operation(region.registrar))
    work = compromise_of(region)
    before = {key.thumbprint for _, key in scene.trust_list().owned_keys()}
    for step in STEPS:
        with pytest.raises(CrashError):
            work.carry_out(proposal.record, [signed], done=_crash_at(step))
        listed = scene.trust_list()
        found = listed.find_key(proposal.record.thumbprint)
        assert found is not None
        is_done = step == "published"
        assert found[1].state is (KeyState.COMPROMISED if is_done else KeyState.ACTIVE)
        # No key is named before all of it is.
        published = {key.thumbprint for _, key in listed.owned_keys()}
        assert len(published - before) == is_done
        scene.small.later(minutes=1)

    work.carry_out(proposal.record, [signed])

    assert licence_key(region, AUTHORITY).record == proposal.record
    successor = region.keyring.online.signer(KeyRef(AUTHORITY, Purpose.LICENCE, 2))
    after = {key.thumbprint for _, key in scene.trust_list().owned_keys()}
    assert after == before | {successor.public_key.thumbprint}
    # However often it was begun, one key came of it.
    names = [info.ref for info in region.keyring.online.list()]
    assert sum(ref.owner == AUTHORITY for ref in names) == 2
    assert scene.issue(1)


def test_a_crash_between_signing_and_storing_is_gone_on_from(scene: Scene) -> None:
    """The signer has recorded the operation; the database has not got the list."""
    region = scene.small.region
    proposal = scene.propose()
    signed = scene.officers.sign(proposal.operation(region.registrar))
    work = compromise_of(region)

    def crash() -> None:
        key = licence_key(region, AUTHORITY)
        with region.storage.write() as conn:
            work._publish(conn, key, proposal.record, None, [signed])
            raise CrashError

    with pytest.raises(CrashError):
        crash()
    assert licence_key(region, AUTHORITY).record.state is KeyState.ACTIVE

    scene.small.later(minutes=1)
    work.carry_out(proposal.record, [signed])
    assert licence_key(region, AUTHORITY).record == proposal.record


def test_a_suspended_key_is_resumed_by_two(scene: Scene) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    target = licence_key(region, AUTHORITY).thumbprint.hex()
    suspension = Suspension(registrar=region.registrar)
    one = officers.sign(officers.operation(Action.SUSPEND_KEY, target), FIRST)
    suspension.suspend(KEY, [one])
    presented = scene.file(scene.genuine[0])
    assert scene.online(presented).code == "KEY_SUSPENDED"

    alone = officers.sign(officers.operation(Action.RESUME_KEY, target), FIRST)
    with pytest.raises(PermissionDeniedError) as refused:
        suspension.resume(KEY, [alone])
    assert refused.value.reason == "OPERATION_PERSONS"
    small.later(minutes=1)
    suspension.resume(KEY, [officers.sign(officers.operation(Action.RESUME_KEY, target))])

    assert scene.online(presented).indication is Indication.TOTAL_PASSED
    assert scene.issue(1)
    with pytest.raises(PermissionDeniedError) as refused:
        suspension.suspend(KEY, [one])
    assert refused.value.reason == "NONCE_USED"


def test_a_key_that_was_stopped_and_not_suspended_is_started_again_by_two(scene: Scene) -> None:
    region, officers = scene.small.region, scene.officers
    target = licence_key(region, AUTHORITY).thumbprint.hex()
    suspension = Suspension(registrar=region.registrar)
    suspended = officers.sign(officers.operation(Action.SUSPEND_KEY, target), FIRST)
    suspension.suspend(KEY, [suspended])
    scene.small.later(minutes=1)
    resumed = officers.sign(officers.operation(Action.RESUME_KEY, target))
    suspension.resume(KEY, [resumed])

    scene.small.later(minutes=1)
    suspension.stop(KEY)
    alone = officers.sign(officers.operation(Action.RESUME_KEY, target), FIRST)
    # Nobody, one, or what was carried out before.
    for operations in ([], [alone], [suspended], [resumed], [suspended, resumed]):
        with pytest.raises(PermissionDeniedError):
            suspension.resume(KEY, operations)
        assert licence_key(region, AUTHORITY).stopped_ms is not None

    again = officers.sign(officers.operation(Action.RESUME_KEY, target))
    suspension.resume(KEY, [again])
    assert scene.issue(1)
    suspension.stop(KEY)
    with pytest.raises(PermissionDeniedError) as refused:
        suspension.resume(KEY, [again])
    assert refused.value.reason == "NONCE_USED"


def test_an_operation_used_before_opens_no_step_of_a_compromise(scene: Scene) -> None:
    region, officers = scene.small.region, scene.officers
    target = licence_key(region, AUTHORITY).thumbprint.hex()
    suspended = officers.sign(officers.operation(Action.SUSPEND_KEY, target), FIRST)
    Suspension(registrar=region.registrar).suspend(KEY, [suspended])
    scene.small.later(minutes=1)
    proposal = scene.propose()

    with pytest.raises(PermissionDeniedError) as refused:
        compromise_of(region).carry_out(proposal.record, [suspended])
    assert refused.value.reason == "OPERATION_MISSING"
    # Nothing was made or revoked on that one signature.
    names = [str(info.ref) for info in region.keyring.online.list()]
    assert f"{AUTHORITY}.licence.2" not in names
    chain = x5c_chain({"x5c": list(licence_key(region, AUTHORITY).chain)})
    with region.storage.read() as conn:
        found = region.registrar.registers("licence").find(parse(chain[0]).serial_number)
        assert get_crl(conn, "licence") is not None
    assert found is not None
    assert found.revoked_at is None


def test_an_operation_is_carried_out_in_its_time_or_not_at_all(scene: Scene) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    proposal = scene.propose()
    signed = officers.sign(proposal.operation(region.registrar))
    work = compromise_of(region)
    small.later(days=2)
    with pytest.raises(VerificationError) as late:
        work.carry_out(proposal.record, [signed])
    assert late.value.reason == "OPERATION_EXPIRED"
    small.later(days=-3)
    with pytest.raises((VerificationError, FailedPreconditionError)) as early:
        work.carry_out(proposal.record, [signed])
    assert early.value.reason in ("OPERATION_FUTURE", "CLOCK_BACK")
