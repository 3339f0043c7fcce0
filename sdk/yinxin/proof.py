"""Where a licence stands in the log, recomputed from what its holder has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yinxin_proto import certificate, sdjwt
from yinxin_proto.checkpoint import UnverifiedCheckpoint
from yinxin_proto.error import FailedPreconditionError, MalformedError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.leaf import Opening
from yinxin_proto.licence import LicenceFile
from yinxin_proto.merkle import leaf_hash, verify_inclusion
from yinxin_proto.receipt import Receipt
from yinxin_proto.statuslist import StatusReference

_IDENTIFIER: Final = "ZZBS"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceProof:
    """A licence's place in a tree whose checkpoint nobody has vouched for yet."""

    identifier: str
    """As the licence states it."""
    entry: bytes
    """The 32 bytes that the log holds, recomputed from the licence."""
    leaf: bytes
    """Their leaf hash."""
    receipt: Receipt
    """Index and audit path, which lead to the checkpoint's root."""
    checkpoint: UnverifiedCheckpoint
    """The receipt's checkpoint; verify it under the trust list's key."""


def prove_licence(data: bytes) -> LicenceProof:
    """Recompute a licence's log entry, and follow its receipt to the root.

    Says nothing about whether the licence is to be believed: that is
    `yinxin.Verifier.verify`'s to say.

    Raises:
        MalformedError: The licence file or a part of it is malformed.
        FailedPreconditionError: It has no receipt (``NO_RECEIPT``).
        VerificationError: The path does not lead to the root.
    """
    file = LicenceFile.parse(data)
    if file.opening is None or file.receipt is None:
        raise FailedPreconditionError(
            "the licence file has no receipt; get it again from its region", reason="NO_RECEIPT"
        )
    token = sdjwt.parse(file.sd_jwt)
    chain = x5c_chain(token.header)
    if not chain:
        raise MalformedError("the licence carries no certificate", reason="X5C")
    identifier = token.payload.get(_IDENTIFIER)
    if not isinstance(identifier, str):
        raise MalformedError("the licence states no identifier", reason="CLAIMS")
    status = StatusReference.from_claims(token.payload)
    entry = Opening.parse(file.opening).licence_entry(
        token.issuer_jwt.encode("ascii"),
        certificate.parse(chain[0]).thumbprint,
        identifier,
        None if status is None else status.uri,
        None if status is None else status.index,
    )
    receipt = Receipt.parse(file.receipt)
    checkpoint = receipt.parse_checkpoint()
    verify_inclusion(leaf_hash(entry), receipt.index, receipt.proof, checkpoint.claimed.head)
    return LicenceProof(
        identifier=identifier,
        entry=entry,
        leaf=leaf_hash(entry),
        receipt=receipt,
        checkpoint=checkpoint,
    )
