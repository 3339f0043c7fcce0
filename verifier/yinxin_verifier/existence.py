"""Proof of existence: that a licence was logged, where, and by when.

Time alone cannot decide about a stolen key, so positions do: the trust list
pins a tree, and a licence stands iff its entry is in that tree at an index
that the pin admits. Where time is what is asked (a retired key, a certificate
that has expired), witnesses' cosignatures give it, and it means only "existed
no later than".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from yinxin_proto import cosignature
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError, YinxinError
from yinxin_proto.keyrecord import KeyState, Pin
from yinxin_proto.leaf import Opening
from yinxin_proto.logkey import LogKind
from yinxin_proto.merkle import TreeHead, leaf_hash, verify_consistency, verify_inclusion
from yinxin_proto.receipt import Receipt
from yinxin_verifier import reason
from yinxin_verifier.evidence import LogAnswer
from yinxin_verifier.examination import Examination
from yinxin_verifier.policy import ReceiptRule
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.step import Grounds

if TYPE_CHECKING:
    from yinxin_proto.checkpoint import VerifiedCheckpoint


def proven_time(times: Iterable[int], *, dishonest: int, now: int) -> int | None:
    """Return a time that at least one honest witness vouches for.

    Args:
        times: One per controlling operator, Unix seconds. Zero states nothing
            and a future time cannot be true: neither counts.
        dishonest: How many operators may lie (*f*): the (f+1)-th smallest time
            is at least one honest operator's, or later.
        now: The moment of verification.

    Returns:
        None where too few vouch.
    """
    counted = sorted(time for time in times if 0 < time <= now)
    return counted[dishonest] if len(counted) > dishonest else None


# --- 11 opening ---------------------------------------------------------------


def check_opening(x: Examination) -> Finding | None:
    """Recompute the log's entry from exactly these bytes, this key and the opening."""
    if x.receipt_bytes is None or x.opening_bytes is None:
        return _without_receipt(x)
    try:
        x.receipt = Receipt.parse(x.receipt_bytes)
    except MalformedError as error:
        return reason.RECEIPT.because(error.reason)
    try:
        opening = Opening.parse(x.opening_bytes)
        entry = opening.licence_entry(
            x.sd_jwt.jws.token.encode("ascii"),
            x.issuer.thumbprint,
            x.payload["ZZBS"],
            x.status_uri,
            x.status_index,
        )
    except (MalformedError, InvalidArgumentError) as error:
        return reason.OPENING.because(error.reason)
    x.leaf = leaf_hash(entry)
    return None


def _without_receipt(x: Examination) -> Finding | None:
    match x.evidence.log_answer:
        case LogAnswer.ABSENT:
            return reason.NOT_LOGGED
        case LogAnswer.CONFIRMED if x.policy.receipt is not ReceiptRule.REQUIRED:
            return reason.LOG_CONFIRMED
        case LogAnswer.UNREACHABLE if x.policy.receipt is ReceiptRule.OR_LOG_ASKED:
            return reason.LOG_UNREACHABLE
    if x.policy.receipt is ReceiptRule.NOT_REQUIRED:
        return reason.RECEIPT_NOT_ASKED
    return reason.NO_RECEIPT


def ground_opening(x: Examination) -> Grounds:
    """Describe whether there was a receipt and an opening."""
    if x.receipt is None:
        return Grounds(Text("未附存证回执", "no receipt was presented"))
    return Grounds(Text(f"登记序号 {x.receipt.index}", f"entry {x.receipt.index} of the log"))


# --- 12 inclusion, 13 checkpoint ------------------------------------------------


