"""A licensed authority outside, at the command line: pinned, asked, installed, audited."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from support.licensed_authority import LicensedAuthority
from support.served_region import PASSPHRASE, call
from yinxin_trust import schema
from yinxin_trust.region import Region

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


def test_a_certificate_comes_from_outside(tmp_path: Path) -> None:
    directory, key = tmp_path / "region", f"{MARKET}.licence.1"
    assert call("region", "init", str(directory), *FOUNDING, "--suite", "ES256").returncode == 0
    assert call("authority", "add", str(directory), *ADDED).returncode == 0
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

    told = [row for row in _audited(directory) if row[0] != "Console/OpenOfflineKeys"]
    assert told == [
        ("Console/RequestCertificate", "OK", ""),
        ("Console/InstallCertificate", "INVALID_ARGUMENT", "EXTERNAL_CA"),
        ("Console/PinExternalAuthority", "INVALID_ARGUMENT", "ANCHOR_FINGERPRINT"),
        ("Console/PinExternalAuthority", "OK", ""),
        ("Console/InstallCertificate", "OK", ""),
        ("Console/ImportRevocationList", "OK", ""),
        ("Console/InstallCertificate", "INVALID_ARGUMENT", "CERTIFICATE_PAIR"),
    ]
