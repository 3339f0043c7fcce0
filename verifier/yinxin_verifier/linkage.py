"""Whether two trees are one: what ties a receipt's tree to one that is vouched for.

The logs of licences are epochs of one tree, so two of its heads are compared
whatever origins they were signed under: roots decide, names do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from yinxin_proto.error import YinxinError
from yinxin_proto.merkle import TreeHead, verify_consistency
from yinxin_verifier.examination import Examination


class Place(Enum):
    """What is known of a licence's entry in a pinned tree."""

    PROVEN = auto()
    """It is there, at the receipt's index."""
    OTHER_ENTRY = auto()
    """The pinned tree holds another entry at that index."""
    OTHER_TREE = auto()
    """The receipt's tree contradicts the pinned one."""
    UNKNOWN = auto()
    """Nothing at hand ties the two."""


def place_in(x: Examination, pinned: TreeHead) -> Place:
    """Find the licence's entry in a pinned tree: by its tiles, or by consistency.

    The receipt's inclusion in its own tree has been verified, and its index is
    below the pinned size.
    """
    receipt, checkpoint = x.receipt, x.checkpoint
    if receipt is None or checkpoint is None:
        return Place.UNKNOWN
    tree = x.known_region.tree(pinned)
    if tree is not None:
        held = tree.holds(x.leaf, receipt.index, receipt.proof, checkpoint.head.size)
        if held is not None:
            return Place.PROVEN if held else Place.OTHER_ENTRY
    match consistent(x, checkpoint.head, pinned):
        case True:
            return Place.PROVEN
        case False:
            return Place.OTHER_TREE
    return Place.UNKNOWN


def consistent(x: Examination, one: TreeHead, other: TreeHead) -> bool | None:
    """Tell whether one tree extends the other; None where no proof is at hand."""
    direct = tied(x, one, other)
    if direct is not None:
        return direct
    # Two trees that begin a third, or one that does and one that the third
    # begins, are beginnings of one another. Two that only extend it may differ.
    for anchor in x.known_region.anchors:
        if min(one.size, other.size) > anchor.size:
            continue
        if tied(x, one, anchor) and tied(x, other, anchor):
            return True
    return None


def tied(x: Examination, one: TreeHead, other: TreeHead) -> bool | None:
    """Tell the same by a proof from one to the other alone."""
    smaller, larger = (one, other) if one.size <= other.size else (other, one)
    if smaller == larger:
        return True
    if smaller.size == larger.size:
        return False
    if not smaller.size:
        # Every tree extends the empty one: it says nothing.
        return None
    proof = _proof(x, smaller.size, larger.size)
    if proof is None:
        return None
    try:
        verify_consistency(smaller, larger, proof)
    except YinxinError:
        return False
    return True


def _proof(x: Examination, smaller: int, larger: int) -> Sequence[bytes] | None:
    """Look a proof up under every epoch: it proves by its hashes, not by its name."""
    region = x.known_region
    for origin in region.licence_logs:
        proof = x.evidence.consistency.get((origin, smaller, larger))
        if proof is None:
            proof = region.consistency(origin, smaller, larger)
        if proof is not None:
            return proof
    return None
