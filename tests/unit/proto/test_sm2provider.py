"""Which libcrypto is relied on: known answers first, and advice where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yinxin_proto import sm2curve
from yinxin_proto.error import ConfigurationError, FailedPreconditionError, UnavailableError
from yinxin_proto.libcrypto import Key, Libcrypto
from yinxin_proto.sm2provider import Sm2Provider, provider, self_test, use

LIBRARY = provider().require()


class Faulty:
    """A library that is right in all but what a test changes."""

    def __init__(self, **changes: object) -> None:
        self._changes = changes

    def __getattr__(self, name: str) -> object:
        return self._changes.get(name, getattr(LIBRARY, name))

    def generate(self) -> tuple[bytes, bytes]:
        return LIBRARY.generate()

    def load_private(self, der: bytes) -> tuple[Key, bytes]:
        key, spki = LIBRARY.load_private(der)
        return key, self._changes.get("spki", spki)  # type: ignore[return-value]

    def load_public(self, spki: bytes) -> Key:
        return LIBRARY.load_public(spki)

    def sign(self, key: Key, user_id: bytes, message: bytes) -> bytes:
        kind = self._changes.get("signs")
        if kind == "always the same":
            return bytes.fromhex(
                "3046022100f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
                "022100b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
            )
        if kind == "without the identity":
            return LIBRARY.sign(key, b"", message)
        if kind == "nothing":
            raise UnavailableError("it could not sign")
        return LIBRARY.sign(key, user_id, message)

    def verify(self, key: Key, user_id: bytes, der: bytes, message: bytes) -> bool:
        kind = self._changes.get("verifies")
        if kind == "everything":
            return True
        if kind == "nothing":
            return False
        if kind == "without the identity":
            return LIBRARY.verify(key, sm2curve.USER_ID, der, message)
        return LIBRARY.verify(key, user_id, der, message)


def test_a_sound_library_passes() -> None:
    self_test(LIBRARY)
    self_test(Faulty())


@pytest.mark.parametrize(
    "change",
    [
        {"signs": "always the same"},
        {"signs": "without the identity"},
        {"signs": "nothing"},
        {"verifies": "everything"},
        {"verifies": "nothing"},
        {"verifies": "without the identity"},
        {"spki": b"another key"},
    ],
    ids=str,
)
def test_a_library_that_errs_is_never_relied_on(change: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        self_test(Faulty(**change))
    assert caught.value.reason == "LIBCRYPTO_SELF_TEST"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("libno-such-crypto.so", "LIBCRYPTO_MISSING"), ("libc.so.6", "LIBCRYPTO_VERSION")],
)
def test_another_library_is_refused_with_advice(name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Libcrypto(name)
    assert caught.value.reason == reason
    unfit = Sm2Provider((name,))
    assert unfit.find() is None
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"YINXIN_LIBCRYPTO.*--suite ES256") as refused:
            unfit.require()
        assert refused.value.reason == "SM2_UNAVAILABLE"


def test_the_first_library_that_passes_is_taken() -> None:
    found = Sm2Provider(("libno-such-crypto.so", "libc.so.6", LIBRARY.name)).require()
    assert found.name == LIBRARY.name
    assert found.version.startswith("3.")


def test_the_library_is_not_changed_under_keys_in_use() -> None:
    use("")
    with pytest.raises(FailedPreconditionError) as caught:
        use("libother.so")
    assert caught.value.reason == "LIBCRYPTO_IN_USE"
    assert provider().require() is LIBRARY


WITHOUT_SM2 = """
openssl_conf = all
[all]
providers = some
[some]
base = on
[on]
activate = 1
"""
"""A configuration that leaves OpenSSL with encoders alone, as a build without SM2 would be."""

SCRIPT = """
from yinxin_proto.error import ConfigurationError
from yinxin_proto.sm2 import SM2
from yinxin_proto.sm2der import public_info
from yinxin_proto.sm2provider import _POINT, _SIGNATURE, provider
public = SM2.load_public(public_info(_POINT))
public.verify(_SIGNATURE, b"message digest")
for act in (SM2.generate, lambda: SM2.load_scalar(bytes(31) + b"x")):
    try:
        act()
    except ConfigurationError as error:
        print(error.reason, error.__cause__.reason)
"""


def test_without_sm2_this_process_verifies_and_never_signs(tmp_path: Path) -> None:
    settings = tmp_path / "openssl.cnf"
    settings.write_text(WITHOUT_SM2)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"OPENSSL_CONF": str(settings)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["SM2_UNAVAILABLE", "LIBCRYPTO_SM2"] * 2, done.stderr
