from __future__ import annotations

from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hierarchy import Hierarchy
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.suite import ES256


@cache
def _signed() -> tuple[bytes, Certificate]:
    region = Hierarchy()
    for reason in (RevocationReason.KEY_COMPROMISE, RevocationReason.UNSPECIFIED):
        serial = parse(region.licence_certificate()).serial_number
        region.licences.revoke(serial, reason)
    crl = region.licences.sign_crl(lifetime=timedelta(days=1))
    return crl, parse(region.licences.certificate)


@given(st.data())
def test_a_list_with_one_bit_flipped_never_verifies(data: st.DataObject) -> None:
    crl, issuer = _signed()
    bit = data.draw(st.integers(0, 8 * len(crl) - 1))
    flipped = bytearray(crl)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, VerificationError)):
        parse_crl(bytes(flipped)).verify(issuer, suite=ES256)


def test_no_single_flipped_bit_at_the_end_verifies() -> None:
    # Where the signature's BIT STRING starts, bits are covered by no signature.
    crl, issuer = _signed()
    for bit in range(8 * (len(crl) - 80), 8 * len(crl)):
        flipped = bytearray(crl)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedError, VerificationError)):
            parse_crl(bytes(flipped)).verify(issuer, suite=ES256)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_crl(data)
