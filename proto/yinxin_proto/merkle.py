"""Merkle trees over SHA-256: heads, inclusion, consistency (RFC 6962 §2.1, RFC 9162 §2.1).

A leaf is SHA-256(0x00 ‖ entry), an inner node SHA-256(0x01 ‖ left ‖ right),
and a tree of n leaves splits at the largest power of two below n. Siblings
keep their order: sorting them would let a proof claim another index.

A *node* (level, index) is the root of the perfect subtree over the leaves
[index · 2^level, (index + 1) · 2^level).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError

HASH_SIZE: Final = 32
MAX_TREE_SIZE: Final = (1 << 63) - 1
"""Sizes fit a signed 64-bit column."""
MAX_PROOF_HASHES: Final = 64

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves."""

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of the node (level, index), 32 bytes."""

_ONE_HASH: Final = {HASH_SIZE}


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a tree commits to: so many leaves, and this root."""

    size: int
    """Number of leaves, 0 … 2^63-1."""
    root: bytes
    """Merkle tree hash, 32 bytes. A root of another length equals no computed
    hash, so it fails every proof; `checkpoint` refuses it when parsing."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf hash of the exact bytes logged."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root(entries: Iterable[bytes]) -> bytes:
    """Return the root of the tree over ``entries``, in order."""
    return root_of_hashes(b"".join([leaf_hash(entry) for entry in entries]))


def root_of_hashes(hashes: bytes) -> bytes:
    """Return the root over concatenated sibling hashes, all of one level.

    The last one may instead be the root of a smaller subtree: pairing from
    the left and promoting an odd last node is the split of RFC 6962 §2.1.
    """
    if not hashes:
        return EMPTY_ROOT
    while len(hashes) > HASH_SIZE:
        hashes = parent_hashes(hashes) + (hashes[-HASH_SIZE:] if len(hashes) % 64 else b"")
    return hashes


def parent_hashes(hashes: bytes) -> bytes:
    """Return the concatenated parents of concatenated hashes; an odd last one is left out."""
    return b"".join(
        [
            sha256(b"\x01" + hashes[at : at + 64]).digest()
            for at in range(0, len(hashes) - HASH_SIZE, 64)
        ]
    )


def verify_inclusion(leaf: bytes, index: int, proof: Sequence[bytes], head: TreeHead) -> None:
    """Check that ``leaf`` is at ``index`` of the tree that ``head`` commits to.

    RFC 9162 §2.1.3.2.

    Args:
        leaf: Leaf hash, 32 bytes; see `leaf_hash`.
        index: Zero-based position.
        proof: Audit path from the leaf's sibling up, at most 64 hashes.
        head: A head whose signature the caller has verified.

    Raises:
        MalformedError: A hash is not 32 bytes (``PROOF_HASH_SIZE``), or there are
            more than 64 (``PROOF_TOO_LONG``).
        VerificationError: The index is outside the tree (``INDEX_RANGE``), the
            path has another length (``PROOF_LENGTH``) or leads to another root
            (``ROOT_MISMATCH``).
    """
    _check_hashes(proof)
    if len(leaf) != HASH_SIZE:
        raise MalformedError("inclusion: the leaf hash is not 32 bytes", reason="PROOF_HASH_SIZE")
    size = head.size
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise VerificationError("inclusion: no such index in this tree", reason="INDEX_RANGE")
    # Below ``inner`` the leaf's path and the last leaf's path are apart, so each
    # level has a sibling; above it only left siblings remain.
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        raise VerificationError(
            "inclusion: a path of this length does not fit the index and size",
            reason="PROOF_LENGTH",
        )
    node = leaf
    for sibling in proof[:inner]:
        pair = sibling + node if index & 1 else node + sibling
        node = sha256(b"\x01" + pair).digest()
        index >>= 1
    for sibling in proof[inner:]:
        node = sha256(b"\x01" + sibling + node).digest()
    if node != head.root:
        raise VerificationError("inclusion: the path leads to another root", reason="ROOT_MISMATCH")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """Check that the tree ``new`` extends the tree ``old`` without change.

    RFC 9162 §2.1.4.2. The empty tree is refused even against itself: every
    tree extends it, so such a proof says nothing and a caller who asks is
    about to trust a head that nothing connects to.

    Raises:
        MalformedError: A hash is not 32 bytes (``PROOF_HASH_SIZE``), or there are
            more than 64 (``PROOF_TOO_LONG``).
        VerificationError: ``old`` is empty or larger than ``new`` (``TREE_SIZE``),
            the proof has another length (``PROOF_LENGTH``) or leads to another
            root (``ROOT_MISMATCH``).
    """
    _check_hashes(proof)
    if not 0 < old.size <= new.size <= MAX_TREE_SIZE:
        raise VerificationError(
            "consistency: the older tree is empty or larger", reason="TREE_SIZE"
        )
    if old.size == new.size:
        if proof:
            raise VerificationError(
                "consistency: trees of equal size need no hashes", reason="PROOF_LENGTH"
            )
        _check_roots(old.root == new.root)
        return
    seed, path = _consistency_seed(old, proof)
    # ``low`` and ``high`` are the paths' indexes at the seed's level: RFC 9162's fn and sn.
    shift = _trailing_zeros(old.size)
    low, high = (old.size - 1) >> shift, (new.size - 1) >> shift
    old_root = new_root = seed
    for sibling in path:
        if high == 0:
            raise VerificationError("consistency: too many hashes", reason="PROOF_LENGTH")
        if low & 1 or low == high:
            old_root = node_hash(sibling, old_root)
            new_root = node_hash(sibling, new_root)
            skipped = _trailing_zeros(low)
            low, high = low >> skipped, high >> skipped
        else:
            new_root = node_hash(new_root, sibling)
        low, high = low >> 1, high >> 1
    if high:
        raise VerificationError("consistency: too few hashes", reason="PROOF_LENGTH")
    _check_roots(old_root == old.root and new_root == new.root)


def _consistency_seed(old: TreeHead, proof: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
    """Where both paths start: the old root itself if its tree is perfect."""
    if old.size & (old.size - 1) == 0:
        return old.root, proof
    if not proof:
        raise VerificationError("consistency: too few hashes", reason="PROOF_LENGTH")
    return proof[0], proof[1:]


def _check_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > MAX_PROOF_HASHES:
        raise MalformedError("proof: more than 64 hashes", reason="PROOF_TOO_LONG")
    if proof and set(map(len, proof)) != _ONE_HASH:
        raise MalformedError("proof: a hash is not 32 bytes", reason="PROOF_HASH_SIZE")


def _check_roots(same: bool) -> None:
    if not same:
        raise VerificationError(
            "consistency: the hashes lead to another root", reason="ROOT_MISMATCH"
        )


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def inclusion_proof(index: int, size: int, read_node: NodeReader) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of ``size`` leaves.

    RFC 9162 §2.1.3.1. Every node asked of ``read_node`` lies within the tree.

    Raises:
        InvalidArgumentError: The index is outside the tree (``INDEX_RANGE``).
    """
    return inclusion_proofs([index], size, read_node)[0]


