from __future__ import annotations

from hashlib import sha256

import pytest

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.merkle import (
    EMPTY_ROOT,
    CompactRange,
    TreeHead,
    consistency_proof,
    inclusion_proof,
    inclusion_proofs,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)


def entries(count: int) -> list[bytes]:
    return [sha256(number.to_bytes(4, "big")).digest() for number in range(count)]


def head(count: int) -> TreeHead:
    return TreeHead(count, root(entries(count)))


class Nodes:
    """Every node by definition; remembers which were asked for."""

    def __init__(self, count: int) -> None:
        self._entries = entries(count)
        self.asked: list[tuple[int, int]] = []

    def __call__(self, level: int, index: int) -> bytes:
        self.asked.append((level, index))
        end = (index + 1) << level
        assert end <= len(self._entries), "a node that is not complete was asked for"
        return root(self._entries[index << level : end])


def test_the_empty_tree_hashes_nothing() -> None:
    assert root([]) == EMPTY_ROOT == sha256(b"").digest()


def test_leaves_and_nodes_live_in_separate_domains() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert root([b"a", b"b"]) == node_hash(left, right)
    assert leaf_hash(left + right) != node_hash(left, right)


def test_the_tree_splits_at_the_largest_power_of_two_below_its_size() -> None:
    a, b, c = (leaf_hash(entry) for entry in (b"a", b"b", b"c"))
    assert root([b"a", b"b", b"c"]) == node_hash(node_hash(a, b), c)


def test_inclusion_of_every_leaf_of_every_small_tree() -> None:
    for size in range(1, 34):
        nodes = Nodes(size)
        for index, proof in enumerate(inclusion_proofs(range(size), size, nodes)):
            verify_inclusion(leaf_hash(entries(size)[index]), index, proof, head(size))


def test_many_proofs_of_one_tree_read_each_node_once() -> None:
    nodes = Nodes(100)
    inclusion_proofs(range(100), 100, nodes)
    assert len(nodes.asked) < 2 * 100 + 10


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31])
def test_a_proof_for_another_index_is_refused(size: int) -> None:
    proof = inclusion_proof(0, size, Nodes(size))
    leaf = leaf_hash(entries(size)[0])
    for index in [-1, *range(1, size + 2), 1 << 70]:
        with pytest.raises(VerificationError) as caught:
            verify_inclusion(leaf, index, proof, head(size))
        assert caught.value.reason in {"INDEX_RANGE", "PROOF_LENGTH", "ROOT_MISMATCH"}


def test_an_inner_node_cannot_pass_as_a_leaf() -> None:
    proof = inclusion_proof(0, 4, Nodes(4))
    inner = node_hash(leaf_hash(entries(4)[0]), proof[0])
    with pytest.raises(VerificationError, match="length"):
        verify_inclusion(inner, 0, proof[1:], head(4))


def test_swapped_siblings_are_refused() -> None:
    proof = inclusion_proof(2, 8, Nodes(8))
    with pytest.raises(VerificationError) as caught:
        verify_inclusion(leaf_hash(entries(8)[2]), 2, [proof[1], proof[0], proof[2]], head(8))
    assert caught.value.reason == "ROOT_MISMATCH"


@pytest.mark.parametrize("change", ["short hash", "long hash", "short leaf", "too many"])
def test_hashes_of_another_size_or_number_are_malformed(change: str) -> None:
    proof = inclusion_proof(2, 8, Nodes(8))
    leaf = leaf_hash(entries(8)[2])
    if change == "short leaf":
        leaf = leaf[:-1]
    elif change == "too many":
        proof = [leaf] * 65
    else:
        # Moving a byte to the neighbour keeps the concatenation and must not verify.
        cut = 31 if change == "short hash" else 33
        both = proof[0] + proof[1]
        proof = [both[:cut], both[cut:], proof[2]]
    with pytest.raises(MalformedError):
        verify_inclusion(leaf, 2, proof, head(8))


def test_a_tree_extends_every_earlier_tree() -> None:
    for new in range(1, 34):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, Nodes(new))
            verify_consistency(head(old), head(new), proof)


def test_a_rewritten_tree_is_not_an_extension() -> None:
    rewritten = entries(5)
    rewritten[3] = b"another history"
    proof = consistency_proof(5, 9, Nodes(9))
    with pytest.raises(VerificationError) as caught:
        verify_consistency(TreeHead(5, root(rewritten)), head(9), proof)
    assert caught.value.reason == "ROOT_MISMATCH"


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (6, 5), (5, 1 << 63)])
def test_an_empty_or_larger_older_tree_is_refused(old: int, new: int) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_consistency(TreeHead(old, EMPTY_ROOT), TreeHead(new, EMPTY_ROOT), [])
    assert caught.value.reason == "TREE_SIZE"


def test_equal_sizes_with_other_roots_are_equivocation() -> None:
    with pytest.raises(VerificationError) as caught:
        verify_consistency(head(5), TreeHead(5, EMPTY_ROOT), [])
    assert caught.value.reason == "ROOT_MISMATCH"


@pytest.mark.parametrize("old", [3, 4, 5])
@pytest.mark.parametrize("change", ["shorter", "longer", "none"])
def test_a_consistency_proof_of_another_length_is_refused(old: int, change: str) -> None:
    proof = consistency_proof(old, 8, Nodes(8))
    changed = {"shorter": proof[:-1], "longer": [*proof, proof[-1]], "none": []}[change]
    with pytest.raises(VerificationError) as caught:
        verify_consistency(head(old), head(8), changed)
    assert caught.value.reason == "PROOF_LENGTH"


def test_equal_sizes_need_no_hashes() -> None:
    with pytest.raises(VerificationError) as caught:
        verify_consistency(head(5), head(5), [EMPTY_ROOT])
    assert caught.value.reason == "PROOF_LENGTH"


def test_proofs_outside_the_tree_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        inclusion_proof(8, 8, Nodes(8))
    assert caught.value.reason == "INDEX_RANGE"
    with pytest.raises(InvalidArgumentError) as caught:
        consistency_proof(0, 8, Nodes(8))
    assert caught.value.reason == "TREE_SIZE"


def test_a_compact_range_resumes_from_its_frontier() -> None:
    growing = CompactRange()
    for size, entry in enumerate(entries(40)):
        assert growing.head() == head(size)
        growing = CompactRange(size=growing.size, frontier=growing.frontier)
        growing.append(leaf_hash(entry))


@pytest.mark.parametrize(
    ("size", "frontier"), [(3, [EMPTY_ROOT]), (1, [b"short"]), (-1, []), (1 << 63, [EMPTY_ROOT])]
)
def test_a_frontier_that_does_not_fit_is_malformed(size: int, frontier: list[bytes]) -> None:
    with pytest.raises(MalformedError) as caught:
        CompactRange(size=size, frontier=frontier)
    assert caught.value.reason == "FRONTIER"
