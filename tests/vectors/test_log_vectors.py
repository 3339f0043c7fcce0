"""Our own vectors of the log's formats, regenerated from fixed keys and compared.

Leaves are permanent and receipts are kept for decades: a difference here is a
break of the format, never a vector to update. To write the file for a new
format: ``python tests/vectors/test_log_vectors.py > tests/vectors/log.json``.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.cosignature import CosignatureSigner, CosignatureVerifier, subtree_message
from yinxin_proto.leaf import (
    KeyEventLeaf,
    LicenceLeaf,
    Opening,
    StatusChangeLeaf,
    evidence_hash,
)
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead, verify_consistency
from yinxin_proto.note import NoteSigner, NoteVerifier, ed25519_private_key
from yinxin_proto.receipt import Receipt
from yinxin_proto.tile import TileReader, append

FILE: Final = Path(__file__).with_name("log.json")
ORIGIN: Final = "region.example/log/350300/licences/1"
IDENTIFIER: Final = "1.2.156.3005.2.11100000000013338W011.11350300MB0000000X.ABCDEFGH.001.Q"
"""Of an invented authority."""
STATUS_URI: Final = "https://region.example/status/7"
ISSUER_JWT: Final = b"eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"
SIZE: Final = 300
OLD_SIZE: Final = 259
INDEX: Final = 258
TIME: Final = 1_767_225_600


class AtTime:
    def now(self) -> datetime:
        return datetime.fromtimestamp(TIME, UTC)


LOG: Final = NoteSigner(name=ORIGIN, key=bytes(range(32)))
WITNESS: Final = CosignatureSigner(
    name="witness.example/1", key=ed25519_private_key(bytes(range(32, 64))), clock=AtTime()
)


def digest(label: str) -> bytes:
    return sha256(label.encode()).digest()


OPENING: Final = Opening(
    approval=digest("approval"),
    evidence=evidence_hash([b"leaf certificate", b"issuing CA"], b"revocation list"),
    request=digest("request"),
    salt=digest("salt"),
)
LICENCE: Final = LicenceLeaf(
    issuer_jwt_hash=sha256(ISSUER_JWT).digest(),
    key_spki_hash=digest("key"),
    identifier=IDENTIFIER,
    status_uri=STATUS_URI,
    status_idx=131_071,
    approval_hash=OPENING.approval,
    evidence_hash=OPENING.evidence,
    request_hash=OPENING.request,
)
BARE_LICENCE: Final = LicenceLeaf(
    issuer_jwt_hash=sha256(ISSUER_JWT).digest(),
    key_spki_hash=digest("key"),
    identifier=IDENTIFIER,
    status_uri=None,
    status_idx=None,
    approval_hash=None,
    evidence_hash=None,
    request_hash=None,
)
STATUS_CHANGE: Final = StatusChangeLeaf(
    identifier=IDENTIFIER,
    from_state="VALID",
    to_state="SUSPENDED",
    operation="SUSPEND",
    reason_code="INVESTIGATION",
    effective_time=TIME,
    operator_certificate_hash=digest("operator"),
    approval_hash=digest("approval"),
    prior_index=INDEX,
)
KEY_EVENT: Final = KeyEventLeaf(
    key_spki_hash=digest("key"),
    purpose="licence",
    event="COMPROMISED",
    effective_time=TIME,
    trust_list_version=2,
    evidence_hash=digest("evidence"),
)


def log_entries() -> list[bytes]:
    entries = [digest(f"entry {index}") for index in range(SIZE)]
    entries[INDEX] = LICENCE.entry(OPENING.salt)
    return entries


def leaves() -> dict[str, str]:
    salt = OPENING.salt
    return {
        "opening": OPENING.to_bytes().decode(),
        "licence": LICENCE.entry(salt).hex(),
        "licence_without_optional_fields": BARE_LICENCE.entry(salt).hex(),
        "status_change": STATUS_CHANGE.entry(salt).hex(),
        "key_event": KEY_EVENT.entry(salt).hex(),
    }


def build() -> dict[str, Any]:
    """Make every vector anew."""
    written = append(TreeHead(0, EMPTY_ROOT), log_entries(), lambda _: b"")
    stored = {(tile.level, tile.index): data for tile, data in written.tiles.items()}
    reader = TileReader(lambda tile: stored[tile.level, tile.index])
    head = Checkpoint(origin=ORIGIN, size=SIZE, root=written.head.root)
    signed = head.sign([LOG, WITNESS])
    proof = reader.inclusion_proof(INDEX, SIZE)
    receipt = Receipt(index=INDEX, proof=tuple(proof), checkpoint=signed, extra=b"context")
    message = subtree_message(
        cosigner="witness.example/1",
        time=TIME,
        origin=ORIGIN,
        start=0,
        end=SIZE,
        root=head.root,
    )
    return {
        "leaves": leaves(),
        "tiles": {tile.path: sha256(data).hexdigest() for tile, data in written.tiles.items()},
        "empty_root": EMPTY_ROOT.hex(),
        "old_root": reader.root(OLD_SIZE).hex(),
        "root": head.root.hex(),
        "consistency": [node.hex() for node in reader.consistency_proof(OLD_SIZE, SIZE)],
        "log_vkey": LOG.vkey.to_text(),
        "witness_vkey": WITNESS.vkey.to_text(),
        "receipt": receipt.to_bytes().decode(),
        "ml_dsa_44_message": message.hex(),
    }


def test_the_log_formats_are_what_they_were() -> None:
    assert build() == json.loads(FILE.read_bytes())


def test_what_was_written_then_still_verifies() -> None:
    kept = json.loads(FILE.read_bytes())
    receipt = Receipt.parse(kept["receipt"].encode())
    verified = receipt.parse_checkpoint().verify(
        NoteVerifier(kept["log_vkey"]), [CosignatureVerifier(kept["witness_vkey"])]
    )
    assert len(verified.cosignatures) == 1
    opening = Opening.parse(kept["leaves"]["opening"].encode())
    entry = opening.licence_entry(ISSUER_JWT, digest("key"), IDENTIFIER, STATUS_URI, 131_071)
    receipt.verify(entry, verified)
    old = TreeHead(OLD_SIZE, bytes.fromhex(kept["old_root"]))
    verify_consistency(old, verified.head, [bytes.fromhex(node) for node in kept["consistency"]])


if __name__ == "__main__":
    json.dump(build(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
