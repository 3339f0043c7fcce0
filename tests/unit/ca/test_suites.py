"""Certificates and lists in every suite and in chains of several, with `openssl` as the oracle.

OpenSSL 3.0 knows SM2 with two limits: the user ID reaches the target
certificate alone, so chains are verified link by link, and ``openssl crl``
takes no ID at all, so lists are verified as signatures over their TBS bytes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from support.hierarchy import Hierarchy
from support.lint import lint_certificate, lint_crl
from yinxin_ca.authority import to_pem
from yinxin_proto import pem
from yinxin_proto.certificate import Certificate, parse, verify_chain, verify_link
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.sm2 import SM2
from yinxin_proto.suite import ES256, Suite

MIXES: Mapping[str, tuple[Suite, Suite]] = {
    "SM2": (SM2, SM2),
    "SM2 under ML-DSA-65": (SM2, ML_DSA_65),
    "ES256 under ML-DSA-65": (ES256, ML_DSA_65),
    "ES256 under SM2": (ES256, SM2),
    "ML-DSA-65": (ML_DSA_65, ML_DSA_65),
}
WEEK = timedelta(days=7)


@pytest.fixture(scope="module", params=MIXES)
def region(request: pytest.FixtureRequest) -> Hierarchy:
    suite, root_suite = MIXES[request.param]
    return Hierarchy(suite=suite, root_suite=root_suite)


def suites_of(region: Hierarchy) -> dict[bytes, Suite]:
    """Suites by the issuer's certificate, as a trust record would tell them."""
    return {
        region.root.certificate: region.root_suite,
        region.licences.certificate: region.suite,
        region.status.certificate: region.suite,
        region.tls.certificate: ES256,
        region.seals.certificate: region.suite,
        region.timestamps.certificate: region.suite,
        region.members.certificate: region.suite,
    }


def renumbered(der: bytes) -> bytes:
    """Return a certificate whose serial number somebody changed by one bit."""
    number = parse(der).serial_number.to_bytes(20, "big")
    return der.replace(number, number[:-1] + bytes([number[-1] ^ 1]), 1)


def test_every_chain_holds_by_the_suite_of_each_issuer(region: Hierarchy) -> None:
    suites = suites_of(region)
    by_name = {parse(der).subject: der for der in suites}
    for leaf in region.leaves().values():
        middle = by_name[parse(leaf).issuer]
        verify_chain(
            [parse(leaf), parse(middle)],
            parse(region.root.certificate),
            lambda issuer: suites[issuer.der],
            at=region.clock.now(),
        )


def test_a_link_is_refused_under_another_suite(region: Hierarchy) -> None:
    child, issuer = parse(region.licences.certificate), parse(region.root.certificate)
    suites: list[Suite] = [ES256, SM2, ML_DSA_65]
    suites.remove(region.root_suite)
    for other in suites:
        with pytest.raises(VerificationError) as caught:
            verify_link(child, issuer, other, intermediates=0)
        assert caught.value.reason == "CHAIN_ALGORITHM"


def test_an_altered_certificate_is_refused(region: Hierarchy) -> None:
    der, issuer = region.licence_certificate(), parse(region.licences.certificate)
    altered = renumbered(der)
    with pytest.raises(VerificationError) as caught:
        verify_link(parse(altered), issuer, region.suite)
    assert caught.value.reason == "CHAIN_SIGNATURE"


def test_lists_verify_and_subtract(region: Hierarchy) -> None:
    serial = parse(region.licence_certificate()).serial_number
    region.licences.revoke(serial, RevocationReason.KEY_COMPROMISE)
    for authority, suite in ((region.root, region.root_suite), (region.licences, region.suite)):
        der = authority.sign_crl(lifetime=WEEK)
        listed = parse_crl(der).verify(parse(authority.certificate), suite=suite)
        assert (serial in listed.entries) is (authority is region.licences)
        altered = bytearray(der)
        altered[-1] ^= 1
        with pytest.raises((VerificationError, MalformedError)):
            parse_crl(bytes(altered)).verify(parse(authority.certificate), suite=suite)


def test_pkilint_finds_nothing(region: Hierarchy) -> None:
    # It cannot tell whether a root of these suites signed itself, and says so; we can.
    [notice] = lint_certificate(region.root.certificate)
    assert notice.startswith("NOTICE: pkix.aki_absent_self_issued_and_unsupported_algorithm")
    root = parse(region.root.certificate)
    verify_link(root, root, region.root_suite)
    certificates = [region.licences.certificate, region.tls.certificate, *region.leaves().values()]
    assert [lint_certificate(der) for der in certificates] == [[]] * len(certificates)
    assert lint_crl(region.licences.sign_crl(lifetime=WEEK)) == []


# --- SM2 and openssl ---------------------------------------------------------------


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def evp_verifies(folder: Path, spki: bytes, signature: bytes, tbs: bytes) -> bool:
    """Ask `openssl pkeyutl`, with the ID, over exact bytes."""
    for name, content in (("spki", spki), ("signature", signature), ("tbs", tbs)):
        (folder / name).write_bytes(content)
    said = openssl(
        *("pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pubin", "-keyform", "DER"),
        *("-inkey", folder / "spki", "-in", folder / "tbs", "-sigfile", folder / "signature"),
        *("-pkeyopt", "distid:1234567812345678"),
    )
    return "Verified Successfully" in said