def inclusion_proofs(indexes: Iterable[int], size: int, read_node: NodeReader) -> list[list[bytes]]:
    """Return the audit paths of many leaves of one tree, sharing what they share.

    Raises:
        InvalidArgumentError: An index is outside the tree (``INDEX_RANGE``).
    """
    known: dict[tuple[int, int], bytes] = {}

    def subtree(start: int, end: int) -> bytes:
        found = known.get((start, end))
        if found is None:
            found = known[start, end] = subtree_root(start, end, read_node)
        return found

    proofs = []
    for index in indexes:
        if not 0 <= index < size <= MAX_TREE_SIZE:
            raise InvalidArgumentError("inclusion: no such index", reason="INDEX_RANGE")
        path = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(subtree(middle, end))
                end = middle
            else:
                path.append(subtree(start, middle))
                start = middle
        proofs.append(path[::-1])
    return proofs


def consistency_proof(old: int, new: int, read_node: NodeReader) -> list[bytes]:
    """Return the proof that the tree of ``new`` leaves extends that of ``old``.

    RFC 9162 §2.1.4.1.

    Raises:
        InvalidArgumentError: Not 0 < old ≤ new (``TREE_SIZE``).
    """
    if not 0 < old <= new <= MAX_TREE_SIZE:
        raise InvalidArgumentError(
            "consistency: the older tree is empty or larger", reason="TREE_SIZE"
        )
    path = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree_root(middle, end, read_node))
            end = middle
        else:
            path.append(subtree_root(start, middle, read_node))
            start = middle
    if start:
        # The verifier knows the old root, and no other node of the old tree.
        path.append(subtree_root(start, end, read_node))
    return path[::-1]


def subtree_root(start: int, end: int, read_node: NodeReader) -> bytes:
    """Return the root over leaves [start, end), a subtree of some RFC 6962 tree.

    ``start`` is a multiple of the smallest power of two ≥ ``end - start``.
    """
    peaks = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(read_node(level, start >> level))
        start += 1 << level
    return _fold(peaks)


def _split(count: int) -> int:
    """The largest power of two below ``count``; ``count`` ≥ 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Join perfect subtrees, given from left to right, from the smallest up."""
    folded = peaks[-1]
    for peak in reversed(peaks[:-1]):
        folded = node_hash(peak, folded)
    return folded


class CompactRange:
    """The right edge of a growing tree: enough to append, and to know the root.

    Args:
        size: Leaves so far.
        frontier: Roots of the perfect subtrees that ``size`` splits into, left
            to right: one for each set bit of ``size``, largest first.

    Raises:
        MalformedError: The frontier does not fit the size (``FRONTIER``).
    """

    def __init__(self, *, size: int = 0, frontier: Sequence[bytes] = ()) -> None:
        if not 0 <= size <= MAX_TREE_SIZE or len(frontier) != size.bit_count():
            raise MalformedError("frontier: it does not fit the tree's size", reason="FRONTIER")
        if any(len(peak) != HASH_SIZE for peak in frontier):
            raise MalformedError("frontier: a hash is not 32 bytes", reason="FRONTIER")
        self._size = size
        self._peaks = list(frontier)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    @property
    def frontier(self) -> tuple[bytes, ...]:
        """Roots of the perfect subtrees, largest first."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right."""
        node = leaf
        for _ in range(_trailing_zeros(self._size + 1)):
            node = node_hash(self._peaks.pop(), node)
        self._peaks.append(node)
        self._size += 1

    def head(self) -> TreeHead:
        """Return the head of the tree so far."""
        return TreeHead(self._size, _fold(self._peaks) if self._peaks else EMPTY_ROOT)
