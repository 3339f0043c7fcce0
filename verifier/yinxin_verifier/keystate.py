"""What the state of the signing key means for one licence.

Time alone cannot decide about a key that signs no more, so positions do: the
trust list pins a tree, and a licence stands iff its entry is in that tree at
an index that the pin admits. Where time is what is asked, witnesses'
cosignatures give it, and it means only "existed no later than".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from yinxin_proto import cosignature
from yinxin_proto.keyrecord import KeyState, Pin
from yinxin_proto.merkle import TreeHead
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination, ProvenBy
from yinxin_verifier.linkage import Place, place_in
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


def check_key_state(x: Examination) -> Finding | None:
    """Decide what the key's state means for this licence, and prove a time for it."""
    record = x.issuer.record
    if x.issued_at < record.not_before:
        return reason.KEY_NOT_YET
    if x.checkpoint is not None and x.checkpoint.cosignatures:
        proven = _witnessed_time(x, x.checkpoint)
        if proven is not None:
            x.proven_at = proven
            x.proven_by = ProvenBy.WITNESSES
    state, end = record.state, record.not_after
    if state is KeyState.ACTIVE and end is None:
        return None
    if state is KeyState.SUSPENDED:
        return reason.KEY_SUSPENDED
    if state is KeyState.COMPROMISED:
        return _check_compromised(x, record.pin, end)
    return _check_end(x, record.pin, end)


def _check_end(x: Examination, pin: Pin | None, end: int | None) -> Finding | None:
    """Judge a key that has ended: its own dates, and the pin of its retirement."""
    if end is None:
        return None
    if x.issued_at > end:
        return reason.KEY_AFTER_END
    if pin is not None and x.receipt is not None and x.checkpoint is not None:
        if x.receipt.index >= pin.n_stop:
            return reason.RETIRED_BEYOND
        place = place_in(x, TreeHead(pin.n_stop, pin.root))
        if place in (Place.OTHER_ENTRY, Place.OTHER_TREE):
            return reason.RETIRED_CONTRADICTED
        # Nobody stole it: without a proof at hand, the log's signature stands.
        x.is_pinned = place is Place.PROVEN
        _prove_by_pin(x, end)
    return None if x.proven_at <= end else reason.KEY_RETIRED


def _prove_by_pin(x: Examination, end: int) -> None:
    """What lies below the pin existed when the key signed its last."""
    if end < x.proven_at:
        x.proven_at = end
        x.proven_by = ProvenBy.PIN


def _witnessed_time(x: Examination, checkpoint: VerifiedCheckpoint) -> int | None:
    # The trust list names one key per controlling operator, and a key has one
    # line: so one line is one vote.
    times = [cosignature.read(line.signature).time for line in checkpoint.cosignatures]
    quorum = x.known_region.trust_list.witnesses.quorum
    if not quorum or len(times) < quorum:
        return None
    return proven_time(times, dishonest=x.policy.dishonest_witnesses, now=x.now)


def _check_compromised(x: Examination, pin: Pin | None, end: int | None) -> Finding | None:
    """Surviving a stolen key: index sets in a pinned tree, never time."""
    if pin is None:
        return reason.KEY_COMPROMISED
    if x.receipt is None or x.checkpoint is None:
        return reason.PIN_NO_RECEIPT
    if not pin.admits(x.receipt.index):
        return reason.PIN_BEYOND
    finding = _NOT_IN_PIN.get(place_in(x, TreeHead(pin.n_stop, pin.root)))
    if finding is None:
        x.is_pinned = True
        if end is not None:
            _prove_by_pin(x, end)
    return finding


_NOT_IN_PIN: Final = {
    Place.UNKNOWN: reason.PIN_UNLINKED,
    Place.OTHER_ENTRY: reason.PIN_OTHER_ENTRY,
    Place.OTHER_TREE: reason.PIN_INCONSISTENT,
}


def ground_key_state(x: Examination) -> Grounds:
    """Describe the key's state and how it was judged."""
    record = x.issuer.record
    age = timedelta(seconds=x.now - x.known_region.freshness.issued_at)
    pin = record.pin
    if pin is None or record.state is KeyState.SUSPENDED:
        return Grounds(
            Text(f"密钥状态：{_STATES[record.state]}", f"key state: {record.state}"), age
        )
    if record.state is KeyState.COMPROMISED:
        attested = sum(end - start for start, end in pin.reattested)
        return Grounds(
            Text(
                f"密钥已泄露，按锚定日志判断：前 {pin.n_safe} 条有效，"
                f"其后重新确认 {attested} 条，截至 {pin.n_stop} 条",
                f"compromised; judged by the pinned log: {pin.n_safe} entries safe and"
                f" {attested} attested anew, of {pin.n_stop}",
            ),
            age,
        )
    zh, en = _PINNED if x.is_pinned else _UNPINNED
    return Grounds(
        Text(
            f"密钥已退役，其签发均在日志前 {pin.n_stop} 条之内；{zh}",
            f"retired; all that it signed is in the first {pin.n_stop} entries; {en}",
        ),
        age,
    )


_PINNED: Final = Text("登记已与锚定日志核对", "the entry was found in the pinned tree")
_UNPINNED: Final = Text("登记以日志签名为准", "the entry stands on the log's signature")
_STATES: Final = {
    KeyState.ACTIVE: "启用",
    KeyState.SUSPENDED: "停用",
    KeyState.RETIRED: "退役",
    KeyState.COMPROMISED: "泄露",
}
