"""Other stolen keys: the log's, the status key, an approval key, an issuing CA's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import SeededEntropy
from support.officers import FIRST
from support.requests import AUTHORITY
from support.small_region import SmallRegion
from support.theft import KEY, Scene, declare, forge_outside, forge_through, propose
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.profile import LICENCE
from yinxin_ca.software import SoftwareKeyStore
from yinxin_ca.subject import Subject
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_proto.certificate import CertificatePurpose, parse, verify_link
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import (
    FailedPreconditionError,
    KeyStoreError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    VerificationError,
)
from yinxin_proto.licence import LicenceFile
from yinxin_proto.merkle import leaf_hash, node_hash
from yinxin_proto.receipt import Receipt
from yinxin_proto.signature import Signer
from yinxin_proto.statuslist import StatusList, StatusToken
from yinxin_proto.suite import ES256
from yinxin_trust.answering import Answering
from yinxin_trust.catheft import CaTheft
from yinxin_trust.certification import (
    IssuingCa,
    get_crl,
    get_crls,
    issuing_cas,
    open_authority,
    tls_anchors,
)
from yinxin_trust.directory import touch
from yinxin_trust.enrolment import PrincipalCertificates
from yinxin_trust.keystage import Stage
from yinxin_trust.ledger import LICENCES, signed_head
from yinxin_trust.logtheft import LogTheft
from yinxin_trust.publication import current_view
from yinxin_trust.refresh import refresh
from yinxin_trust.revocation import publish_revocations, revoke_certificate
from yinxin_trust.roottheft import RootTheft
from yinxin_trust.status import LIFETIME, TTL, status_chain
from yinxin_trust.trustlisting import get_anchors
from yinxin_verifier.certification import Certifier
from yinxin_verifier.report import Indication
from yinxin_verifier.status import StatusVerifier


@pytest.fixture
def scene() -> Iterator[Scene]:
    with SmallRegion.found() as small:
        yield Scene.of(small)


def _origin(scene: Scene) -> str:
    with scene.small.region.storage.read() as conn:
        return signed_head(conn, LICENCES).origin


def _fork(scene: Scene, genuine: bytes) -> bytes:
    """A licence under a checkpoint of another tree, signed with the log's own stolen key."""
    small, region = scene.small, scene.small.region
    forged = forge_through(small.region, small.issue_request(), bytes(32), keep_row=True)
    with region.storage.read() as conn:
        signer = region.keyring.at(conn).log_signer(LICENCES, 1)
    sibling = bytes(32)
    root = node_hash(leaf_hash(forged.entry), sibling)
    note = Checkpoint(origin=signer.vkey.name, size=2, root=root).sign([signer])
    receipt = Receipt(index=0, proof=(sibling,), checkpoint=note)
    assert LicenceFile.parse(genuine).receipt is not None
    return forged.file(receipt)


def test_the_log_goes_on_and_a_fork_under_its_stolen_key_is_refused(
    scene: Scene, tmp_path: Path
) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    before = [scene.file(record) for record in scene.genuine]
    origin = _origin(scene)
    theft = LogTheft(region=region)
    with pytest.raises(FailedPreconditionError) as current:
        theft.operation(origin)
    assert current.value.reason == "LOG_CURRENT"

    theft.succeed(origin)
    fork = _fork(scene, before[0])
    operation, end = theft.operation(origin)
    with pytest.raises(PermissionDeniedError) as alone:
        theft.freeze(origin, [officers.sign(operation, FIRST)])
    assert alone.value.reason == "OPERATION_PERSONS"
    theft.freeze(origin, [officers.sign(operation)])
    assert end.size >= len(before)
    scene.issue(2)
    small.later(minutes=1)

    pack = scene.pack(tmp_path / "pack.zip")
    assert _origin(scene) != origin
    refreshed = [scene.file(record) for record in scene.genuine]
    for presentation in [*before, *refreshed]:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert report.indication is Indication.TOTAL_PASSED, report.code
    for report in (scene.online(fork), scene.offline(pack, fork)):
        assert report.indication is Indication.TOTAL_FAILED, report.code


