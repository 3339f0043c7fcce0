"""Proof of existence: that exactly this licence was logged, where, and on whose word.

The log's own signature stands for a log that is open, or was closed in the
ordinary way. Of a log that was frozen nothing but the tree that the trust list
names counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError, YinxinError
from yinxin_proto.leaf import Opening
from yinxin_proto.logkey import LogKind
from yinxin_proto.merkle import TreeHead, leaf_hash, verify_inclusion
from yinxin_proto.receipt import Receipt
from yinxin_verifier import reason
from yinxin_verifier.evidence import LogAnswer
from yinxin_verifier.examination import Examination
from yinxin_verifier.linkage import Place, place_in, tied
from yinxin_verifier.policy import ReceiptRule
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.step import Grounds

if TYPE_CHECKING:
    from yinxin_proto.checkpoint import VerifiedCheckpoint


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
        if log.is_broken and error.reason == "LOG_SIGNATURE":
            return reason.LOG_BROKEN
        return reason.CHECKPOINT.because(error.reason)
    if log.frozen_at is not None:
        return _check_frozen(x, receipt.index, log.frozen_at)
    return _check_grown(x, receipt.index, x.checkpoint.head, log.closed_at)


def _check_grown(
    x: Examination, index: int, head: TreeHead, closed: TreeHead | None
) -> Finding | None:
    """A log that is open, or was closed in the ordinary way: its signature stands."""
    if closed is not None and max(index + 1, head.size) > closed.size:
        return reason.BEYOND_CLOSE
    for anchor in x.known_region.anchors:
        match tied(x, head, anchor):
            case False:
                return reason.EQUIVOCATION
            case True if head.size <= anchor.size:
                x.linked = True
    return None


def _check_frozen(x: Examination, index: int, frozen: TreeHead) -> Finding | None:
    """Entries of the last good tree of a frozen log stand; nothing else does."""
    if index >= frozen.size:
        return reason.BEYOND_SEAL
    finding = _NOT_IN_SEAL.get(place_in(x, frozen))
    x.linked = finding is None
    return finding


_NOT_IN_SEAL: Final = {
    Place.UNKNOWN: reason.SEAL_UNLINKED,
    Place.OTHER_ENTRY: reason.SEAL_OTHER_ENTRY,
    Place.OTHER_TREE: reason.EQUIVOCATION,
}


def ground_checkpoint(x: Examination) -> Grounds:
    """Describe on whose word the tree stands, and say so where it is the log's alone."""
    if x.checkpoint is None:
        return ground_opening(x)
    signed = _signed_by(x, x.checkpoint)
    if x.linked and x.known_region.logs[x.checkpoint.origin].frozen_at is not None:
        return Grounds(
            Text(
                f"{signed.zh}，登记在信任列表所列的封存日志中",
                f"{signed.en}, and found in the tree at which the trust list froze it",
            )
        )
    if x.linked:
        return Grounds(
            Text(
                f"{signed.zh}，与核验包检查点一致",
                f"{signed.en}, consistent with the pack's checkpoint",
            )
        )
    return Grounds(
        Text(
            f"仅有{signed.zh}，未与核验包检查点核对",
            f"{signed.en}; unwitnessed: not tied to the pack's checkpoint",
        )
    )


def _signed_by(x: Examination, checkpoint: VerifiedCheckpoint) -> Text:
    log = x.known_region.logs[checkpoint.origin]
    witnesses = len(checkpoint.cosignatures)
    zh, en = "日志签名", "signed by the log"
    if log.is_broken:
        zh, en = "日志 ML-DSA-44 签名", "signed by the log with ML-DSA-44"
    elif log.is_cosigned(checkpoint):
        zh, en = "日志签名（另有 ML-DSA-44 签名）", "signed by the log, with ML-DSA-44 too"
    return Text(
        f"{zh}，见证签名 {witnesses} 个",
        f"{en}, {witnesses or 'no'} witness signature{'' if witnesses == 1 else 's'}",
    )
