"""An operation on its way from whoever prepared it to the officers, and back to the signer.

One JSON file that each officer adds a signature to. It carries what exactly
is to come of the operation, so that a person can read it; what is signed is
its digest, within the operation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from yinxin_proto.error import ConflictError, MalformedError
from yinxin_proto.member import Members
from yinxin_proto.operation import OfficerSignature, Operation, SignedOperation
from yinxin_proto.strict import Json, canonical_json, parse_json
from yinxin_proto.trustchange import parameters_of

MAX_FILE_BYTES: Final = 16 << 20
_MAX_SIGNATURES: Final = 16
_MEMBERS: Final = ("operation", "outcome", "signatures")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFile:
    """The operation, what is to come of it, and the signatures so far.

    Raises:
        MalformedError: What is said to come of it is not what the operation
            commits to (``OPERATION_PARAMETERS``).
    """

    operation: Operation
    outcome: Json
    """What the operation's ``parameters`` are the digest of."""
    signatures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if parameters_of(self.outcome) != self.operation.parameters:
            raise MalformedError(
                "operation: the file shows something else than what is to be signed; do not "
                "sign it",
                reason="OPERATION_PARAMETERS",
            )

    def signed(self) -> SignedOperation:
        """Return the operation with its signatures, for the signer to check."""
        return SignedOperation(
            operation=self.operation,
            signatures=tuple(map(OfficerSignature.parse, self.signatures)),
        )

    def with_signature(self, token: str) -> OperationFile:
        """Return the file with one more signature.

        Raises:
            ConflictError: Its officer has signed already (``OFFICER_TWICE``).
        """
        officer = OfficerSignature.parse(token).officer
        if officer in {OfficerSignature.parse(one).officer for one in self.signatures}:
            raise ConflictError(
                f"{officer} has signed this operation already; another officer must",
                reason="OFFICER_TWICE",
            )
        return replace(self, signatures=(*self.signatures, token))

    def to_bytes(self) -> bytes:
        """Return the file; the exact inverse of `parse`."""
        return canonical_json(
            {
                "operation": self.operation.to_bytes().decode(),
                "outcome": self.outcome,
                "signatures": list(self.signatures),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> OperationFile:
        """Parse a file.

        Raises:
            MalformedError: Not of this form, or showing something else than is signed.
        """
        value = parse_json(data, max_bytes=MAX_FILE_BYTES)
        members = Members(value, "operation file", _MEMBERS)
        return cls(
            operation=Operation.parse(members.one("operation", _text).encode()),
            outcome=members.one("outcome", lambda found, _: found),
            signatures=members.each("signatures", _text, max_items=_MAX_SIGNATURES),
        )


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{where}: a string was expected", reason="MEMBER_TYPE")
    return value
