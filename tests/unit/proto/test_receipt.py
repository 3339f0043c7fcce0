from __future__ import annotations

import dataclasses
from base64 import b64encode

import pytest

from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import Checkpoint, VerifiedCheckpoint
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.merkle import inclusion_proof, leaf_hash, root
from yinxin_proto.note import NoteSigner, NoteVerifier
from yinxin_proto.receipt import Receipt

ORIGIN = "region.example/log/350300/licences/1"
LOG = NoteSigner(name=ORIGIN, key=b"\x01" * 32)
ENTRIES = [bytes([number]) * 32 for number in range(11)]
NOTE = Checkpoint(origin=ORIGIN, size=11, root=root(ENTRIES)).sign([LOG])


def nodes(level: int, index: int) -> bytes:
    return root(ENTRIES[index << level : (index + 1) << level])


def receipt(index: int) -> Receipt:
    return Receipt(index=index, proof=tuple(inclusion_proof(index, 11, nodes)), checkpoint=NOTE)


def verified(one: Receipt) -> VerifiedCheckpoint:
    return one.parse_checkpoint().verify(NoteVerifier(LOG.vkey))


def test_the_text_is_that_of_the_specification() -> None:
    one = dataclasses.replace(receipt(10), extra=b"context")
    hashes = "".join(b64encode(sibling).decode() + "\n" for sibling in one.proof)
    expected = f"c2sp.org/tlog-proof@v1\nextra Y29udGV4dA==\nindex 10\n{hashes}\n"
    assert one.to_bytes() == expected.encode() + NOTE


@pytest.mark.parametrize("index", range(11))
def test_every_entry_has_a_receipt_that_holds(index: int) -> None:
    one = Receipt.parse(receipt(index).to_bytes())
    assert one == receipt(index)
    one.verify(ENTRIES[index], verified(one))


def test_the_only_entry_of_a_log_needs_no_hashes() -> None:
    note = Checkpoint(origin=ORIGIN, size=1, root=leaf_hash(b"x")).sign([LOG])
    one = Receipt.parse(Receipt(index=0, proof=(), checkpoint=note).to_bytes())
    one.verify(b"x", verified(one))


def test_a_receipt_is_for_one_entry_alone() -> None:
    one = receipt(4)
    with pytest.raises(VerificationError) as caught:
        one.verify(ENTRIES[5], verified(one))
    assert caught.value.reason == "ROOT_MISMATCH"


def test_a_receipt_cannot_be_moved_to_another_index() -> None:
    with pytest.raises(VerificationError):
        dataclasses.replace(receipt(4), index=5).verify(ENTRIES[4], verified(receipt(4)))


def test_a_forged_checkpoint_is_refused_before_the_path_matters() -> None:
    forged_root = root([b"forged"])
    thief = NoteSigner(name=ORIGIN, key=b"\x02" * 32)
    note = Checkpoint(origin=ORIGIN, size=1, root=forged_root).sign([thief])
    one = Receipt(index=0, proof=(), checkpoint=note)
    with pytest.raises(VerificationError) as caught:
        verified(one)
    assert caught.value.reason == "LOG_SIGNATURE"


def test_a_later_checkpoint_of_another_size_needs_another_path() -> None:
    later_entries = [*ENTRIES, b"twelfth"]
    later = checkpoint.parse(
        Checkpoint(origin=ORIGIN, size=12, root=root(later_entries)).sign([LOG])
    ).verify(NoteVerifier(LOG.vkey))
    with pytest.raises(VerificationError):
        receipt(10).verify(ENTRIES[10], later)


GOOD = receipt(10).to_bytes()
HASH_LINE = b64encode(receipt(10).proof[0]) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD.replace(b"proof@v1", b"proof@v2"),
        GOOD.replace(b"index 10", b"index 010"),
        GOOD.replace(b"index 10", b"index -1"),
        GOOD.replace(b"index 10", b"index 9223372036854775807"),
        GOOD.replace(b"index 10", b"index 99999999999999999999"),
        GOOD.replace(b"index 10\n", b""),
        GOOD.replace(b"index 10\n", b"extra \nindex 10\n"),
        GOOD.replace(b"index 10\n", b"extra YQ=\nindex 10\n"),
        GOOD.replace(b"index 10\n", b"extra YR==\nindex 10\n"),
        GOOD.replace(b"index 10\n", b"index 10\nextra YQ==\n"),
        GOOD.replace(b"index 10\n", b"extra YQ==\nextra YQ==\nindex 10\n"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(HASH_LINE, HASH_LINE[:-2] + b"\n"),
        GOOD.replace(HASH_LINE, b"AAAA\n"),
        GOOD.replace(HASH_LINE, b"A" * 42 + b"B=\n"),
        GOOD.replace(HASH_LINE, HASH_LINE * 66),
        GOOD.replace(b"index 10\n", b"extra " + b64encode(bytes(65_537)) + b"\nindex 10\n"),
    ],
)
def test_what_is_no_receipt_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        Receipt.parse(data)
    assert caught.value.reason in {"RECEIPT", "BASE64"}


def test_an_oversized_receipt_is_refused_unread() -> None:
    with pytest.raises(MalformedError) as caught:
        Receipt.parse(GOOD + b"x" * (1 << 19))
    assert caught.value.reason == "TOO_LARGE"


def test_a_receipt_without_its_checkpoint_cannot_be_verified() -> None:
    one = Receipt.parse(GOOD[: -len(NOTE)])
    with pytest.raises(MalformedError):
        one.parse_checkpoint()


@pytest.mark.parametrize(
    "change",
    [{"index": -1}, {"index": 1 << 63}, {"proof": (b"short",)}, {"proof": (bytes(32),) * 65},
     {"extra": bytes(65_537)}],
)  # fmt: skip
def test_a_field_that_cannot_be_written_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError) as caught:
        dataclasses.replace(receipt(1), **change)  # type: ignore[arg-type]
    assert caught.value.reason == "RECEIPT"
