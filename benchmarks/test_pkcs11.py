"""Signing with a key in a PKCS#11 token, against the token's own rate.

The reference is python-pkcs11 alone: one open session, the key's handle at
hand, a digest signed in a loop (CKM_ECDSA, SoftHSM). The subject is the store's
`Signer`: hashing, the pool of sessions that threads share, and the guard
against a token that goes away. Then the same with two threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import pytest
from pairs import Pairs, Ratio, computed, one_core, stopwatch
from pkcs11 import Mechanism, ObjectClass
from pkcs11.types import SignMixin

from support.keystores import open_token
from support.softhsm import new_token
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.pkcs11_module import open_module
from yinxin_proto.signature import Signer
from yinxin_proto.suite import ES256

SIGNATURES: Final = 200
PAIRS: Final = 31
MESSAGE: Final = bytes(1600)
DIGEST: Final = sha256(MESSAGE).digest()
LICENCE: Final = KeyRef("11350399MB0000017D", Purpose.LICENCE)

Compare = Callable[..., Ratio]


@dataclass(frozen=True, slots=True)
class InToken:
    """One key, reached both ways."""

    raw: SignMixin
    ours: Signer

    def sign_raw(self) -> None:
        for _ in range(SIGNATURES):
            self.raw.sign(DIGEST, mechanism=Mechanism.ECDSA)

    def sign_ours(self) -> None:
        for _ in range(SIGNATURES):
            self.ours.sign(MESSAGE)


@pytest.fixture(scope="module")
def in_token() -> Iterator[InToken]:
    token = new_token()
    signer = open_token(token).generate(LICENCE, ES256)
    library = open_module(token.module).library
    session = library.get_token(token_label=token.label).open()
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=str(LICENCE))
    assert isinstance(key, SignMixin)
    signer.sign(MESSAGE)
    yield InToken(key, signer)
    session.close()


def test_a_signature_in_a_token(in_token: InToken, compare: Compare) -> None:
    pairs = Pairs(
        name="PKCS#11 (SoftHSM): sign ES256, share of the token's own rate",
        reference=computed(in_token.sign_raw, items=SIGNATURES),
        subject=computed(in_token.sign_ours, items=SIGNATURES),
        bar=0.8,
    )
    with one_core():
        compare(pairs, PAIRS)


def test_two_threads_sign_in_a_token(in_token: InToken, compare: Compare) -> None:
    """What a second thread adds: elapsed time for twice the work, against once."""

    def elapsed(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool, stopwatch() as seconds:
            list(pool.map(lambda _: in_token.sign_ours(), range(threads)))
        return seconds() / (SIGNATURES * threads)

    pairs = Pairs(
        name="PKCS#11 (SoftHSM): two threads, multiple of one",
        reference=lambda: elapsed(1),
        subject=lambda: elapsed(2),
        bar=None,
    )
    compare(pairs, PAIRS)
