"""A licensed authority outside, at the command line: pinned, asked, installed, audited."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from support.licensed_authority import LicensedAuthority
from support.served_region import PASSPHRASE, call
from yinxin_ca.authority import to_pem
from yinxin_trust import schema
from yinxin_trust.region import Region
from yinxin_trust.trustlisting import get_anchors

MARKET = "11350302MBYY00011H"
"""Credit code of an invented authority."""
FOUNDING = ("--code", "350300", "--domain", "putian.example", "--name", "莆田市（示例）")
ADDED = ("--code", MARKET, "--name", "示例局", "--type", "营业执照")


def _audited(directory: Path) -> list[tuple[str, str, str]]:
    with Region.open(directory, passphrase=PASSPHRASE) as region:
        a = schema.audit.c
        with region.storage.read() as conn:
            rows = conn.execute(
                select(schema.audit).where(a.method.like("Console/%")).order_by(a.at_ms)
            ).all()
    return [(row.method, row.outcome, row.reason) for row in rows]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region with one authority, which each test adds to."""
    directory = tmp_path_factory.mktemp("city") / "region"
    assert call("region", "init", str(directory), *FOUNDING, "--suite", "ES256").returncode == 0
    assert call("authority", "add", str(directory), *ADDED).returncode == 0
    return directory


def test_a_certificate_comes_from_outside(city: Path, tmp_path: Path) -> None:
    directory, key = city, f"{MARKET}.licence.1"
    before = len(_audited(directory))
    licensed = LicensedAuthority(tmp_path / "licensed")
    csr = tmp_path / "licence.csr"
    done = call("certificate", "request", str(directory), key, "--out", str(csr))
    assert done.returncode == 0, done.stderr
    leaf = licensed.issue("licence", csr)

    early = call("certificate", "install", str(directory), key, str(leaf))
    assert early.returncode == 65
    assert "EXTERNAL_CA" in early.stderr
    words = ("certificate", "pin", str(directory), str(licensed.chain), "--fingerprint")
    wrong = call(*words, "00" * 32)
    assert wrong.returncode == 65
    assert "ANCHOR_FINGERPRINT" in wrong.stderr
    done = call(*words, licensed.fingerprint)
    assert done.returncode == 0, done.stderr
    done = call("certificate", "install", str(directory), key, str(leaf))
    assert done.returncode == 0, done.stderr
    done = call("certificate", "crl", str(directory), str(licensed.crl()))
    assert done.returncode == 0, done.stderr
    half = call("certificate", "install", str(directory), key, str(leaf), "--envelope", str(leaf))
    assert half.returncode == 65
    assert "CERTIFICATE_PAIR" in half.stderr

    done = call("certificate", "unpin", str(directory), "--fingerprint", licensed.fingerprint)
    assert done.returncode == 0, done.stderr
    again = call("certificate", "install", str(directory), key, str(leaf))
    assert "EXTERNAL_CA" in again.stderr

    rows = _audited(directory)[before:]
    told = [row for row in rows if row[0] != "Console/OpenOfflineKeys"]
    assert told == [
        ("Console/RequestCertificate", "OK", ""),
        ("Console/InstallCertificate", "INVALID_ARGUMENT", "EXTERNAL_CA"),
        ("Console/PinExternalAuthority", "INVALID_ARGUMENT", "ANCHOR_FINGERPRINT"),
        ("Console/PinExternalAuthority", "OK", ""),
        ("Console/InstallCertificate", "OK", ""),
        ("Console/ImportRevocationList", "OK", ""),
        ("Console/InstallCertificate", "INVALID_ARGUMENT", "CERTIFICATE_PAIR"),
        ("Console/UnpinExternalAuthority", "OK", ""),
        ("Console/InstallCertificate", "INVALID_ARGUMENT", "EXTERNAL_CA"),
    ]


def test_a_province_certifies_the_licence_ca_of_a_city(city: Path, tmp_path: Path) -> None:
    province = tmp_path / "province"
    named = ("--code", "350000", "--domain", "fujian.example", "--name", "虚构省")
    assert call("region", "init", str(province), *named, "--suite", "ES256").returncode == 0
    with Region.open(city, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
        anchors = get_anchors(conn)
    first, csr, out = tmp_path / "ca.pem", tmp_path / "ca.csr", tmp_path / "cross.pem"
    first.write_bytes(to_pem([anchors.licence]))
    words = ("certificate", "request", str(city), "350300.licence-ca.1", "--out", str(csr))
    assert call(*words).returncode == 0
    cross = ("certificate", "cross", str(province), str(first), "--request", str(csr))
    done = call(*cross, "--out", str(out))
    assert done.returncode == 0, done.stderr
    with Region.open(province, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
        root = get_anchors(conn).root
    (tmp_path / "root.pem").write_bytes(to_pem([root]))
    checked = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "cross.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr

    # Another's request: the one who asks must have the CA's key.
    other = ("certificate", "request", str(province), "350000.licence-ca.1", "--out", str(csr))
    assert call(*other).returncode == 0
    refused = call(*cross)
    assert refused.returncode == 65
    assert "PROOF_OF_POSSESSION" in refused.stderr
    assert _audited(province)[-1] == (
        "Console/CrossCertify",
        "INVALID_ARGUMENT",
        "PROOF_OF_POSSESSION",
    )


def test_a_principals_certificates_are_revoked_at_the_machine(city: Path) -> None:
    added = call("principal", "add", str(city), "--id", "hall", "--role", "verifier")
    assert added.returncode == 0, added.stderr
    revoke = ("principal", "revoke", str(city), "--id", "hall", "--reason", "key-compromise")
    done = call(*revoke)
    assert done.returncode == 0, done.stderr
    unknown = call("principal", "revoke", str(city), "--id", "no", "--reason", "superseded")
    assert unknown.returncode == 77
    told = [row[1:] for row in _audited(city) if row[0] == "Console/RevokeCertificates"]
    assert told == [("OK", ""), ("PERMISSION_DENIED", "PRINCIPAL_UNKNOWN")]