def test_a_broken_log_key_leaves_what_is_cosigned(scene: Scene, tmp_path: Path) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    before = [scene.file(record) for record in scene.genuine]
    fork = _fork(scene, before[0])
    theft, origin = LogTheft(region=region), _origin(scene)
    theft.declare_broken(origin, [officers.sign(theft.break_operation(origin))])
    region.sequence()
    small.later(minutes=1)

    pack = scene.pack(tmp_path / "pack.zip")
    for presentation in before:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert report.indication is Indication.TOTAL_PASSED, report.code
    # Signed with Ed25519 alone: whoever broke it has not the ML-DSA-44 key.
    for report in (scene.online(fork), scene.offline(pack, fork)):
        assert report.indication is Indication.TOTAL_FAILED, report.code


def test_nobody_is_asked_to_sign_for_a_log_that_is_not_there(scene: Scene) -> None:
    with pytest.raises(NotFoundError) as refused:
        LogTheft(region=scene.small.region).break_operation("putian.example/log/350300/licences/9")
    assert refused.value.reason == "LOG"


def test_tokens_of_a_stolen_status_key_say_nothing_and_new_ones_replace_them(
    scene: Scene, tmp_path: Path
) -> None:
    small, region = scene.small, scene.small.region
    presented = scene.file(scene.genuine[0])
    with region.storage.read() as conn:
        stolen = region.keyring.at(conn).signer(Purpose.STATUS, 1)
        chain = status_chain(conn)
    small.later(minutes=5)
    proposal = propose(region, "region.status.1", ())
    declare(scene.officers, proposal)
    small.later(minutes=1)

    # The thief's token is dated before the theft, and after it; neither is believed.
    trust = scene.trust_list()
    certifier = Certifier(trust_list=trust, purpose=CertificatePurpose.STATUS_SIGNING)
    verifier = StatusVerifier(trust_list=trust, certifier=certifier)
    status = scene.genuine[0].status
    for moment in (small.clock.now(), region.clock.now()):
        token = StatusToken(
            uri=status.uri,
            issued_at=moment,
            expires_at=moment + LIFETIME,
            ttl=TTL,
            log_size=3,
            list=StatusList.filled(),
        ).sign(stolen, chain)
        with pytest.raises(VerificationError) as refused:
            verifier.verify(token)
        assert refused.value.reason == "STATUS_KEY"
    pack = scene.pack(tmp_path / "pack.zip")
    for report in (scene.online(presented), scene.offline(pack, presented)):
        assert report.indication is Indication.TOTAL_PASSED, report.code


def test_a_stolen_approval_key_approves_nothing_more(scene: Scene) -> None:
    """And what it signed is nobody's word when a licence key is judged: a stated limit."""
    small, region = scene.small, scene.small.region
    declare(scene.officers, propose(region, f"{AUTHORITY}.approval.1", ()))
    with pytest.raises(PermissionDeniedError):
        scene.issue(1)
    small.later(minutes=1)
    found = scene.propose(KEY).reconciliation
    assert found is not None
    assert found.reasons() == {"NO_APPROVAL": 3}


def test_licences_outlive_the_authority_that_certified_their_key(
    scene: Scene, tmp_path: Path
) -> None:
    small, region = scene.small, scene.small.region
    before = [scene.file(record) for record in scene.genuine]
    theft = CaTheft(region=region)
    theft.succeed("licence")
    small.later(minutes=1)
    # The thief certifies a key of his own, in the authority's name.
    with region.storage.read() as conn:
        stolen = open_authority(
            "licence",
            anchors=get_anchors(conn),
            keyring=region.keyring.at(conn),
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
            certificate=issuing_cas(conn, "licence")[0].certificate,
        )
    own = ES256.generate()
    der = stolen.issue(
        LICENCE,
        subject=Subject(organisation="虚构局", organisation_code=AUTHORITY),
        public_key=own.public_key,
    )
    small.later(minutes=1)
    theft.revoke("licence")
    scene.issue(1)
    small.later(minutes=1)

    pack = scene.pack(tmp_path / "pack.zip")
    for presentation in [*before, *map(scene.file, scene.genuine)]:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert report.indication is Indication.TOTAL_PASSED, report.code
    forged = forge_outside(before[0], own, issued_at=small.clock.now(), chain=stolen.chain(der))
    for report in (scene.online(forged), scene.offline(pack, forged)):
        assert report.indication is Indication.TOTAL_FAILED
        assert report.code == "KEY_NOT_TRUSTED"


