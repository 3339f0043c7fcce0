"""LogService: checkpoints, tiles, receipts and proofs of the region's logs.

Nothing is served that no signed checkpoint covers: what is seen here can be
held against the region for ever.
"""

from __future__ import annotations

from typing import Final

import grpc
from sqlalchemy import Connection, select

from yinxin_proto.error import IntegrityError, InvalidArgumentError, NotFoundError
from yinxin_proto.merkle import HASH_SIZE
from yinxin_proto.receipt import Receipt as ReceiptText
from yinxin_proto.tile import HEIGHT, TileId, encode_bundle
from yinxin_proto.v1.log_pb2 import (
    Checkpoint,
    ConsistencyProof,
    GetCheckpointRequest,
    GetConsistencyProofRequest,
    GetReceiptRequest,
    GetTileRequest,
    Receipt,
    Tile,
)
from yinxin_proto.v1.log_pb2_grpc import LogServiceServicer
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, USES, read_tile, signed_head, signed_size, tile_reader
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.form import Field
from yinxin_trust.storage import Storage

_LOGS: Final = {"licences": LICENCES, "uses": USES}


class LogServicer(LogServiceServicer):
    """Serves the logs.

    Args:
        admission: Who may call.
        storage: The region's database.
        namespace: The region's names.
    """

    def __init__(self, *, admission: Admission, storage: Storage, namespace: Namespace) -> None:
        self._admission = admission
        self._storage = storage
        self._prefix = f"{namespace.resource}/logs/"

    def GetCheckpoint(
        self, request: GetCheckpointRequest, context: grpc.ServicerContext
    ) -> Checkpoint:
        """Get the newest checkpoint."""
        with self._admission.admit(request.context) as visit:
            log = self._log(visit, request.log)
            visit.form.check()
            with self._storage.read() as conn:
                return Checkpoint(note=signed_head(conn, log.value).checkpoint)

    def GetTile(self, request: GetTileRequest, context: grpc.ServicerContext) -> Tile:
        """Get one tile of hashes, or one bundle of entries."""
        with self._admission.admit(request.context) as visit:
            log = self._log(visit, request.log)
            tile = visit.form.read("path", TileId.parse, request.path)
            visit.form.check()
            with self._storage.read() as conn:
                return Tile(content=_tile(conn, log.value, tile.value))

    def GetReceipt(self, request: GetReceiptRequest, context: grpc.ServicerContext) -> Receipt:
        """Get the receipt of the entry at an index."""
        with self._admission.admit(request.context) as visit:
            log = self._log(visit, request.log)
            visit.form.check()
            with self._storage.read() as conn:
                head = signed_head(conn, log.value)
                if request.index >= head.size:
                    raise NotFoundError(
                        f"the log has {head.size} entries under its newest checkpoint",
                        reason="INDEX",
                    )
                proof = tile_reader(conn, log.value).inclusion_proof(request.index, head.size)
            found = ReceiptText(index=request.index, proof=tuple(proof), checkpoint=head.checkpoint)
            return Receipt(receipt=found.to_bytes())

    def GetConsistencyProof(
        self, request: GetConsistencyProofRequest, context: grpc.ServicerContext
    ) -> ConsistencyProof:
        """Prove that one tree is the beginning of another."""
        with self._admission.admit(request.context) as visit:
            log = self._log(visit, request.log)
            old, new = request.old_size, request.new_size
            if not 1 <= old <= new:
                visit.form.refuse("old_size", "1 ≤ old_size ≤ new_size is expected", "SIZE")
            visit.form.check()
            with self._storage.read() as conn:
                size = signed_size(conn, log.value)
                if new > size:
                    visit.form.refuse("new_size", f"the log has {size} entries", "SIZE")
                    visit.form.check()
                return ConsistencyProof(
                    hashes=tile_reader(conn, log.value).consistency_proof(old, new)
                )

    def _log(self, visit: Visit, name: str) -> Field[int]:
        log = visit.form.read("log", self._parse, name)
        if name.removeprefix(self._prefix) in _LOGS:
            visit.resource(name)
        return log

    def _parse(self, name: str) -> int:
        kind = name.removeprefix(self._prefix)
        if not name.startswith(self._prefix) or kind not in _LOGS:
            raise InvalidArgumentError(
                f"{self._prefix}licences or …/uses is expected", reason="RESOURCE_NAME"
            )
        return _LOGS[kind]


def _tile(conn: Connection, log: int, tile: TileId) -> bytes:
    # The head is read first: everything read after it covers it.
    size = signed_size(conn, log)
    count = size if tile.level is None else size >> (HEIGHT * tile.level)
    first = tile.index << HEIGHT
    if first + tile.width > count:
        raise NotFoundError(
            f"the log has no {tile.path} under its newest checkpoint", reason="TILE"
        )
    if tile.level is None:
        return _bundle(conn, log, first, tile.width)
    return read_tile(conn, log, tile)[: tile.width * HASH_SIZE]


def _bundle(conn: Connection, log: int, first: int, width: int) -> bytes:
    e = schema.log_entry.c
    query = (
        select(e.entry)
        .where(e.log_number == log, e.idx >= first, e.idx < first + width)
        .order_by(e.idx)
    )
    entries = [bytes(entry) for entry in conn.execute(query).scalars()]
    if len(entries) != width:
        raise IntegrityError("the log lacks entries below its head", reason="ENTRY_INDEX")
    return encode_bundle(entries)