@pytest.fixture(scope="module")
def sm2_region() -> Hierarchy:
    return Hierarchy(suite=SM2, root_suite=SM2)


def link_verifies(region: Hierarchy, folder: Path, child: bytes, issuer: bytes) -> str:
    (folder / "child.pem").write_bytes(to_pem([child]))
    (folder / "issuer.pem").write_bytes(to_pem([issuer]))
    return openssl(
        *("verify", "-partial_chain", "-x509_strict", "-purpose", "any"),
        *("-attime", str(int(region.clock.now().timestamp()) + 60)),
        *("-trusted", folder / "issuer.pem"),
        *("-vfyopt", "distid:1234567812345678", folder / "child.pem"),
    )


def test_openssl_verifies_our_certificates_link_by_link(
    sm2_region: Hierarchy, tmp_path: Path
) -> None:
    region = sm2_region
    root = region.root.certificate
    links = [(der.certificate, root) for der in (region.licences, region.status, region.tls)]
    links += [(region.licence_certificate(), region.licences.certificate)]
    links += [(region.status_certificate(), region.status.certificate)]
    for child, issuer in links:
        assert link_verifies(region, tmp_path, child, issuer).strip().endswith("OK")
        assert "signature failure" in link_verifies(region, tmp_path, renumbered(child), issuer)


def test_openssl_verifies_our_lists_over_their_bytes(sm2_region: Hierarchy, tmp_path: Path) -> None:
    region = sm2_region
    crl = x509.load_der_x509_crl(region.licences.sign_crl(lifetime=WEEK))
    spki = parse(region.licences.certificate).spki
    tbs = crl.tbs_certlist_bytes
    assert evp_verifies(tmp_path, spki, crl.signature, tbs)
    assert not evp_verifies(tmp_path, spki, crl.signature, tbs[:-1] + bytes([tbs[-1] ^ 1]))


def test_we_verify_what_openssl_signed(sm2_region: Hierarchy, tmp_path: Path) -> None:
    key, made = tmp_path / "key.pem", tmp_path / "made.pem"
    openssl("genpkey", "-algorithm", "SM2", "-out", key)
    openssl(
        *("req", "-x509", "-sm3", "-key", key, "-out", made, "-days", "10"),
        *("-subj", "/O=Invented CA", "-sigopt", "distid:1234567812345678"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    certificate = parse(pem.decode(made.read_bytes())[1])
    verify_link(certificate, certificate, SM2)
    # Without the ID OpenSSL 3.0 signs under an empty one: not what anybody else verifies.
    openssl(
        *("req", "-x509", "-sm3", "-key", key, "-out", made, "-days", "10"),
        *("-subj", "/O=Invented CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    nameless = parse(pem.decode(made.read_bytes())[1])
    with pytest.raises(VerificationError) as caught:
        verify_link(nameless, nameless, SM2)
    assert caught.value.reason == "CHAIN_SIGNATURE"


def test_openssl_certifies_our_key_and_we_verify_it(tmp_path: Path) -> None:
    ours, ca, request, made = (tmp_path / name for name in ("k", "ca", "csr", "crt"))
    signing = SM2.generate()
    ours.write_bytes(pem.encode(pem.PRIVATE_KEY, signing.to_pkcs8()))
    openssl("genpkey", "-algorithm", "SM2", "-out", ca)
    openssl(
        *("req", "-new", "-sm3", "-key", ours, "-out", request, "-subj", "/O=Invented"),
        *("-sigopt", "distid:1234567812345678"),
    )
    issuer = tmp_path / "issuer.pem"
    openssl(
        *("req", "-x509", "-sm3", "-key", ca, "-out", issuer, "-days", "10", "-subj", "/O=CA"),
        *("-sigopt", "distid:1234567812345678"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    (tmp_path / "extensions").write_text("keyUsage = digitalSignature\n")
    openssl(
        *("x509", "-req", "-sm3", "-in", request, "-CA", issuer, "-CAkey", ca, "-out", made),
        *("-sigopt", "distid:1234567812345678", "-vfyopt", "distid:1234567812345678"),
        *("-extfile", tmp_path / "extensions", "-days", "5"),
    )
    leaf: Certificate = parse(pem.decode(made.read_bytes())[1])
    assert leaf.spki == signing.public_key.spki
    verify_link(leaf, parse(pem.decode(issuer.read_bytes())[1]), SM2)


def test_the_library_agrees_on_ml_dsa() -> None:
    region = Hierarchy(suite=ML_DSA_65, root_suite=ML_DSA_65)
    root, licences, leaf = (
        x509.load_der_x509_certificate(der)
        for der in (
            region.root.certificate,
            region.licences.certificate,
            region.licence_certificate(),
        )
    )
    licences.verify_directly_issued_by(root)
    leaf.verify_directly_issued_by(licences)
    crl = x509.load_der_x509_crl(region.licences.sign_crl(lifetime=WEEK))
    public = licences.public_key()
    assert crl.is_signature_valid(public)  # type: ignore[arg-type]
