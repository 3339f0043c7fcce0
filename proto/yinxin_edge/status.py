"""Errors as ``google.rpc.Status``, and back: one table for both directions.

A status carries ErrorInfo (``reason`` is the error's reason, ``domain`` is
``yinxin``, metadata ``code`` the error's class) and BadRequest (every violation
at once). The class survives the crossing, also where several share a gRPC code.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from yinxin_proto import error as tree
from yinxin_proto.error import Violation, YinxinError

DOMAIN: Final = "yinxin"

GRPC_CODES: Final[dict[type[YinxinError], grpc.StatusCode]] = {
    tree.MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    tree.VerificationError: grpc.StatusCode.INVALID_ARGUMENT,
    tree.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    tree.NotFoundError: grpc.StatusCode.NOT_FOUND,
    tree.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    tree.ConflictError: grpc.StatusCode.ABORTED,
    tree.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    tree.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    tree.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    tree.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    tree.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    tree.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    tree.IntegrityError: grpc.StatusCode.DATA_LOSS,
    tree.KeyStoreError: grpc.StatusCode.FAILED_PRECONDITION,
    tree.WrongPassphraseError: grpc.StatusCode.FAILED_PRECONDITION,
    tree.ConfigurationError: grpc.StatusCode.FAILED_PRECONDITION,
    tree.NotPassedError: grpc.StatusCode.FAILED_PRECONDITION,
    tree.InternalError: grpc.StatusCode.INTERNAL,
    YinxinError: grpc.StatusCode.UNKNOWN,
}
"""The table; a test asserts that it names every class of the tree."""

_BY_CODE: Final = {kind.code: kind for kind in GRPC_CODES}

_WITHOUT_INFO: Final[dict[grpc.StatusCode, type[YinxinError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: tree.InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: tree.InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: tree.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: tree.AlreadyExistsError,
    grpc.StatusCode.ABORTED: tree.ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: tree.FailedPreconditionError,
    grpc.StatusCode.UNIMPLEMENTED: tree.FailedPreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: tree.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: tree.PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: tree.ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: tree.UnavailableError,
    grpc.StatusCode.CANCELLED: tree.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: tree.DeadlineExceededError,
    grpc.StatusCode.DATA_LOSS: tree.IntegrityError,
    grpc.StatusCode.INTERNAL: tree.InternalError,
}
"""For statuses that are not ours: gRPC's own, and a proxy's."""

_BY_NUMBER: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

MAX_TRAILER_BYTES: Final = 7000
"""What an error may take of the 8 KiB of metadata that gRPC accepts by default."""

_MAX_MESSAGE_CHARACTERS: Final = 240


def grpc_code(error: YinxinError) -> grpc.StatusCode:
    """Return the gRPC code of an error; of its nearest class in the table."""
    return next(GRPC_CODES[kind] for kind in type(error).__mro__ if kind in GRPC_CODES)


def to_status(error: YinxinError) -> Status:
    """Return the whole error as a ``google.rpc.Status``, e.g. for one item of a batch."""
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"code": error.code})
    status = Status(code=grpc_code(error).value[0], message=error.message, details=[_pack(info)])
    if error.violations:
        status.details.append(
            _pack(
                BadRequest(
                    field_violations=[
                        BadRequest.FieldViolation(
                            field=violation.field,
                            description=violation.description,
                            reason=violation.reason,
                        )
                        for violation in error.violations
                    ]
                )
            )
        )
    return status


def to_trailer(error: YinxinError) -> Status:
    """Return the error as a status that fits into gRPC's trailing metadata.

    Beyond the limit a client would see "metadata too large" instead of its
    mistake. The message is cut first, then as many violations as must be, from
    the end; the last one then says how many are not listed (``TRUNCATED``).
    """
    status = to_status(error)
    if _trailer_bytes(status) <= MAX_TRAILER_BYTES:
        return status
    message = error.message[:_MAX_MESSAGE_CHARACTERS]
    status = to_status(_remade(error, message, error.violations))
    kept = len(error.violations)
    while kept > 0 and _trailer_bytes(status) > MAX_TRAILER_BYTES:
        kept = kept * 3 // 4
        rest = Violation(
            field="",
            description=f"{len(error.violations) - kept} more are not listed",
            reason="TRUNCATED",
        )
        status = to_status(_remade(error, message, (*error.violations[:kept], rest)))
    if _trailer_bytes(status) > MAX_TRAILER_BYTES:
        status = to_status(_remade(error, message, ()))
    return status


def from_status(status: Status) -> YinxinError:
    """Return the error that a status carries.

    Without our ErrorInfo the class follows from the gRPC code, and so does the
    reason (``GRPC_UNAVAILABLE``).
    """
    code = _BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    kind = _WITHOUT_INFO.get(code, YinxinError)
    reason = f"GRPC_{code.name}"
    violations: tuple[Violation, ...] = ()
    for detail in status.details:
        info, bad = ErrorInfo(), BadRequest()
        if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            kind = _BY_CODE.get(info.metadata.get("code", ""), kind)
            reason = info.reason
        elif detail.Is(BadRequest.DESCRIPTOR) and detail.Unpack(bad):
            violations = tuple(
                Violation(field=item.field, description=item.description, reason=item.reason)
                for item in bad.field_violations
            )
    return kind(status.message, reason=reason, violations=violations)


def from_rpc_error(error: grpc.RpcError) -> YinxinError:
    """Return the error behind a failed call, for a client to raise.

    Args:
        error: What a stub raised (it is a ``grpc.Call`` too).
    """
    call: object = error
    if not isinstance(call, grpc.Call):
        return tree.UnavailableError(
            "the call failed before it was sent", reason="GRPC_UNAVAILABLE"
        )
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        # A status whose code or text contradicts the call's: not from our server.
        status = None
    if status is None:
        code = call.code()
        status = Status(code=code.value[0], message=call.details() or code.name)
    return from_status(status)


def _pack(message: ErrorInfo | BadRequest) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _remade(error: YinxinError, message: str, violations: tuple[Violation, ...]) -> YinxinError:
    kind = _BY_CODE.get(error.code, YinxinError)
    return kind(message, reason=error.reason, violations=violations)


def _trailer_bytes(status: Status) -> int:
    # grpc-message is percent-encoded, grpc-status-details-bin is base64.
    size: int = status.ByteSize()
    return len(quote(status.message)) + size * 4 // 3
