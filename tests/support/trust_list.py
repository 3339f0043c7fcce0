"""A trust list of an invented region, as tests and vectors use it."""

from __future__ import annotations

import hashlib

from yinxin_proto.suite import ES256
from yinxin_proto.trustlist import (
    Anchors,
    Authority,
    FrozenHead,
    KeyPurpose,
    KeyRecord,
    KeyState,
    LogCosigner,
    LogKey,
    LogKind,
    Pin,
    TrustList,
    TypeScope,
    Witnesses,
)
from yinxin_proto.vkey import SignatureType, VerifierKey

REGION = "350399"
DOMAIN = "licence.putian.example"
ISSUED_AT = 1_767_225_600
"""2026-01-01T00:00:00Z."""
ORIGIN = f"{DOMAIN}/log/{REGION}/licences/1"
CLOSED = f"{DOMAIN}/log/{REGION}/licences/2"
"""The epoch after it, whose key was retired in the ordinary way."""
CODES = ("113503000000000191", "11350300000000027U")
"""Credit codes whose check digits hold, of bodies that do not exist."""
TYPE = "11100000MB03271699001"


def spki(secret: int) -> bytes:
    """Return the public key of a fixed ES256 key."""
    return ES256.load_deterministic(secret).public_key.spki


def vkey(name: str, seed: int, kind: SignatureType = SignatureType.ED25519) -> str:
    """Return a verifier key that nobody holds the private half of."""
    public = hashlib.sha256(f"an invented key {seed}".encode()).digest()
    if kind is SignatureType.ML_DSA_44_COSIGNATURE:
        public *= 41
    return VerifierKey(name=name, type=kind, public_key=public).to_text()


def record(
    secret: int,
    purpose: KeyPurpose = KeyPurpose.LICENCE,
    *,
    state: KeyState = KeyState.ACTIVE,
    not_after: int | None = None,
    pin: Pin | None = None,
) -> KeyRecord:
    """Return the record of a fixed ES256 key."""
    return KeyRecord(
        suite="ES256",
        purpose=purpose,
        spki=spki(secret),
        state=state,
        not_before=ISSUED_AT,
        not_after=not_after,
        pin=pin,
    )


def pin() -> Pin:
    """Return a pin with two re-attested ranges."""
    return Pin(
        origin=ORIGIN,
        n_stop=1000,
        root=hashlib.sha256(b"an invented tree").digest(),
        n_safe=900,
        reattested=((901, 905), (950, 951)),
    )


def retired_pin() -> Pin:
    """Return the pin of a key that was retired in the ordinary way."""
    root = hashlib.sha256(b"an invented smaller tree").digest()
    return Pin(origin=ORIGIN, n_stop=500, root=root, n_safe=500)


def cosigner(origin: str, seed: int) -> LogCosigner:
    """Return a cosigner that nobody holds the private half of."""
    return LogCosigner(
        vkey=vkey(origin, seed, SignatureType.ML_DSA_44_COSIGNATURE),
        certificate=b"\x30cosigner-%d" % seed,
    )


def trust_list() -> TrustList:
    """Return a list that has every shape of member at least once."""
    return TrustList(
        region=REGION,
        domain=DOMAIN,
        issued_at=ISSUED_AT,
        anchors=Anchors(
            root=b"\x30root",
            licence=(b"\x30licence-ca-1", b"\x30licence-ca-2"),
            status=(b"\x30status-ca",),
            tls=(b"\x30tls-ca",),
            pq_root=b"\x30parallel-root",
        ),
        authorities=(
            Authority(
                code=CODES[0],
                name="虚构市场监督管理局",
                name_en="An Invented Market Regulator",
                types=(
                    TypeScope(type=TYPE, not_before=ISSUED_AT, not_after=ISSUED_AT + 99),
                    TypeScope(type=TYPE, not_before=ISSUED_AT + 100),
                ),
                keys=(
                    record(101),
                    record(102, state=KeyState.COMPROMISED, pin=pin()),
                    record(
                        103,
                        state=KeyState.RETIRED,
                        not_after=ISSUED_AT + 500,
                        pin=retired_pin(),
                    ),
                    record(104, KeyPurpose.APPROVAL),
                    record(105, KeyPurpose.REQUEST, state=KeyState.SUSPENDED),
                ),
            ),
            Authority(code=CODES[1], name="虚构卫生健康委员会"),
        ),
        status_keys=(record(106, KeyPurpose.STATUS),),
        logs=(
            LogKey(
                origin=ORIGIN,
                kind=LogKind.LICENCES,
                vkey=vkey(ORIGIN, 1),
                frozen_at=FrozenHead(size=7, root=bytes(32)),
            ),
            LogKey(
                origin=f"{DOMAIN}/log/{REGION}/uses/1",
                kind=LogKind.USES,
                vkey=vkey(f"{DOMAIN}/log/{REGION}/uses/1", 2),
                cosigner=cosigner(f"{DOMAIN}/log/{REGION}/uses/1", 4),
                ed25519_broken=True,
            ),
            LogKey(
                origin=CLOSED,
                kind=LogKind.LICENCES,
                vkey=vkey(CLOSED, 5),
                closed_at=FrozenHead(size=2000, root=bytes(32)),
                cosigner=cosigner(CLOSED, 6),
            ),
        ),
        witnesses=Witnesses(
            quorum=1, keys=(vkey("witness.example", 3, SignatureType.ED25519_COSIGNATURE),)
        ),
    )
