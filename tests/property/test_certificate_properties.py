from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hierarchy import Hierarchy
from yinxin_proto.certificate import Certificate, parse, verify_link
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.suite import ES256


@cache
def _signed() -> tuple[bytes, Certificate]:
    region = Hierarchy()
    return region.licence_certificate(), parse(region.licences.certificate)


def _verify(der: bytes, bit: int, issuer: Certificate) -> None:
    flipped = bytearray(der)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, VerificationError)):
        verify_link(parse(bytes(flipped)), issuer, ES256)


@given(st.data())
def test_a_certificate_with_one_bit_flipped_never_verifies(data: st.DataObject) -> None:
    der, issuer = _signed()
    _verify(der, data.draw(st.integers(0, 8 * len(der) - 1)), issuer)


def test_no_single_flipped_bit_at_the_end_verifies() -> None:
    # Where the signature's BIT STRING starts, bits are covered by no signature.
    der, issuer = _signed()
    for bit in range(8 * (len(der) - 80), 8 * len(der)):
        _verify(der, bit, issuer)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data)
