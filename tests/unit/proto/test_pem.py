"""PEM: one block, or nothing."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization as s
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto import pem
from yinxin_proto.error import MalformedError
from yinxin_proto.suite import ES256

KEY = ES256.load_deterministic(5)


@given(st.binary(min_size=1, max_size=300))
def test_what_was_encoded_decodes(der: bytes) -> None:
    assert pem.decode(pem.encode(pem.PRIVATE_KEY, der)) == (pem.PRIVATE_KEY, der)


def test_it_is_what_the_library_writes() -> None:
    loaded = s.load_der_private_key(KEY.to_pkcs8(), None)
    written = loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    assert pem.encode(pem.PRIVATE_KEY, KEY.to_pkcs8()) == written
    assert pem.decode(written.replace(b"\n", b"\r\n")) == (pem.PRIVATE_KEY, KEY.to_pkcs8())


ONE = pem.encode(pem.PUBLIC_KEY, KEY.public_key.spki)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"text",
        ONE + ONE,
        ONE + b"x",
        b"x" + ONE,
        ONE.replace(b"END PUBLIC", b"END PRIVATE"),
        ONE.replace(b"\nM", b"\n=M"),
        ONE.replace(b"=\n---", b"\n---").replace(b"=\n---", b"\n---"),
        b"-----BEGIN X-----\n*\n-----END X-----\n",
        b"-----BEGIN X-----\n\n-----END X-----\n\0",
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        pem.decode(text)
    assert caught.value.reason == "PEM"


def test_more_than_a_key_needs_is_refused() -> None:
    with pytest.raises(MalformedError) as caught:
        pem.decode(b"A" * (pem.MAX_BYTES + 1))
    assert caught.value.reason == "TOO_LARGE"
