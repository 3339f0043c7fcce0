from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock
from yinxin_proto import checkpoint, cosignature
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.cosignature import CosignatureSigner, CosignatureVerifier
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.note import NoteSigner, NoteVerifier, ed25519_private_key

LINES = st.text(st.characters(codec="utf-8", min_codepoint=0x20), min_size=1, max_size=30)
CHECKPOINTS = st.builds(
    Checkpoint,
    origin=LINES,
    size=st.integers(0, (1 << 63) - 1),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(LINES, max_size=3).map(tuple),
)
ORIGIN = "region.example/log/350300/licences/1"
LOG = NoteSigner(name=ORIGIN, key=b"\x01" * 32)
WITNESS = CosignatureSigner(
    name="witness.example", key=ed25519_private_key(b"\x02" * 32), clock=FixedClock()
)
SIGNED = Checkpoint(origin=ORIGIN, size=9, root=bytes(32)).sign([LOG, WITNESS])


@given(CHECKPOINTS)
def test_every_checkpoint_is_read_back(one: Checkpoint) -> None:
    assert Checkpoint.parse_text(one.to_text()) == one


def is_cosigned(data: bytes) -> bool:
    witnesses = [CosignatureVerifier(WITNESS.vkey)]
    try:
        verified = checkpoint.parse(data).verify(NoteVerifier(LOG.vkey), witnesses)
    except (MalformedError, VerificationError):
        return False
    # A witness whose name was damaged is a stranger: its vote is lost.
    return verified.cosignatures != ()


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_one_flipped_bit_never_passes_as_cosigned(bit: int) -> None:
    damaged = bytearray(SIGNED)
    damaged[bit // 8] ^= 1 << bit % 8
    assert is_cosigned(SIGNED)
    assert not is_cosigned(bytes(damaged))


LINES_OF_ANY_KIND = st.sampled_from(
    ["a", "1", "01", "", "A" * 43 + "=", "A" * 42 + "B=", "\r", "\ud800", "9" * 30]
)


@given(st.text(max_size=60) | st.lists(LINES_OF_ANY_KIND, max_size=6).map("\n".join))
def test_any_text_is_a_checkpoint_or_malformed(text: str) -> None:
    try:
        one = Checkpoint.parse_text(text)
    except MalformedError:
        return
    assert one.to_text() == text


@given(st.binary(max_size=80))
def test_any_bytes_are_a_signed_checkpoint_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        checkpoint.parse(data)


@given(st.binary(max_size=80) | st.binary(min_size=72, max_size=72))
def test_any_bytes_are_a_cosignature_or_malformed(data: bytes) -> None:
    try:
        one = cosignature.read(data)
    except MalformedError:
        return
    assert one.to_bytes() == data
