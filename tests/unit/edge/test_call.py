from __future__ import annotations

from datetime import timedelta

import pytest

from yinxin_edge.call import Call, current_call, enter, leave
from yinxin_edge.principal import Principal
from yinxin_proto.error import DeadlineExceededError, InternalError

SOMEBODY = Principal(domain="licences.example.cn", identifier="bureau", certificate_hash=b"h" * 32)


def _call(seconds: float) -> Call:
    return Call(method="/x/Y", principal=SOMEBODY, allowed=timedelta(seconds=seconds))


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(InternalError) as caught:
        current_call()
    assert caught.value.reason == "NO_CALL"


def test_a_call_is_current_until_it_is_left() -> None:
    call = _call(5)
    token = enter(call)
    assert current_call() is call
    leave(token)
    with pytest.raises(InternalError):
        current_call()


def test_a_call_knows_what_is_left_of_its_deadline() -> None:
    assert timedelta(seconds=4) < _call(5).remaining <= timedelta(seconds=5)
    _call(5).check_deadline()
    assert _call(0).remaining == timedelta(0)
    with pytest.raises(DeadlineExceededError):
        _call(0).check_deadline()
