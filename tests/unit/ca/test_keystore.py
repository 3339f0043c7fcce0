from __future__ import annotations

import pytest

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import InvalidArgumentError


def test_a_key_name_reads_back_as_it_was_written() -> None:
    ref = KeyRef("11350399MB0000017D", Purpose.LICENCE, 12)
    assert str(ref) == "11350399MB0000017D.licence.12"
    assert KeyRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("350399.licence", "KEY_NAME"),
        ("350399.licence.0", "KEY_NAME"),
        ("350399.licence.01", "KEY_NAME"),
        ("350399.licence.1.key", "KEY_NAME"),
        ("350399.licence.１", "KEY_NAME"),
        ("350399.signing.1", "KEY_PURPOSE"),
        ("../etc/passwd.licence.1", "KEY_NAME"),
        ("a/b.licence.1", "KEY_OWNER"),
        (".licence.1", "KEY_OWNER"),
        (f"{'a' * 65}.licence.1", "KEY_OWNER"),
        ("a\n.licence.1", "KEY_OWNER"),
    ],
)
def test_what_is_no_key_name_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        KeyRef.parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("version", [0, -1, 1_000_000, True])
def test_a_version_out_of_bounds_is_refused(version: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        KeyRef("350399", Purpose.ROOT, version)
    assert caught.value.reason == "KEY_VERSION"
