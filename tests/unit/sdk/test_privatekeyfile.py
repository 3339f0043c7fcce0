"""Approval keys of every suite in PEM, under a passphrase of whoever made them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from yinxin import ApprovalKey, ConfigurationError, WrongPassphraseError
from yinxin_proto import pem
from yinxin_proto.signature import SigningKey
from yinxin_proto.suite import ES256, ML_DSA_65, SM2

KEYS = {"ES256": ES256.generate(), "SM2": SM2.generate(), "ML-DSA-65": ML_DSA_65.generate()}
PASSPHRASE = "an invented passphrase"
EACH = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


def sealed(key: SigningKey, folder: Path, *options: str) -> bytes:
    """Put a key under the passphrase, as openssl does."""
    plain = folder / "plain.pem"
    plain.write_bytes(pem.encode(pem.PRIVATE_KEY, key.to_pkcs8()))
    done = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", plain, "-passout", f"pass:{PASSPHRASE}", *options],
        check=True,
        capture_output=True,
    )
    return done.stdout


@EACH
def test_a_key_in_clear_signs(key: SigningKey) -> None:
    signer = ApprovalKey(pem.encode(pem.PRIVATE_KEY, key.to_pkcs8())).signer()
    assert signer.public_key == key.public_key
    key.public_key.verify(signer.sign(b"x"), b"x")


@pytest.mark.parametrize("cipher", ["sm4-cbc", "aes-256-cbc"])
@pytest.mark.parametrize("name", ["ES256", "SM2"])
def test_a_key_under_a_passphrase_signs(name: str, cipher: str, tmp_path: Path) -> None:
    key = KEYS[name]
    signer = ApprovalKey(sealed(key, tmp_path, "-v2", cipher), passphrase=PASSPHRASE).signer()
    assert signer.public_key == key.public_key


@pytest.mark.parametrize("name", ["ES256", "SM2"])
@pytest.mark.parametrize("passphrase", ["", "another", PASSPHRASE + " "])
def test_a_wrong_passphrase_opens_nothing(name: str, passphrase: str, tmp_path: Path) -> None:
    content = sealed(KEYS[name], tmp_path, "-v2", "sm4-cbc")
    with pytest.raises(WrongPassphraseError):
        ApprovalKey(content, passphrase=passphrase).signer()
    with pytest.raises(WrongPassphraseError) as caught:
        ApprovalKey(content).signer()
    assert caught.value.reason == "PASSPHRASE_REQUIRED"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no PEM at all",
        pem.encode(pem.PUBLIC_KEY, KEYS["SM2"].public_key.spki),
        pem.encode(pem.PRIVATE_KEY, KEYS["SM2"].to_pkcs8()[:-1]),
        pem.encode(pem.PRIVATE_KEY, b"\x30\x00"),
        pem.encode("EC PRIVATE KEY", KEYS["SM2"].to_pkcs8()),
    ],
)
def test_what_is_no_private_key_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ApprovalKey(content).signer()
    assert caught.value.reason == "APPROVAL_KEY"
