"""What other processes do with a token, for tests of several at once."""

from __future__ import annotations

import sys
import time

from support.keystores import open_token
from support.softhsm import SoftToken
from yinxin_ca.keystore import KeyRef
from yinxin_proto.error import YinxinError
from yinxin_proto.suite import ES256


def sign_in_child(token: SoftToken, name: str) -> None:
    signer = open_token(token).signer(KeyRef.parse(name))
    signer.public_key.verify(signer.sign(b"spawned"), b"spawned")


def take_name(token: SoftToken, name: str, at: float) -> None:
    store = open_token(token)
    time.sleep(max(0.0, at - time.monotonic()))
    try:
        store.generate(KeyRef.parse(name), ES256)
    except YinxinError as error:
        if error.reason not in {"KEY_EXISTS", "TOKEN_GONE"}:
            sys.exit(repr(error))
