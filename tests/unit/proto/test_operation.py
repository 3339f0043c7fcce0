"""Operations: exactly what is signed, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock, SeededEntropy
from yinxin_proto.error import ConflictError, MalformedError, VerificationError
from yinxin_proto.operation import (
    MAX_LIFETIME,
    OPERATIONS,
    Action,
    OfficerSignature,
    Operation,
    new_operation,
    sign_operation,
)
from yinxin_proto.operationfile import OperationFile
from yinxin_proto.suite import ES256
from yinxin_proto.trustchange import parameters_of

KEY = ES256.load_deterministic(0x77)


def operation(**changes: object) -> Operation:
    made = new_operation(
        Action.COMPROMISE_KEY,
        "ab" * 32,
        parameters_of({}),
        region="350300",
        clock=FixedClock(),
        entropy=SeededEntropy("operation"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_action_has_its_number_of_persons() -> None:
    assert set(OPERATIONS) == set(Action)
    assert OPERATIONS[Action.SUSPEND_KEY] == 1
    assert all(
        persons == 2 for action, persons in OPERATIONS.items() if action is not Action.SUSPEND_KEY
    )


@given(
    action=st.sampled_from(Action),
    target=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255),
    nonce=st.binary(min_size=32, max_size=32),
    issued_at=st.integers(0, 1 << 40),
    life=st.integers(1, int(MAX_LIFETIME.total_seconds())),
)
def test_parsing_is_the_inverse_of_writing(
    action: Action, target: str, nonce: bytes, issued_at: int, life: int
) -> None:
    made = Operation(
        action=action,
        target=target,
        region="350300",
        nonce=nonce,
        issued_at=issued_at,
        expires=issued_at + life,
        parameters=nonce,
    )
    assert Operation.parse(made.to_bytes()) == made


@given(st.binary(max_size=400))
def test_anything_else_is_refused_as_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Operation.parse(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": 1},
        {"expires": 1 << 50},
        {"nonce": bytes(31)},
        {"parameters": b""},
        {"target": ""},
        {"target": "with a space"},
    ],
)
def test_an_operation_out_of_its_form_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        operation(**changes)


def test_an_action_that_nobody_knows_is_refused() -> None:
    data = operation().to_bytes().replace(b"compromise-key", b"compromise-kez")
    with pytest.raises(MalformedError) as refused:
        Operation.parse(data)
    assert refused.value.reason == "OPERATION_ACTION"


@pytest.mark.parametrize(
    "changes",
    [
        {"action": Action.RESUME_KEY},
        {"target": "cd" * 32},
        {"region": "350500"},
        {"nonce": bytes(32)},
        {"parameters": bytes(32)},
    ],
)
def test_a_signature_is_under_every_member(changes: dict[str, object]) -> None:
    signature = OfficerSignature.parse(sign_operation(operation(), officer="li", signer=KEY))
    signature.verify(KEY.public_key, operation())
    with pytest.raises(VerificationError) as refused:
        signature.verify(KEY.public_key, operation(**changes))
    assert refused.value.reason == "OPERATION_DIGEST"


def test_time_is_checked_on_both_sides() -> None:
    made, clock = operation(), FixedClock()
    made.check_time(clock.now())
    for moment, reason in (
        (clock.now() + timedelta(days=1), "OPERATION_EXPIRED"),
        (clock.now() - timedelta(minutes=6), "OPERATION_FUTURE"),
    ):
        with pytest.raises(VerificationError) as refused:
            made.check_time(moment)
        assert refused.value.reason == reason


def test_a_file_shows_what_is_signed_or_is_refused() -> None:
    file = OperationFile(operation=operation(), outcome={})
    assert OperationFile.parse(file.to_bytes()) == file
    with pytest.raises(MalformedError) as refused:
        OperationFile(operation=operation(), outcome={"n_safe": 1})
    assert refused.value.reason == "OPERATION_PARAMETERS"


def test_nobody_signs_a_file_twice() -> None:
    file = OperationFile(operation=operation(), outcome={})
    token = sign_operation(operation(), officer="li", signer=KEY)
    with pytest.raises(ConflictError) as refused:
        file.with_signature(token).with_signature(token)
    assert refused.value.reason == "OFFICER_TWICE"
