"""OCSP answers, shards and time-stamps in every suite; OpenSSL's EVP as oracle for SM2.

OpenSSL 3.0 has no user ID for OCSP or CMS: their signatures are verified over
the exact bytes that they cover.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from support.clock import SeededEntropy
from support.hierarchy import Hierarchy
from support.lint import lint_crl, lint_ocsp
from support.openssl import needs_openssl, openssl
from yinxin_ca.keystore import Purpose
from yinxin_ca.ocsp import Delegation, OcspResponder
from yinxin_ca.timestamp import Failure, TimestampAuthority
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import VerificationError
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.ocsp import OcspStatus, parse_ocsp
from yinxin_proto.sm2 import SM2
from yinxin_proto.suite import ES256, Suite
from yinxin_proto.timestamp import SM3, Imprint
from yinxin_proto.timestamp_token import token_of, verify_token

HOUR = timedelta(hours=1)
SUITES: dict[str, Suite] = {"SM2": SM2, "ML-DSA-65": ML_DSA_65}


@pytest.fixture(scope="module", params=SUITES)
def region(request: pytest.FixtureRequest) -> Hierarchy:
    suite = SUITES[request.param]
    # The root of another suite: a chain of two.
    return Hierarchy(suite=suite, root_suite=ML_DSA_65)


def evp_verifies(folder: Path, key: Certificate, signature: bytes, covered: bytes) -> bool:
    """Ask OpenSSL's EVP for SM2 with SM3, with the ID, over exact bytes."""
    for name, content in (("spki", key.spki), ("signature", signature), ("bytes", covered)):
        (folder / name).write_bytes(content)
    done: subprocess.CompletedProcess[str] = openssl(
        *("pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pubin", "-keyform", "DER"),
        *("-inkey", "spki", "-in", "bytes", "-sigfile", "signature"),
        *("-pkeyopt", "distid:1234567812345678"),
        cwd=folder,
    )
    return "Verified Successfully" in done.stdout + done.stderr


def _answer(region: Hierarchy, leaf: Certificate) -> tuple[Certificate, bytes]:
    key = region.suite.generate()
    issuer = parse(region.licences.certificate)
    responder = parse(region.responder_certificate(region.licences, key.public_key))
    delegation = Delegation(
        issuer=issuer,
        register=region.registers[Purpose.LICENCE_CA],
        responder=responder,
        signer=key,
    )
    desk = OcspResponder(delegation=delegation.of, clock=region.clock, lifetime=HOUR)
    request = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(leaf.der),
        x509.load_der_x509_certificate(issuer.der),
        hashes.SHA256(),
    )
    return responder, desk.answer(request.build().public_bytes(Encoding.DER)).der


def test_an_answer_holds_under_its_suite_and_no_other(region: Hierarchy) -> None:
    leaf, issuer = parse(region.licence_certificate()), parse(region.licences.certificate)
    region.licences.revoke(leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    _, der = _answer(region, leaf)
    said = parse_ocsp(der).verify(leaf, issuer, suite=region.suite, at=region.clock.now())
    assert (said.status, said.reason) == (OcspStatus.REVOKED, RevocationReason.KEY_COMPROMISE)
    assert lint_ocsp(der) == []
    with pytest.raises(VerificationError):
        parse_ocsp(der).verify(leaf, issuer, suite=ES256, at=region.clock.now())


def test_shards_hold(region: Hierarchy) -> None:
    region.locate_licences(shards=2)
    leaf, issuer = parse(region.licence_certificate()), parse(region.licences.certificate)
    region.licences.revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    lists = region.licences.sign_crls(lifetime=HOUR)
    assert [lint_crl(der) for der in lists.values()] == [[]] * len(lists)
    speaking = [parse_crl(der).verify(issuer, suite=region.suite) for der in lists.values()]
    (own,) = [listed for listed in speaking if listed.addresses and listed.covers(leaf)]
    assert leaf.serial_number in own.entries


def _stamp(region: Hierarchy, imprint: Imprint) -> tuple[Certificate, bytes, Failure | None]:
    key = region.suite.generate()
    own = region.timestamp_certificate(key.public_key)
    authority = TimestampAuthority(
        chain=region.timestamps.chain(own),
        signer=key,
        book=InMemoryTimestampBook(entropy=SeededEntropy()),
        clock=region.clock,
    )
    request = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": {"algorithm": imprint.algorithm},
                "hashed_message": imprint.digest,
            },
            "cert_req": True,
        }
    ).dump()
    reply = authority.answer(request)
    return parse(own), reply.der, reply.failure


def test_a_token_holds_through_suites_of_several_kinds(region: Hierarchy) -> None:
    imprint = Imprint.of(b"data")
    _, reply, failure = _stamp(region, imprint)
    assert failure is None
    root = parse(region.root.certificate)

    def suite_of(issuer: Certificate) -> Suite:
        return region.root_suite if issuer.der == root.der else region.suite

    said = verify_token(token_of(reply), imprint, anchor=root, suite=suite_of)
    assert said.at == region.clock.now()
    issuing = parse(region.timestamps.certificate)
    assert verify_token(token_of(reply), imprint, anchor=issuing, suite=region.suite) == said
    with pytest.raises(VerificationError):
        verify_token(token_of(reply), imprint, anchor=issuing, suite=ES256)


def test_sm3_is_stamped_where_sm2_signs_and_nowhere_else() -> None:
    imprint = Imprint.of(b"data", SM3)
    assert _stamp(Hierarchy(suite=SM2), imprint)[2] is None
    assert _stamp(Hierarchy(), imprint)[2] is Failure.BAD_ALGORITHM


@needs_openssl
def test_evp_verifies_sm2_answers_shards_and_tokens_over_their_bytes(tmp_path: Path) -> None:
    region = Hierarchy(suite=SM2, root_suite=SM2)
    region.locate_licences(shards=2)
    leaf, issuer = parse(region.licence_certificate()), parse(region.licences.certificate)

    responder, der = _answer(region, leaf)
    answer = ocsp.load_der_ocsp_response(der)
    covered = answer.tbs_response_bytes
    assert evp_verifies(tmp_path, responder, answer.signature, covered)
    assert not evp_verifies(tmp_path, responder, answer.signature, covered[:-1] + b"\0")

    for encoded in region.licences.sign_crls(lifetime=HOUR).values():
        crl = x509.load_der_x509_crl(encoded)
        assert evp_verifies(tmp_path, issuer, crl.signature, crl.tbs_certlist_bytes)

    stamper, reply, _ = _stamp(region, Imprint.of(b"data", SM3))
    (signer,) = cms.ContentInfo.load(token_of(reply))["content"]["signer_infos"]
    covered = signer["signed_attrs"].untag().dump()
    assert evp_verifies(tmp_path, stamper, signer["signature"].native, covered)
    assert not evp_verifies(tmp_path, stamper, signer["signature"].native, covered[:-1] + b"\0")
