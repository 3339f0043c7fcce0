"""The tree against RFC 6962's own recursive definition, and against flipped bits."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.merkle import (
    CompactRange,
    TreeHead,
    consistency_proof,
    inclusion_proofs,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

ENTRIES = st.lists(st.binary(max_size=8), min_size=1, max_size=70)
HASHES = st.lists(st.binary(max_size=40), max_size=70)


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = naive_root(entries[:split]), naive_root(entries[split:])
    return sha256(b"\x01" + left + right).digest()


def naive_path(index: int, entries: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word for word."""
    if len(entries) == 1:
        return []
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if index < split:
        return [*naive_path(index, entries[:split]), naive_root(entries[split:])]
    return [*naive_path(index - split, entries[split:]), naive_root(entries[:split])]


def naive_subproof(old: int, entries: list[bytes], known: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2, word for word."""
    if old == len(entries):
        return [] if known else [naive_root(entries)]
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if old <= split:
        return [*naive_subproof(old, entries[:split], known), naive_root(entries[split:])]
    return [*naive_subproof(old - split, entries[split:], False), naive_root(entries[:split])]


@given(ENTRIES)
def test_root_and_proofs_equal_the_recursive_definition(entries: list[bytes]) -> None:
    def node(level: int, index: int) -> bytes:
        return naive_root(entries[index << level : (index + 1) << level])

    size = len(entries)
    assert root(entries) == naive_root(entries)
    expected = [naive_path(index, entries) for index in range(size)]
    assert inclusion_proofs(range(size), size, node) == expected
    for old in range(1, size + 1):
        assert consistency_proof(old, size, node) == naive_subproof(old, entries)


@given(ENTRIES)
def test_a_compact_range_reaches_the_same_root(entries: list[bytes]) -> None:
    growing = CompactRange()
    for entry in entries:
        growing.append(leaf_hash(entry))
    assert growing.head() == TreeHead(len(entries), naive_root(entries))


@given(ENTRIES, st.data())
def test_one_flipped_bit_of_an_inclusion_proof_never_verifies(
    entries: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(entries) - 1))
    parts = [leaf_hash(entries[index]), naive_root(entries), *naive_path(index, entries)]
    verify_inclusion(parts[0], index, parts[2:], TreeHead(len(entries), parts[1]))
    flip(parts, data)
    with pytest.raises(VerificationError):
        verify_inclusion(parts[0], index, parts[2:], TreeHead(len(entries), parts[1]))


@given(ENTRIES, st.data())
def test_one_flipped_bit_of_a_consistency_proof_never_verifies(
    entries: list[bytes], data: st.DataObject
) -> None:
    old, new = data.draw(st.integers(1, len(entries))), len(entries)
    parts = [naive_root(entries[:old]), naive_root(entries), *naive_subproof(old, entries)]
    verify_consistency(TreeHead(old, parts[0]), TreeHead(new, parts[1]), parts[2:])
    flip(parts, data)
    with pytest.raises(VerificationError):
        verify_consistency(TreeHead(old, parts[0]), TreeHead(new, parts[1]), parts[2:])


def flip(parts: list[bytes], data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    number = int.from_bytes(parts[chosen], "big") ^ (1 << bit)
    parts[chosen] = number.to_bytes(32, "big")


@given(st.binary(max_size=40), st.integers(), HASHES, st.integers(), st.binary(max_size=40))
def test_arbitrary_inclusion_proofs_raise_only_typed_errors(
    leaf: bytes, index: int, proof: list[bytes], size: int, claimed: bytes
) -> None:
    with pytest.raises((MalformedError, VerificationError)):
        verify_inclusion(leaf, index, proof, TreeHead(size, claimed + b"never a root"))


@given(st.integers(), st.integers(), HASHES)
def test_arbitrary_consistency_proofs_raise_only_typed_errors(
    old: int, new: int, proof: list[bytes]
) -> None:
    with pytest.raises((MalformedError, VerificationError)):
        verify_consistency(TreeHead(old, b"one"), TreeHead(new, b"other"), proof)