def test_clients_of_a_stolen_tls_ca_are_refused_and_two_officers_withdraw_it(
    scene: Scene,
) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    theft = CaTheft(region=region)
    theft.succeed("tls")
    small.later(minutes=1)
    with pytest.raises(PermissionDeniedError) as refused:
        theft.revoke("tls")
    assert refused.value.reason == "OPERATION_MISSING"
    wanted = theft.operation("tls")
    assert wanted is not None
    theft.revoke("tls", [officers.sign(wanted[0])])
    with region.storage.read() as conn:
        old, new = (ca.certificate for ca in issuing_cas(conn, "tls"))
        assert tls_anchors(conn) == (new,)
    assert old not in scene.trust_list().anchors.tls


def test_licences_outlive_the_root(scene: Scene, tmp_path: Path) -> None:
    small, region, officers = scene.small, scene.small.region, scene.officers
    before = [scene.file(record) for record in scene.genuine]
    old = scene.trust_list().anchors.root
    theft = RootTheft(region=region)
    operation, _ = theft.prepare()
    with pytest.raises(PermissionDeniedError) as alone:
        theft.replace([officers.sign(operation, FIRST)])
    assert alone.value.reason == "OPERATION_PERSONS"
    assert scene.trust_list().anchors.root == old
    small.later(minutes=1)
    # Prepared again, it is the same root.
    assert theft.prepare()[0].parameters == operation.parameters
    theft.replace([officers.sign(operation)])
    scene.issue(1)
    small.later(minutes=1)

    assert scene.trust_list().anchors.root != old
    pack = scene.pack(tmp_path / "pack.zip")
    for presentation in [*before, *map(scene.file, scene.genuine)]:
        for report in (scene.online(presentation), scene.offline(pack, presentation)):
            assert report.indication is Indication.TOTAL_PASSED, report.code


def test_the_root_is_replaced_though_an_authority_has_no_key_and_one_was_revoked(
    scene: Scene,
) -> None:
    region, officers = scene.small.region, scene.officers
    CaTheft(region=region).succeed("seal")
    past, _ = issuing(scene, "seal")
    region.keyring.online.destroy(past.key.ref)
    (member,) = issuing(scene, "member")
    reason = RevocationReason.CESSATION_OF_OPERATION
    revoke_certificate(region, parse(member.certificate).serial_number, reason)

    theft = RootTheft(region=region)
    operation, _ = theft.prepare()
    theft.replace([officers.sign(operation)])

    with region.storage.read() as conn:
        root = parse(get_anchors(conn).root)
        crl = get_crl(conn, "root")
    (again,), cas = issuing(scene, "member"), issuing(scene, "seal")
    for ca in (again, *cas):
        verify_link(parse(ca.certificate), root, ES256, intermediates=1)
    assert crl is not None
    listed = parse_crl(crl).verify(root, suite=ES256)
    assert set(listed.entries) == {parse(again.certificate).serial_number}


def test_what_the_next_root_revokes_is_on_the_roots_list(scene: Scene) -> None:
    region, officers = scene.small.region, scene.officers
    theft = RootTheft(region=region)
    operation, _ = theft.prepare()
    theft.replace([officers.sign(operation)])
    (seal,) = issuing(scene, "seal")
    revoked = revoke_certificate(
        region, parse(seal.certificate).serial_number, RevocationReason.SUPERSEDED
    )
    publish_revocations(region, [revoked.authority])
    with region.storage.read() as conn:
        lists = get_crls(conn)
    assert {name for name in lists if name.startswith("root")} == {"root"}
    assert parse(seal.certificate).serial_number in parse_crl(lists["root"]).content.entries


