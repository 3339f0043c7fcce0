from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.merkle import inclusion_proof, root
from yinxin_proto.note import NoteSigner, NoteVerifier
from yinxin_proto.receipt import Receipt

RECEIPTS = st.builds(
    Receipt,
    index=st.integers(0, (1 << 63) - 2),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=64).map(tuple),
    checkpoint=st.binary(max_size=40),
    extra=st.binary(max_size=40),
)
ORIGIN = "region.example/log/350300/licences/1"
LOG = NoteSigner(name=ORIGIN, key=b"\x01" * 32)
ENTRIES = [bytes([number]) * 32 for number in range(11)]


def node(level: int, index: int) -> bytes:
    return root(ENTRIES[index << level : (index + 1) << level])


GOOD = Receipt(
    index=6,
    proof=tuple(inclusion_proof(6, 11, node)),
    checkpoint=Checkpoint(origin=ORIGIN, size=11, root=root(ENTRIES)).sign([LOG]),
).to_bytes()


@given(RECEIPTS)
def test_every_receipt_is_read_back(receipt: Receipt) -> None:
    assert Receipt.parse(receipt.to_bytes()) == receipt


def verify(data: bytes) -> None:
    receipt = Receipt.parse(data)
    receipt.verify(ENTRIES[6], receipt.parse_checkpoint().verify(NoteVerifier(LOG.vkey)))


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_one_flipped_bit_never_verifies(bit: int) -> None:
    damaged = bytearray(GOOD)
    damaged[bit // 8] ^= 1 << bit % 8
    verify(GOOD)
    with pytest.raises((MalformedError, VerificationError)):
        verify(bytes(damaged))


PIECES = st.sampled_from(
    [
        b"c2sp.org/tlog-proof@v1\n", b"extra YQ==\n", b"extra YR==\n", b"index 3\n", b"index 03\n",
        b"A" * 43 + b"=\n", b"A" * 42 + b"B=\n", b"\n", b"\r\n", b"\xff",
    ]
)  # fmt: skip


@given(st.binary(max_size=80) | st.lists(PIECES, max_size=8).map(b"".join))
def test_any_bytes_are_a_receipt_or_malformed(data: bytes) -> None:
    try:
        receipt = Receipt.parse(data)
    except MalformedError:
        return
    assert receipt.to_bytes() == data
