from __future__ import annotations

import pytest

from yinxin import Context, InvalidArgumentError


def test_a_context_travels_whole() -> None:
    message = Context("申请", case_number="1", service_item="2", operator="3").to_message()

    assert (message.purpose, message.case_number, message.service_item, message.operator) == (
        "申请",
        "1",
        "2",
        "3",
    )


@pytest.mark.parametrize("purpose", ["", "   ", "长" * 201])
def test_a_purpose_is_mandatory_and_bounded(purpose: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Context(purpose)

    assert [item.field for item in caught.value.violations] == ["context.purpose"]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Context("", case_number="1" * 65, service_item="2" * 65, operator="3" * 65)

    assert len(caught.value.violations) == 4
