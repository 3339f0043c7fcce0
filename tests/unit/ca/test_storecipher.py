"""Key directories under SM4, and how they differ from those under AES."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.masterkey import MASTER_FILE, MasterKey
from yinxin_ca.storecipher import AES_256_GCM, CIPHERS, SM4_GCM, aead
from yinxin_proto.error import ConfigurationError, KeyStoreError, WrongPassphraseError
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.sm2 import SM2
from yinxin_proto.suite import ES256

PASSPHRASE = "an invented passphrase"
KEY, OTHER, TLS = (
    KeyRef("350399", purpose) for purpose in (Purpose.LICENCE_CA, Purpose.ROOT, Purpose.TLS_SERVER)
)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_keys_of_every_suite_are_stored_under_either(cipher: str, tmp_path: Path) -> None:
    made = create_key_store(
        tmp_path,
        passphrase=PASSPHRASE,
        clock=FixedClock(),
        entropy=SeededEntropy(1),
        cipher=cipher,
    )
    for ref, suite in ((KEY, SM2), (OTHER, ML_DSA_65), (TLS, ES256)):
        made.generate(ref, suite)
    # The directory itself remembers: whoever opens it need not say.
    opened = open_key_store(
        tmp_path, passphrase=PASSPHRASE, clock=FixedClock(), entropy=SeededEntropy(2)
    )
    for ref in (KEY, OTHER, TLS):
        signer = opened.signer(ref)
        assert signer.public_key.spki == made.signer(ref).public_key.spki
        signer.public_key.verify(signer.sign(b"x"), b"x")
    named = json.loads((tmp_path / MASTER_FILE).read_text()).get("cipher", AES_256_GCM)
    assert named == cipher


def test_the_cipher_cannot_be_changed_from_outside(tmp_path: Path) -> None:
    MasterKey.create(tmp_path, passphrase=PASSPHRASE, entropy=SeededEntropy(1), cipher=SM4_GCM)
    file = tmp_path / MASTER_FILE
    members = json.loads(file.read_text())
    for other in ({"cipher": AES_256_GCM}, {"cipher": "DES"}, {"cipher": 4}):
        file.write_text(json.dumps(members | other))
        with pytest.raises((WrongPassphraseError, KeyStoreError)):
            MasterKey.open(tmp_path, passphrase=PASSPHRASE)
    file.write_text(json.dumps(members))
    opened = MasterKey.open(tmp_path, passphrase=PASSPHRASE)
    assert opened.cipher == SM4_GCM
    opened.change_passphrase(tmp_path, passphrase="another one", entropy=SeededEntropy(3))
    assert MasterKey.open(tmp_path, passphrase="another one") == opened


def test_one_key_serves_no_two_ciphers() -> None:
    key, nonce = bytes(32), bytes(12)
    sealed = aead(SM4_GCM, key).encrypt(nonce, b"text", b"beside")
    assert aead(SM4_GCM, key).decrypt(nonce, sealed, b"beside") == b"text"
    for cipher, beside in ((AES_256_GCM, b"beside"), (SM4_GCM, b"other")):
        with pytest.raises(InvalidTag):
            aead(cipher, key).decrypt(nonce, sealed, beside)
    assert sealed[4:] != aead(AES_256_GCM, key).encrypt(nonce, b"text", b"beside")[4:]


def test_another_cipher_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        aead("SM4-CBC", bytes(32))
    assert caught.value.reason == "CIPHER"
