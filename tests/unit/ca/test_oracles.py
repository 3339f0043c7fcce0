"""What we sign, as others read it: pkilint, OpenSSL and cryptography's verifier."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from support.hierarchy import DOMAIN, Hierarchy
from support.lint import lint_certificate, lint_crl, lint_pair
from support.openssl import needs_openssl, openssl
from yinxin_ca.authority import to_pem
from yinxin_ca.profile import PROFILES
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason


@pytest.fixture(scope="module")
def region() -> Hierarchy:
    return Hierarchy()


AUTHORITIES = ["root", "licences", "status", "tls", "seals", "timestamps", "members"]
LEAVES = [
    "licence",
    "status",
    "tls-server",
    "tls-client",
    "seal",
    "personal-signature",
    "timestamp",
    "department",
    "operator",
    "ocsp-responder",
]


@pytest.mark.parametrize("name", AUTHORITIES)
def test_pkilint_finds_nothing_in_an_authority(region: Hierarchy, name: str) -> None:
    assert lint_certificate(getattr(region, name).certificate) == []


def test_every_profile_is_gone_over() -> None:
    authorities = {name for name, profile in PROFILES.items() if profile.is_authority}
    assert {*LEAVES} | authorities == {*PROFILES}


@pytest.mark.parametrize("name", LEAVES)
def test_pkilint_finds_nothing_in_a_leaf(region: Hierarchy, name: str) -> None:
    assert lint_certificate(region.leaves()[name]) == []


@pytest.mark.parametrize("name", LEAVES)
def test_pkilint_finds_nothing_between_a_leaf_its_issuer_and_the_root(
    region: Hierarchy, name: str
) -> None:
    issuer = region.issuer_of(name).certificate
    assert lint_pair(issuer, region.leaves()[name]) == []
    assert lint_pair(region.root.certificate, issuer) == []


@pytest.mark.parametrize("name", AUTHORITIES)
def test_pkilint_finds_nothing_in_a_list(region: Hierarchy, name: str) -> None:
    authority = getattr(region, name)
    assert lint_crl(authority.sign_crl(lifetime=timedelta(days=7))) == []


def test_pkilint_finds_nothing_in_a_list_with_entries() -> None:
    region = Hierarchy()
    for reason in RevocationReason:
        serial = parse(region.licence_certificate()).serial_number
        region.licences.revoke(serial, reason)
    assert lint_crl(region.licences.sign_crl(lifetime=timedelta(days=7))) == []


def test_the_lint_does_find_what_is_wrong(region: Hierarchy) -> None:
    leaf = region.licence_certificate()
    assert lint_certificate(leaf.replace(b"\x02CN", b"\x02C\x01", 1)) != []


def _write(path: Path, *certificates: bytes) -> Path:
    path.write_bytes(to_pem(certificates))
    return path


@needs_openssl
@pytest.mark.parametrize(
    ("leaf", "purpose"),
    [
        ("licence", "any"),
        ("status", "any"),
        ("tls-server", "sslserver"),
        ("tls-client", "sslclient"),
        ("seal", "any"),
        ("personal-signature", "any"),
        ("timestamp", "timestampsign"),
        ("department", "any"),
        ("operator", "any"),
        ("ocsp-responder", "ocsphelper"),
    ],
)
def test_openssl_verifies_a_chain_with_its_lists(tmp_path: Path, leaf: str, purpose: str) -> None:
    region = Hierarchy()
    authority = region.issuer_of(leaf)
    certificate = region.leaves()[leaf]
    at = str(int(region.clock.now().timestamp()) + 60)

    def verify() -> subprocess.CompletedProcess[str]:
        lists = tmp_path / "lists.pem"
        lists.write_text("")
        for one in (authority, region.root):
            crl = x509.load_der_x509_crl(one.sign_crl(lifetime=timedelta(days=1)))
            with lists.open("ab") as file:
                file.write(crl.public_bytes(Encoding.PEM))
        return openssl(
            "verify",
            *("-x509_strict", "-check_ss_sig", "-crl_check_all", "-attime", at),
            *("-purpose", purpose, "-CRLfile", lists),
            *("-CAfile", _write(tmp_path / "root.pem", region.root.certificate)),
            *("-untrusted", _write(tmp_path / "chain.pem", authority.certificate)),
            _write(tmp_path / "leaf.pem", certificate),
        )

    good = verify()
    assert (good.returncode, good.stderr) == (0, "")
    authority.revoke(parse(certificate).serial_number, RevocationReason.SUPERSEDED)
    assert "certificate revoked" in verify().stderr


@needs_openssl
def test_openssl_verifies_a_list_and_reads_its_number(region: Hierarchy, tmp_path: Path) -> None:
    (tmp_path / "list.der").write_bytes(region.tls.sign_crl(lifetime=timedelta(days=1)))
    said = openssl(
        *("crl", "-inform", "DER", "-in", tmp_path / "list.der", "-noout", "-text"),
        *("-CAfile", _write(tmp_path / "ca.pem", region.tls.certificate)),
    )
    assert "verify OK" in said.stderr
    assert "X509v3 CRL Number" in said.stdout


def test_the_librarys_verifier_accepts_server_and_client(region: Hierarchy) -> None:
    store = verification.Store([x509.load_der_x509_certificate(region.root.certificate)])
    issuing = [x509.load_der_x509_certificate(region.tls.certificate)]
    policy = verification.PolicyBuilder().store(store).time(region.clock.now())
    server = x509.load_der_x509_certificate(region.server_certificate())
    policy.build_server_verifier(x509.DNSName(DOMAIN)).verify(server, issuing)
    client = x509.load_der_x509_certificate(region.client_certificate())
    verified = policy.build_client_verifier().verify(client, issuing)
    assert verified.subjects is not None
    assert verified.subjects[0].value == f"https://{DOMAIN}/principals/housing-bureau"
