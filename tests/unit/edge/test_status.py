from __future__ import annotations

import grpc
import pytest
from google.rpc.status_pb2 import Status

from yinxin_edge import status
from yinxin_proto.error import (
    AlreadyExistsError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
    Violation,
    YinxinError,
)


def _tree(kind: type[YinxinError]) -> set[type[YinxinError]]:
    below = {
        found
        for child in kind.__subclasses__()
        if child.__module__ == "yinxin_proto.error"
        for found in _tree(child)
    }
    return {kind} | below


EVERY_CLASS = sorted(_tree(YinxinError), key=lambda kind: kind.code)


def test_the_table_names_every_class_of_the_tree() -> None:
    assert set(status.GRPC_CODES) == set(EVERY_CLASS)
    assert len({kind.code for kind in EVERY_CLASS}) == len(EVERY_CLASS)


@pytest.mark.parametrize("kind", EVERY_CLASS, ids=lambda kind: str(kind.code))
def test_every_class_survives_the_crossing(kind: type[YinxinError]) -> None:
    sent = kind(
        "证照不存在 / no such licence",
        reason="NARROWER",
        violations=[
            Violation(
                field="holders[1].number", description="wrong length", reason="NUMBER_LENGTH"
            ),
            Violation(field="type", description="unknown"),
        ],
    )
    for make in (status.to_status, status.to_trailer):
        received = status.from_status(Status.FromString(make(sent).SerializeToString()))
        assert type(received) is kind
        assert (received.message, received.reason) == (sent.message, sent.reason)
        assert received.violations == sent.violations


def test_an_error_without_a_reason_keeps_its_code_as_reason() -> None:
    assert status.from_status(status.to_status(InternalError("x"))).reason == "INTERNAL"


def test_a_subclass_of_ours_crosses_as_the_class_it_refines() -> None:
    class TakenError(AlreadyExistsError):
        pass

    received = status.from_status(status.to_status(TakenError("x", reason="UNIQUE")))
    assert type(received) is AlreadyExistsError
    assert received.reason == "UNIQUE"


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])
def test_a_status_that_is_not_ours_becomes_the_nearest_error(code: grpc.StatusCode) -> None:
    received = status.from_status(Status(code=code.value[0], message="by a proxy"))
    assert received.reason == f"GRPC_{code.name}"
    assert received.message == "by a proxy"


def test_a_foreign_domain_or_unknown_class_does_not_choose_the_error() -> None:
    sent = status.to_status(FailedPreconditionError("x", reason="R"))
    foreign = Status.FromString(sent.SerializeToString().replace(b"yinxin", b"xinyin"))
    assert status.from_status(foreign).reason == "GRPC_FAILED_PRECONDITION"
    newer = Status.FromString(
        sent.SerializeToString().replace(b"FAILED_PRECONDITION", b"FAILED_PRECONDITIOM")
    )
    received = status.from_status(newer)
    assert type(received) is FailedPreconditionError
    assert received.reason == "R"


def test_a_code_out_of_range_is_unknown() -> None:
    assert type(status.from_status(Status(code=999))) is YinxinError


def test_an_error_too_large_for_a_trailer_keeps_what_fits_and_counts_the_rest() -> None:
    violations = [
        Violation(
            field=f"licences[{i}].holders[0].number",
            description="校验码不符",
            reason="NUMBER_CHECKSUM",
        )
        for i in range(1000)
    ]
    sent = InvalidArgumentError("不合格" * 1000, reason="BATCH", violations=violations)
    trailer = status.to_trailer(sent)
    assert trailer.ByteSize() * 4 // 3 < status.MAX_TRAILER_BYTES
    received = status.from_status(trailer)
    assert (type(received), received.reason) == (InvalidArgumentError, "BATCH")
    kept = received.violations[:-1]
    assert len(kept) > 10
    assert list(kept) == violations[: len(kept)]
    assert received.violations[-1].reason == "TRUNCATED"
    assert str(1000 - len(kept)) in received.violations[-1].description
    assert len(status.from_status(status.to_status(sent)).violations) == 1000


def test_one_giant_violation_cannot_overflow_a_trailer() -> None:
    giant = Violation(field="x" * 20_000, description="")
    trailer = status.to_trailer(InvalidArgumentError("bad", violations=[giant]))
    assert trailer.ByteSize() < status.MAX_TRAILER_BYTES
    assert "1 more" in status.from_status(trailer).violations[-1].description


def test_a_long_message_alone_is_cut() -> None:
    kept = Violation(field="type", description="unknown")
    trailer = status.to_trailer(UnavailableError("慢" * 5000, violations=[kept]))
    assert len(trailer.message) < 300
    assert status.from_status(trailer).violations == (kept,)


def test_a_call_that_was_never_sent_is_unavailable() -> None:
    assert isinstance(status.from_rpc_error(grpc.RpcError()), UnavailableError)
