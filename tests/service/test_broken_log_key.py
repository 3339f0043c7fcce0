"""The day that Ed25519 falls: what was logged stands by ML-DSA, and nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.officers import Officers
from support.small_region import SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_proto import checkpoint, merkle
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import ConfigurationError, NotFoundError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.receipt import Receipt
from yinxin_proto.trustlist import TrustList
from yinxin_proto.vkey import SignatureType
from yinxin_trust.ledger import LICENCES, USES, receipt, signed_head
from yinxin_trust.logcosigner import cosigner_ref, cosigners, declare_log_key_broken
from yinxin_trust.pack_export import collect, write_zip
from yinxin_trust.publication import TRUST_TARGET, current_view
from yinxin_trust.record import LicenceRecord
from yinxin_trust.refresh import refresh
from yinxin_trust.region import EXAMPLE
from yinxin_trust.status import StatusSigner
from yinxin_trust.verification import OnlineVerifier, Question
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import PackLoader
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.report import Report


@pytest.fixture(scope="module")
def shared() -> Iterator[SmallRegion]:
    """A region of which nothing is declared."""
    with SmallRegion.found() as region:
        yield region


@pytest.fixture(params=["ES256", "SM2"])
def small(request: pytest.FixtureRequest) -> Iterator[SmallRegion]:
    table = dataclasses.replace(EXAMPLE, suite=request.param)
    with SmallRegion.found(table=table) as region:
        yield region


def file_of(small: SmallRegion, record: LicenceRecord) -> bytes:
    with small.region.storage.read() as conn:
        return record.file(receipt(conn, LICENCES, record.entry))


def online(small: SmallRegion, licence: bytes) -> Report:
    region = small.region
    statuses = StatusSigner(keyring=region.keyring, clock=region.clock)
    verifier = OnlineVerifier(
        storage=region.storage, holding=region.holding, statuses=statuses, clock=region.clock
    )
    return verifier.verify(licence, Question())


def offline(
    small: SmallRegion, licence: bytes, folder: Path, *, pq_root: bytes | None = None
) -> Report:
    refresh(small.region)
    with small.region.storage.read() as conn:
        write_zip(collect(conn, small.clock.now()), folder / "pack.zip")
    loader = PackLoader(trust_first_use=True, pq_root=pq_root)
    pack = loader.load(folder / "pack.zip", small.clock.now())
    return verify(Evidence(licence=licence, trust=pack.trust), OFFLINE, small.clock.now())


def declare_broken(small: SmallRegion, log_number: int = LICENCES) -> None:
    """Say in the trust list that a log's Ed25519 key proves nothing any more."""
    officers = Officers.appoint(small.region)
    with small.region.storage.write() as conn:
        declare_log_key_broken(conn, signed_head(conn, log_number).origin)
        officers.publish(conn)


def published(small: SmallRegion) -> TrustList:
    with small.region.storage.read() as conn:
        return TrustList.parse(current_view(conn, small.clock.now()).target(TRUST_TARGET))


def forge(small: SmallRegion, record: LicenceRecord) -> bytes:
    """Log a licence that the region never logged, by the log's Ed25519 key alone."""
    others = [hashlib.sha256(b"%d" % place).digest() for place in range(600)]
    leaves = [merkle.leaf_hash(record.entry), *others]

    def node(level: int, index: int) -> bytes:
        width = 1 << level
        return merkle.root_of_hashes(b"".join(leaves[index * width : (index + 1) * width]))

    signer = small.region.keyring.log_signer(LICENCES)
    head = TreeHead(len(leaves), merkle.root_of_hashes(b"".join(leaves)))
    note = Checkpoint(origin=signer.vkey.name, size=head.size, root=head.root).sign([signer])
    path = merkle.inclusion_proof(0, head.size, node)
    return record.file(Receipt(index=0, proof=tuple(path), checkpoint=note))


def test_a_founded_region_cosigns_with_ml_dsa_under_its_parallel_root(shared: SmallRegion) -> None:
    listed = published(shared)
    assert listed.anchors.pq_root is not None
    assert all(log.cosigner is not None for log in listed.logs)
    assert not any(log.ed25519_broken for log in listed.logs)
    shared.issue_one()
    shared.region.sequence()
    with shared.region.storage.read() as conn:
        for number in (LICENCES, USES):
            lines = checkpoint.parse(signed_head(conn, number).checkpoint).note.signatures
            assert sorted(len(line.signature) for line in lines) == [64, 2428]
            ref = shared.region.keyring.log_ref(number)
            (beside,) = cosigners(
                conn, shared.region.keyring, ref, lines[0].name, shared.region.clock
            )
            assert beside.vkey.type is SignatureType.ML_DSA_44_COSIGNATURE
    kinds = {info.ref.purpose: info.kind for info in shared.region.keyring.online.list()}
    assert kinds[Purpose.LOG_COSIGNER] == "ML-DSA-44"


