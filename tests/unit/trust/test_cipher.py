"""The ciphers at rest: which is written, and that each opens what it sealed."""

from __future__ import annotations

import pytest

from support.clock import SeededEntropy
from yinxin_proto.error import IntegrityError
from yinxin_proto.suite import ES256, ML_DSA_65, SM2
from yinxin_trust.cipher import AES_256, SM4, StorageCipher, cipher_for, unwrap
from yinxin_trust.suites import RegionSuites
from yinxin_trust.vault import Vault

BOTH = pytest.mark.parametrize("cipher", [AES_256, SM4], ids=lambda cipher: cipher.name)


def vault(cipher: StorageCipher, *, kek: int = 0) -> Vault:
    return Vault(
        key_encryption_keys={1: bytes([kek]) * 32},
        index_keys={1: bytes([1]) * 32},
        entropy=SeededEntropy("cipher"),
        cipher=cipher,
    )


def test_a_region_of_sm2_writes_sm4() -> None:
    assert cipher_for(RegionSuites(SM2, ML_DSA_65)) is SM4
    assert cipher_for(RegionSuites(ES256, SM2)) is AES_256


@BOTH
def test_a_value_opens_whatever_the_region_writes_today(cipher: StorageCipher) -> None:
    key, wrapped, _ = vault(cipher).new_key()
    assert len(wrapped) == cipher.wrapped_bytes
    sealed = key.seal(b"text", row=b"row")
    for today in (AES_256, SM4):
        assert vault(today).open_key(wrapped, kek_version=1).open(sealed, row=b"row") == b"text"


@BOTH
def test_a_sealed_value_is_bound_to_its_row(cipher: StorageCipher) -> None:
    key, _, _ = vault(cipher).new_key()
    for spoiled in (key.seal(b"text", row=b"other"), key.seal(b"text", row=b"row")[:-1], b""):
        with pytest.raises(IntegrityError) as caught:
            key.open(spoiled, row=b"row")
        assert caught.value.reason == "SEAL_BROKEN"


@BOTH
def test_an_altered_wrapped_key_does_not_unwrap(cipher: StorageCipher) -> None:
    _, wrapped, _ = vault(cipher).new_key()
    for spoiled in (wrapped[:-1], wrapped + b"\0", wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b""):
        with pytest.raises(IntegrityError):
            vault(cipher).open_key(spoiled, kek_version=1)
    with pytest.raises(IntegrityError):
        vault(cipher, kek=9).open_key(wrapped, kek_version=1)


@BOTH
def test_rewrapping_keeps_the_cipher(cipher: StorageCipher) -> None:
    _, wrapped, _ = vault(cipher).new_key()
    other = AES_256 if cipher is SM4 else SM4
    again, version = vault(other).rewrap(wrapped, kek_version=1)
    assert unwrap(bytes(32), again)[0] is cipher
    assert version == 1
