from __future__ import annotations

import pytest
from cryptography import x509

from yinxin_ca import der
from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError


def test_a_sequence_splits_into_what_it_was_made_of() -> None:
    parts = [b"\x02\x01\x05", b"\x04\x82\x01\x00" + bytes(256), b"\x30\x00"]
    assert elements(der.sequence(*parts)) == parts
    assert elements(der.sequence()) == []


@pytest.mark.parametrize(
    "data", [b"", b"\x04\x02\x00\x05", b"\x03\x02\x03\x05", b"\x03\x01\x00\x05"]
)
def test_what_is_not_a_bit_string_of_whole_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        der.bits(data)


@pytest.mark.parametrize(
    "dotted", ["1.2.840.10045.4.3.2", "1.2.156.10197.1.501", "2.16.840.1.101.3.4.3.18", "2.999.1"]
)
def test_an_algorithm_is_encoded_as_the_library_encodes_its_oid(dotted: str) -> None:
    oid = x509.ObjectIdentifier(dotted)
    assert der.algorithm(oid) == x509.ExtendedKeyUsage([oid]).public_bytes()
