from __future__ import annotations

import pytest

from yinxin_proto.error import MalformedError
from yinxin_proto.vkey import SignatureType, VerifierKey, b64_decode, b64_encode, check_key_name

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The example key of Go's sumdb/note package."""


def test_a_vkey_that_others_made_is_read_and_written_back() -> None:
    key = VerifierKey.parse(GO_VKEY)
    assert (key.name, key.type) == ("PeterNeumann", SignatureType.ED25519)
    assert key.key_id.hex() == "c74f20a3"
    assert key.to_text() == GO_VKEY


@pytest.mark.parametrize("kind", list(SignatureType))
def test_one_key_has_another_id_for_each_type_and_name(kind: SignatureType) -> None:
    raw = bytes(1312 if kind is SignatureType.ML_DSA_44_COSIGNATURE else 32)
    key = VerifierKey("log.example", kind, raw)
    assert VerifierKey.parse(key.to_text()) == key
    assert VerifierKey("log.example2", kind, raw).key_id != key.key_id
    if kind is SignatureType.ED25519_COSIGNATURE:
        twin = VerifierKey("log.example", SignatureType.ED25519, raw)
        assert twin.key_id != key.key_id


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "VKEY"),
        ("PeterNeumann+c74f20a3", "VKEY"),
        ("PeterNeumann+c74f20a3+", "VKEY_TYPE"),
        ("PeterNeumann+c74f20a3+AR", "BASE64"),
        ("PeterNeumann+c74f20a3+ARp=", "BASE64"),
        ("PeterNeumann+c74f20a3+AgAA", "VKEY_TYPE"),
        ("PeterNeumann+c74f20a3+AQAA", "VKEY"),
        (GO_VKEY.replace("c74f20a3", "C74F20A3"), "VKEY_ID"),
        (GO_VKEY.replace("c74f20a3", "c74f20a4"), "VKEY_ID"),
        (GO_VKEY.replace("PeterNeumann", "Peter Neumann"), "KEY_NAME"),
        (GO_VKEY.replace("PeterNeumann", ""), "KEY_NAME"),
        (GO_VKEY.replace("PeterNeumann", "\ud800"), "KEY_NAME"),
        (GO_VKEY + "\n", "BASE64"),
        (GO_VKEY + "é", "BASE64"),
    ],
)
def test_another_key_under_a_known_name_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        VerifierKey.parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x00", "x" * 256, "\u2003"]
)
def test_a_name_that_would_break_its_line_is_refused(name: str) -> None:
    with pytest.raises(MalformedError) as caught:
        check_key_name(name)
    assert caught.value.reason == "KEY_NAME"


def test_a_name_may_be_chinese() -> None:
    assert check_key_name("印信.example/日志") == "印信.example/日志"


@pytest.mark.parametrize(
    "text", ["YQ", "YR==", "YQ==\n", " YQ==", "YQ=", "Y-_=", "YQ===", "==", "é"]
)
def test_only_canonical_base64_is_read(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        b64_decode(text)
    assert caught.value.reason == "BASE64"


def test_base64_is_padded() -> None:
    assert b64_encode(b"a") == "YQ=="
    assert b64_decode("YQ==") == b"a"
