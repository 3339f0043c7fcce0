"""Whether whoever presents the licence holds its key (RFC 9901 §7.3).

A licence copied from someone else's phone is as well signed as the original.
Only the holder's signature under this verifier's nonce tells the two apart.
"""

from __future__ import annotations

from datetime import UTC, datetime

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.keybinding import confirmation_key, verify_key_binding
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination
from yinxin_verifier.policy import BindingRule
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.step import Grounds


def check_binding(x: Examination) -> Finding | None:
    """Check the key-binding JWT against the request's audience and nonce."""
    required = x.policy.binding is BindingRule.REQUIRED
    has_key = "cnf" in x.payload
    if not has_key:
        return reason.HOLDER_KEY_ABSENT if required else reason.NO_HOLDER_KEY
    request = x.request
    if request is None or request.audience is None or request.nonce is None:
        return reason.BINDING_MISSING if required else reason.BINDING_NOT_ASKED
    if x.sd_jwt.key_binding is None:
        return reason.BINDING_MISSING
    try:
        key = confirmation_key(x.payload)
        if key is None:
            return reason.HOLDER_KEY_ABSENT
        verify_key_binding(
            x.sd_jwt,
            key,
            audience=request.audience,
            nonce=request.nonce,
            now=datetime.fromtimestamp(x.now, UTC),
            max_age=x.policy.max_binding_age,
        )
    except (MalformedError, VerificationError) as error:
        return reason.BINDING.because(error.reason)
    return None


def ground_binding(x: Examination) -> Grounds:
    """Describe how the presentation was bound."""
    if x.sd_jwt.key_binding is None:
        return Grounds(Text("未附持证人密钥证明", "no key-binding JWT was presented"))
    return Grounds(Text("持证人密钥证明（KB-JWT）", "key-binding JWT by the holder's key"))