# --- a token that was carried off, with an authority's key in it ----------------------


def test_a_stolen_token_with_a_past_authority_in_it_stops_nothing_else(scene: Scene) -> None:
    small, region = scene.small, scene.small.region
    theft = CaTheft(region=region)
    theft.succeed("status")
    theft.revoke("status")
    refresh(region)
    stolen, present = issuing(scene, "status")
    region.keyring.online.destroy(stolen.key.ref)
    answering = Answering(region=region, book=InMemoryTimestampBook(entropy=SeededEntropy()))
    # Nothing is said for the stolen one; all others are answered for.
    assert answering.prepare() == ()

    small.later(days=4)
    with pytest.raises(KeyStoreError) as told:
        refresh(region)
    assert told.value.reason == "KEY_NOT_FOUND"
    with region.storage.read() as conn:
        view = current_view(conn, small.clock.now())
        crl = get_crl(conn, present.label)
    assert not view.expired
    online = (view.ages[role] for role in ("timestamp", "snapshot", "status", "crl"))
    assert max(online) < timedelta(minutes=1)
    assert crl is not None
    assert parse_crl(crl).content.this_update >= small.clock.now() - timedelta(minutes=1)

    # On record as gone, it is asked for no more.
    region.rotation().destroy(stolen.key.ref)
    small.later(days=4)
    assert refresh(region) is True


def test_a_tls_authority_whose_key_is_gone_has_a_successor_all_the_same(scene: Scene) -> None:
    region = scene.small.region
    (stolen,) = issuing(scene, "tls")
    region.keyring.online.destroy(stolen.key.ref)

    CaTheft(region=region).succeed("tls")

    _, present = issuing(scene, "tls")
    assert present.key.stage is Stage.ACTIVE
    # Nobody is left who could let the clients of the one before know it.
    assert len(present.key.chain) == 1


def test_a_key_that_is_away_costs_no_successor_its_cross_certificate(scene: Scene) -> None:
    region = scene.small.region
    (present,) = issuing(scene, "tls")

    class Away(SoftwareKeyStore):
        """A token that somebody pulled out for a moment."""

        def signer(self, ref: KeyRef) -> Signer:
            if ref == present.key.ref:
                raise UnavailableError("the token does not answer", reason="TOKEN_GONE")
            return super().signer(ref)

    region.keyring.online.__class__ = Away
    with pytest.raises(UnavailableError):
        region.rotation().prepare(region.namespace.code, Purpose.TLS_CA)


def test_clients_are_revoked_after_the_authority_that_certified_some_was_stolen(
    scene: Scene,
) -> None:
    region, officers = scene.small.region, scene.officers
    uri = region.namespace.principal_uri("issuer-7d")
    (stolen,) = issuing(scene, "tls")
    keys = [ES256.generate().public_key for _ in range(2)]
    chains = [region.registrar.certify_principal("issuer-7d", keys[0])]
    theft = CaTheft(region=region)
    theft.succeed("tls")
    proposal = theft.operation("tls")
    assert proposal is not None
    theft.revoke("tls", [officers.sign(proposal[0])])
    chains.append(region.registrar.certify_principal("issuer-7d", keys[1]))
    region.keyring.online.destroy(stolen.key.ref)

    with region.storage.write() as conn:
        touch(conn)
        certificates = PrincipalCertificates(registrar=region.registrar)
        done = certificates.revoke(conn, "issuer-7d", reason=RevocationReason.KEY_COMPROMISE)

    assert {parse(chain[0]).serial_number for chain in chains} == set(done)
    assert {parse(chain[0]).uris for chain in chains} == {(uri,)}
    for key in keys:
        with pytest.raises(FailedPreconditionError) as refused:
            region.registrar.certify_principal("issuer-7d", key)
        assert refused.value.reason == "KEY_COMPROMISED"


def issuing(scene: Scene, name: str) -> list[IssuingCa]:
    with scene.small.region.storage.read() as conn:
        return issuing_cas(conn, name)