def check_inclusion(x: Examination) -> Finding | None:
    """Check that the entry is in the tree that the receipt's checkpoint states.

    Whether that checkpoint is the log's is the next step's question.
    """
    receipt = x.receipt
    if receipt is None:
        return reason.RECEIPT_NOT_ASKED
    try:
        # One checkpoint serves a whole batch of licences: parse it once.
        known = x.known_region.known_checkpoint(receipt.checkpoint)
        x.stated = receipt.parse_checkpoint().claimed if known is None else known
    except MalformedError as error:
        return reason.RECEIPT.because(error.reason)
    try:
        verify_inclusion(x.leaf, receipt.index, receipt.proof, x.stated.head)
    except YinxinError as error:
        return reason.INCLUSION.because(error.reason)
    return None


def ground_inclusion(x: Examination) -> Grounds:
    """Describe the tree."""
    if x.stated is None:
        return ground_opening(x)
    if x.stated.origin not in x.known_region.logs:
        # Whoever made the receipt chose this name: it is not repeated.
        return Grounds(
            Text(
                f"不在信任列表中的日志，共 {x.stated.size} 条",
                f"a log outside the trust list, at {x.stated.size} entries",
            )
        )
    return Grounds(
        Text(
            f"日志 {x.stated.origin}，共 {x.stated.size} 条",
            f"log {x.stated.origin} at {x.stated.size} entries",
        )
    )


def check_checkpoint(x: Examination) -> Finding | None:
    """Check the log's signature, and tie the receipt's tree to what we hold of the log."""
    receipt, stated = x.receipt, x.stated
    if receipt is None or stated is None:
        return reason.RECEIPT_NOT_ASKED
    log = x.known_region.logs.get(stated.origin)
    # The log of uses has a purpose of its own: what is in it was never held
    # against an approval.
    if log is None or log.kind is not LogKind.LICENCES:
        return reason.LOG_UNKNOWN if log is None else reason.LOG_UNKNOWN.because("LOG_KIND")
    try:
        x.checkpoint = x.known_region.checkpoint(log, receipt.checkpoint)
    except (MalformedError, VerificationError) as error:
        return reason.CHECKPOINT.because(error.reason)
    if log.frozen_at is not None:
        return _check_frozen(x, x.checkpoint, log.frozen_at)
    if log.head is not None:
        linked = _consistent(x, stated.origin, x.checkpoint.head, log.head)
        if linked is False:
            return reason.EQUIVOCATION
        x.linked = linked is True and x.checkpoint.head.size <= log.head.size
    return None


def _check_frozen(x: Examination, stated: VerifiedCheckpoint, frozen: TreeHead) -> Finding | None:
    """Entries below the last good head of a sealed log stand; nothing else does."""
    if x.receipt is None or x.receipt.index >= frozen.size:
        return reason.BEYOND_SEAL
    linked = _consistent(x, stated.origin, stated.head, frozen)
    if linked is False:
        return reason.EQUIVOCATION
    if linked is None:
        return reason.SEAL_UNLINKED
    x.linked = True
    return None


def _consistent(x: Examination, origin: str, one: TreeHead, other: TreeHead) -> bool | None:
    """Whether one tree extends the other; None where no proof is at hand."""
    direct = _tied(x, origin, one, other)
    head = x.known_region.logs[origin].head
    if direct is not None or head is None or min(one.size, other.size) > head.size:
        return direct
    # Two trees that begin the head's, or one that does and one that the head
    # begins, are beginnings of one another. Two that only extend it may differ.
    tied = _tied(x, origin, one, head) and _tied(x, origin, other, head)
    return True if tied else None


def _tied(x: Examination, origin: str, one: TreeHead, other: TreeHead) -> bool | None:
    smaller, larger = (one, other) if one.size <= other.size else (other, one)
    if smaller == larger:
        return True
    if smaller.size == larger.size:
        return False
    proof = _proof(x, origin, smaller.size, larger.size)
    if proof is None:
        return None
    try:
        verify_consistency(smaller, larger, proof)
    except YinxinError:
        return False
    return True


def _proof(x: Examination, origin: str, smaller: int, larger: int) -> Sequence[bytes] | None:
    fetched = x.evidence.consistency.get((origin, smaller, larger))
    return fetched if fetched is not None else x.known_region.consistency(origin, smaller, larger)


