"""Offline verification of one licence, against verifying its bytes with P-256 alone.

The reference is what no verifier can go below: `cryptography`'s ECDSA over the
same signing input, key loaded, signature already in DER. The subject is the
product: parse, key and chain by the trust list (cached chain), signature,
disclosures, claims, identifier, validity, status, scope. Two hundred licences
of one authority take turns, each parsed and judged from its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest
from city import City
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwcrypto.jwk import JWK
from pairs import Pairs, Ratio, computed, one_core
from sd_jwt.verifier import SDJWTVerifier

from yinxin_edge.clock import SystemClock
from yinxin_proto import certificate, sdjwt
from yinxin_proto.jose import x5c_chain
from yinxin_proto.suite import ES256
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence, TrustSet
from yinxin_verifier.policy import OFFLINE, Policy, ReceiptRule
from yinxin_verifier.report import Indication, Report

LICENCES: Final = 240
PAIRS: Final = 31
WITHOUT_RECEIPT: Final = replace(OFFLINE, name="BENCHMARK", receipt=ReceiptRule.NOT_REQUIRED)

Compare = Callable[..., Ratio]


@dataclass(frozen=True, slots=True)
class Signed:
    """What `cryptography` is given: exactly the bytes that the licence's signature covers."""

    signature: bytes
    """DER."""
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Two hundred and forty licences of one authority, as they reach a verifier."""

    trust: TrustSet
    key: ec.EllipticCurvePublicKey
    raw: list[Signed]
    bare: list[str]
    """With no field disclosed."""
    ten: list[str]
    """With ten fields disclosed."""
    files: list[bytes]
    """Whole licence files: every field, opening, receipt."""
    files_bare: list[bytes]
    """Opening and receipt, and no field."""


@pytest.fixture(scope="module")
def presented() -> Presented:
    city = City.found()
    records = city.issue(LICENCES)
    receipts = city.receipts(records)
    tokens = [sdjwt.parse(record.sd_jwt) for record in records]
    bare = [token.select(lambda _: False) for token in tokens]
    with city.region:
        return Presented(
            trust=city.trust(),
            key=_signing_key(tokens[0]),
            raw=[_raw(token) for token in tokens],
            bare=[token.to_text() for token in bare],
            ten=[_show(token, 10) for token in tokens],
            files=[record.file(receipts[record.entry]) for record in records],
            files_bare=[
                replace(record, sd_jwt=token.to_text()).file(receipts[record.entry])
                for record, token in zip(records, bare, strict=True)
            ],
        )


def _show(token: sdjwt.SdJwt, count: int) -> str:
    shown = token.encoded_disclosures[:count]
    assert len(shown) == count
    return sdjwt.SdJwt(jws=token.jws, encoded_disclosures=shown, key_binding=None).to_text()


def _signing_key(token: sdjwt.SdJwt) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(certificate.parse(x5c_chain(token.header)[0]).spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _raw(token: sdjwt.SdJwt) -> Signed:
    return Signed(ES256.to_x509_signature(token.jws.signature), token.jws.signing_input)


def _verify_raw(presented: Presented) -> Callable[[], None]:
    algorithm = ec.ECDSA(hashes.SHA256())

    def run() -> None:
        for signed in presented.raw:
            presented.key.verify(signed.signature, signed.message, algorithm)

    return run


def _verify(
    presented: Presented,
    licences: list[str] | list[bytes],
    policy: Policy,
    read: Callable[[Report], object] = lambda report: report.indication,
) -> Callable[[], None]:
    now = SystemClock().now()
    trust = presented.trust

    def run() -> None:
        for licence in licences:
            report = verify(Evidence(licence=licence, trust=trust), policy, now)
            read(report)

    for licence in licences:
        report = verify(Evidence(licence=licence, trust=trust), policy, now)
        assert report.indication is Indication.TOTAL_PASSED, report.reason
    return run


def _pairs(presented: Presented, name: str, work: Callable[[], None], bar: float | None) -> Pairs:
    return Pairs(
        name=name,
        reference=computed(_verify_raw(presented), items=LICENCES),
        subject=computed(work, items=LICENCES),
        bar=bar,
    )


@pytest.mark.parametrize(("shown", "bar"), [("none", 0.65), ("ten", 0.45)])
def test_offline_verification(
    presented: Presented, compare: Compare, shown: str, bar: float
) -> None:
    licences = presented.bare if shown == "none" else presented.ten
    with one_core():
        name = f"offline verification, {shown} disclosed / P-256"
        compare(_pairs(presented, name, _verify(presented, licences, WITHOUT_RECEIPT), bar), PAIRS)


@pytest.mark.parametrize("shown", ["none", "ten"])
def test_offline_verification_with_every_check_written_out(
    presented: Presented, compare: Compare, shown: str
) -> None:
    licences = presented.bare if shown == "none" else presented.ten
    work = _verify(presented, licences, WITHOUT_RECEIPT, lambda report: report.checks)
    with one_core():
        name = f"  the same, {shown} disclosed, checks materialised"
        compare(_pairs(presented, name, work, None), PAIRS)


@pytest.mark.parametrize("shown", ["none", "all"])
def test_offline_verification_of_a_file_with_its_receipt(
    presented: Presented, compare: Compare, shown: str
) -> None:
    licences = presented.files_bare if shown == "none" else presented.files
    with one_core():
        name = f"  licence file with opening and receipt, {shown} disclosed"
        compare(_pairs(presented, name, _verify(presented, licences, OFFLINE), None), PAIRS)


@pytest.mark.parametrize("shown", ["none", "ten"])
def test_the_reference_library(presented: Presented, compare: Compare, shown: str) -> None:
    jwk = JWK.from_pyca(presented.key)
    licences = presented.bare if shown == "none" else presented.ten

    def run() -> None:
        for licence in licences:
            SDJWTVerifier(licence, lambda *_: jwk).get_verified_payload()

    with one_core():
        name = f"  `sd-jwt` 0.10.4, signature and disclosures, {shown} disclosed"
        compare(_pairs(presented, name, run, None), PAIRS)
