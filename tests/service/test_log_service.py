"""The log over gRPC: what it serves can be checked, and nothing unsigned is served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.running_region import NOBODY, PARENT, RunningRegion, refused, violations
from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import VerifiedCheckpoint
from yinxin_proto.error import InvalidArgumentError, NotFoundError
from yinxin_proto.licence import LicenceFile
from yinxin_proto.merkle import leaf_hash, root, verify_consistency
from yinxin_proto.note import NoteVerifier
from yinxin_proto.receipt import Receipt
from yinxin_proto.tile import bundles_for, decode_bundle, tiles_for
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.log_pb2 import (
    GetCheckpointRequest,
    GetConsistencyProofRequest,
    GetReceiptRequest,
    GetTileRequest,
)
from yinxin_proto.v1.log_pb2_grpc import LogServiceStub

LICENCES = f"{PARENT}/logs/licences"
COUNT = 300
"""More than a tile."""


@pytest.fixture(scope="module")
def full(stored: RunningRegion) -> RunningRegion:
    stored.issue_many(COUNT)
    return stored


@pytest.fixture
def stub(full: RunningRegion) -> Iterator[LogServiceStub]:
    with full.channel(NOBODY) as channel:
        yield LogServiceStub(channel)


def _verified(running: RunningRegion, note: bytes) -> VerifiedCheckpoint:
    key = NoteVerifier(running.region.keyring.log_signer(1).vkey)
    return checkpoint.parse(note).verify(key)


def _head(running: RunningRegion, stub: LogServiceStub) -> VerifiedCheckpoint:
    return _verified(running, stub.GetCheckpoint(GetCheckpointRequest(log=LICENCES)).note)


def test_tiles_and_bundles_lead_to_the_signed_root(
    full: RunningRegion, stub: LogServiceStub
) -> None:
    head = _head(full, stub).head
    entries: list[bytes] = []
    for bundle in bundles_for(head.size):
        content = stub.GetTile(GetTileRequest(log=LICENCES, path=bundle.path)).content
        entries += decode_bundle(content, width=bundle.width)
    hashes = b""
    for tile in tiles_for(head.size):
        content = stub.GetTile(GetTileRequest(log=LICENCES, path=tile.path)).content
        assert len(content) == 32 * tile.width
        if tile.level == 0:
            hashes += content

    assert head.size >= COUNT
    assert root(entries) == head.root
    assert hashes == b"".join(map(leaf_hash, entries))


def test_a_narrower_tile_is_the_beginning_of_a_wider_one(stub: LogServiceStub) -> None:
    wide = stub.GetTile(GetTileRequest(log=LICENCES, path="tile/0/000")).content
    narrow = stub.GetTile(GetTileRequest(log=LICENCES, path="tile/0/000.p/7")).content

    assert narrow == wide[: 7 * 32]


def test_a_receipt_is_had_by_index(full: RunningRegion, stub: LogServiceStub) -> None:
    licence = full.issue()
    file = LicenceFile.parse(licence.licence_file)
    assert file.receipt is not None

    found = Receipt.parse(
        stub.GetReceipt(GetReceiptRequest(log=LICENCES, index=licence.log_index)).receipt
    )

    assert found.index == Receipt.parse(file.receipt).index
    with full.region.storage.read() as conn:
        record = full.region.holding.get(conn, licence.name.rpartition("/")[2])
    found.verify(record.entry, _verified(full, found.checkpoint))


def test_growth_is_proven(full: RunningRegion, stub: LogServiceStub) -> None:
    old = _head(full, stub).head
    full.issue_many(5)
    new = _head(full, stub).head

    proof = stub.GetConsistencyProof(
        GetConsistencyProofRequest(log=LICENCES, old_size=old.size, new_size=new.size)
    ).hashes

    verify_consistency(old, new, proof)


def test_nothing_beyond_the_checkpoint_is_served(full: RunningRegion, stub: LogServiceStub) -> None:
    size = _head(full, stub).head.size
    with refused(NotFoundError):
        stub.GetReceipt(GetReceiptRequest(log=LICENCES, index=size))
    with refused(InvalidArgumentError) as caught:
        stub.GetConsistencyProof(
            GetConsistencyProofRequest(log=LICENCES, old_size=1, new_size=size + 1)
        )
    assert violations(caught[0]) == {"new_size": "SIZE"}
    for path in ("tile/0/009", "tile/3/000", "tile/entries/001.p/255", f"tile/0/001.p/{255}"):
        with refused(NotFoundError):
            stub.GetTile(GetTileRequest(log=LICENCES, path=path))


def test_what_waits_for_its_signature_is_not_served(full: RunningRegion) -> None:
    full.paused.set()
    try:
        with full.channel() as channel:
            stub = LogServiceStub(channel)
            before = _head(full, stub).head.size
            IssuanceServiceStub(channel).IssueLicence(full.issue_message(return_immediately=True))
            assert _head(full, stub).head.size == before
    finally:
        full.paused.clear()


def test_faults_of_a_request_are_named_at_once(stub: LogServiceStub) -> None:
    with refused(InvalidArgumentError) as caught:
        stub.GetTile(GetTileRequest(log=f"{PARENT}/logs/other", path="tile/0/../x"))
    assert violations(caught[0]).keys() == {"log", "path"}
    with refused(InvalidArgumentError) as caught:
        stub.GetConsistencyProof(GetConsistencyProofRequest(log="", old_size=0, new_size=1))
    assert violations(caught[0]).keys() == {"log", "old_size"}


def test_the_log_of_uses_begins_empty(full: RunningRegion, stub: LogServiceStub) -> None:
    note = stub.GetCheckpoint(GetCheckpointRequest(log=f"{PARENT}/logs/uses")).note
    key = NoteVerifier(full.region.keyring.log_signer(2).vkey)

    assert checkpoint.parse(note).verify(key).head.size == 0