def test_licences_outlive_the_logs_ed25519_key(small: SmallRegion, tmp_path: Path) -> None:
    region = small.region
    records = [small.issue_one() for _ in range(3)]
    region.sequence()
    before = [file_of(small, record) for record in records]
    region.sequence()
    refresh(region)
    stolen = small.issue_one()
    forgery = forge(small, stolen)
    # While Ed25519 holds, whoever has the key is the log: nothing tells offline.
    assert offline(small, forgery, tmp_path).exit_status == 0

    small.later(minutes=1)
    declare_broken(small)

    for licence in before:
        for report in (online(small, licence), offline(small, licence, tmp_path)):
            assert report.exit_status == 0, report.text.en
            said = next(check for check in report.checks if check.name == "checkpoint")
            assert "ML-DSA-44" in said.evidence.en
    for report in (online(small, forgery), offline(small, forgery, tmp_path)):
        assert (report.exit_status, report.code) == (1, "LOG_KEY_BROKEN")
        assert "Ed25519" in report.text.zh
    # The region goes on, and what it logs now stands on ML-DSA as well.
    region.sequence()
    after = file_of(small, stolen)
    assert online(small, after).exit_status == 0
    assert offline(small, after, tmp_path).exit_status == 0


def rotate_log_key(small: SmallRegion) -> None:
    """Let the log go on under another key, to the retirement of the one before."""
    rotation = small.region.rotation()
    owner = small.region.keyring.log_ref(LICENCES).owner
    progress = rotation.rotate(owner, Purpose.LOG)
    for _ in range(20):
        if progress.waiting is None:
            return
        small.later(days=1)
        small.region.sequence()
        refresh(small.region)
        rotation.run_due()
        progress = rotation.resume(owner, Purpose.LOG)
    raise AssertionError(progress)


@pytest.mark.parametrize("small", ["ES256"], indirect=True)
def test_every_epoch_is_cosigned_and_may_be_declared_broken(
    small: SmallRegion, tmp_path: Path
) -> None:
    early = small.issue_one()
    small.region.sequence()
    before = file_of(small, early)
    rotate_log_key(small)
    late = small.issue_one()
    small.region.sequence()
    past, now = (log for log in published(small).logs if log.kind == "licences")
    assert past.closed_at is not None
    assert now.is_open
    with small.region.storage.write() as conn:
        declare_log_key_broken(conn, past.origin)
    declare_broken(small)
    assert [log.ed25519_broken for log in published(small).logs].count(True) == 2
    files = (before, file_of(small, early), file_of(small, late))
    for licence in files:
        assert online(small, licence).exit_status == 0
        assert offline(small, licence, tmp_path).exit_status == 0


def test_a_verifier_may_rely_on_the_parallel_root_before_anybody_says_so(
    shared: SmallRegion, tmp_path: Path
) -> None:
    record = shared.issue_one()
    shared.region.sequence()
    honest = file_of(shared, record)
    refresh(shared.region)
    root = published(shared).anchors.pq_root
    forgery = forge(shared, shared.issue_one())
    assert offline(shared, honest, tmp_path, pq_root=root).exit_status == 0
    assert offline(shared, forgery, tmp_path, pq_root=root).code == "LOG_KEY_BROKEN"


def test_a_licence_file_has_room_for_both_signatures(shared: SmallRegion) -> None:
    record = shared.issue_one()
    shared.region.sequence()
    # 2,428 bytes in base64, and the name before them: README states the sum.
    assert 7_500 < len(file_of(shared, record)) < 9_500


def test_what_has_no_cosigner_cannot_be_declared_broken(shared: SmallRegion) -> None:
    with shared.region.storage.write() as conn, pytest.raises(NotFoundError) as caught:
        declare_log_key_broken(conn, "nowhere.example/log/350300/licences/1")
    assert caught.value.reason == "LOG_COSIGNER"


@pytest.mark.parametrize("small", ["ES256"], indirect=True)
def test_a_key_store_with_another_cosigner_signs_nothing(small: SmallRegion) -> None:
    region = small.region
    ref = region.keyring.log_ref(LICENCES)
    region.keyring.online.destroy(cosigner_ref(ref))
    region.keyring.online.generate(
        cosigner_ref(ref), region.foundation.suites.of(Purpose.LOG_COSIGNER)
    )
    with pytest.raises(ConfigurationError) as caught:
        region.sequencer(LICENCES)
    assert caught.value.reason == "COSIGNER_KEY"