def ground_checkpoint(x: Examination) -> Grounds:
    """Describe on whose word the tree stands, and say so where it is the log's alone."""
    if x.checkpoint is None:
        return ground_opening(x)
    witnesses = len(x.checkpoint.cosignatures)
    if x.linked:
        return Grounds(
            Text(
                f"日志签名，与核验包检查点一致，见证签名 {witnesses} 个",
                f"signed by the log, consistent with the pack's checkpoint,"
                f" {witnesses} witness signatures",
            )
        )
    return Grounds(
        Text(
            f"仅有日志签名，未与核验包检查点核对，见证签名 {witnesses} 个",
            "signed by the log alone and unwitnessed: not tied to the pack's checkpoint;"
            f" {witnesses} witness signatures",
        )
    )


# --- 14 key state ---------------------------------------------------------------


def check_key_state(x: Examination) -> Finding | None:
    """Decide what the key's state means for this licence, and prove a time for it."""
    record = x.issuer.record
    if x.issued_at < record.not_before:
        return reason.KEY_NOT_YET
    if x.checkpoint is not None and x.checkpoint.cosignatures:
        proven = _witnessed_time(x, x.checkpoint)
        if proven is not None:
            x.proven_at = proven
            x.is_proven = True
    state, end = record.state, record.not_after
    if state is KeyState.ACTIVE and end is None:
        return None
    if state is KeyState.SUSPENDED:
        return reason.KEY_SUSPENDED
    if state is KeyState.COMPROMISED:
        return _check_pin(x, record.pin)
    return _check_end(x, end)


def _check_end(x: Examination, end: int | None) -> Finding | None:
    if end is None or x.proven_at <= end:
        return None
    return reason.KEY_AFTER_END if x.issued_at > end else reason.KEY_RETIRED


def _witnessed_time(x: Examination, checkpoint: VerifiedCheckpoint) -> int | None:
    # The trust list names one key per controlling operator, and a key has one
    # line: so one line is one vote.
    times = [cosignature.read(line.signature).time for line in checkpoint.cosignatures]
    quorum = x.known_region.trust_list.witnesses.quorum
    if not quorum or len(times) < quorum:
        return None
    return proven_time(times, dishonest=x.policy.dishonest_witnesses, now=x.now)


def _check_pin(x: Examination, pin: Pin | None) -> Finding | None:
    """Surviving a stolen key: index sets in a pinned tree, never time."""
    if pin is None:
        return reason.KEY_COMPROMISED
    if x.receipt is None or x.checkpoint is None:
        return reason.PIN_NO_RECEIPT
    if x.checkpoint.origin != pin.origin:
        return reason.PIN_OTHER_LOG
    if not pin.admits(x.receipt.index):
        return reason.PIN_BEYOND
    linked = _consistent(x, pin.origin, x.checkpoint.head, TreeHead(pin.n_stop, pin.root))
    if linked is None:
        return reason.PIN_UNLINKED
    return None if linked else reason.PIN_INCONSISTENT


def ground_key_state(x: Examination) -> Grounds:
    """Describe the key's state and how it was judged."""
    record = x.issuer.record
    age = timedelta(seconds=x.now - x.known_region.freshness.issued_at)
    if record.pin is not None:
        pin = record.pin
        return Grounds(
            Text(
                f"密钥已泄露，按锚定日志判断：前 {pin.n_safe} 条有效，截至 {pin.n_stop} 条",
                f"compromised; judged by the pinned log: {pin.n_safe} entries safe of {pin.n_stop}",
            ),
            age,
        )
    return Grounds(Text(f"密钥状态：{_STATES[record.state]}", f"key state: {record.state}"), age)


_STATES = {
    KeyState.ACTIVE: "启用",
    KeyState.SUSPENDED: "停用",
    KeyState.RETIRED: "退役",
    KeyState.COMPROMISED: "泄露",
}
