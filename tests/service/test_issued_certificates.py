"""Certificates from a region's own machine: listed, shown, revoked, and asked about over HTTP."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support.openssl import needs_openssl, openssl
from support.requests import AUTHORITY
from support.served_region import RunningServer, call, reap, start_server
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.suite import ES256


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url() -> str:
    return f"http://127.0.0.1:{_free_port()}"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    directory = tmp_path_factory.mktemp("certificates") / "region"
    done = call(
        *("region", "init", str(directory), "--code", "350300", "--domain", "putian.example"),
        *("--name", "莆田市（示例）", "--suite", "ES256"),
        *("--http", url.removeprefix("http://"), "--public-url", url),
    )
    assert done.returncode == 0, done.stderr
    done = call(
        *("authority", "add", str(directory), "--code", AUTHORITY, "--name", "虚构局"),
        *("--type", "营业执照"),
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def server(founded: Path) -> Iterator[RunningServer]:
    running = start_server(founded)
    yield running
    reap(running.process)


def _listed(directory: Path, *options: str) -> list[dict[str, str]]:
    done = call("certificate", "list", str(directory), "--json", *options)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def _serial(directory: Path, authority: str, profile: str) -> str:
    (found,) = [
        entry
        for entry in _listed(directory, "--authority", authority)
        if entry["profile"] == profile
    ]
    return found["serial"]


def test_a_list_names_every_certificate_and_its_state(founded: Path) -> None:
    done = call("certificate", "list", str(founded))
    lines = done.stdout.splitlines()
    assert lines[0].split("\t") == [
        "Authority",
        "Kind",
        "Subject",
        "Valid until",
        "State",
        "Serial number",
    ]
    rows = [line.split("\t") for line in lines[1:]]
    assert {row[0] for row in rows} >= {"root", "licence", "status", "tls"}
    assert {row[4] for row in rows} == {"good"}
    assert ["licence", "licence", "虚构局"] in [row[:3] for row in rows]


def test_one_is_shown_and_printed_as_pem(founded: Path, url: str) -> None:
    serial = _serial(founded, "licence", "licence")
    shown = call("certificate", "show", str(founded), serial).stdout
    assert f"{url}/crl/licence.crl" in shown
    assert "虚构局" in shown
    printed = call("certificate", "show", str(founded), serial, "--pem").stdout
    certificate = x509.load_pem_x509_certificate(printed.encode())
    assert f"{certificate.serial_number:x}" == serial


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("show", "1234"), "CERTIFICATE_NOT_FOUND"),
        (("show", "nothing"), "SERIAL"),
        (("list", "--authority", "nobody"), "AUTHORITY"),
        (("revoke", "1234", "--reason", "superseded"), "CERTIFICATE_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_said(founded: Path, words: tuple[str, ...], reason: str) -> None:
    done = call("certificate", words[0], str(founded), *words[1:])
    assert done.returncode != 0
    assert reason in done.stderr


@needs_openssl
def test_a_revocation_reaches_openssl_through_the_running_server(
    founded: Path, server: RunningServer, url: str, tmp_path: Path
) -> None:
    assert server.process.poll() is None
    serial = _serial(founded, "licence", "licence")
    pem = call("certificate", "show", str(founded), serial, "--pem").stdout
    (tmp_path / "leaf.pem").write_text(pem)
    for name in ("licence", "root"):
        openssl(
            *("x509", "-inform", "DER", "-out", f"{name}.pem", "-in", _fetch(url, name, tmp_path)),
            cwd=tmp_path,
            check=True,
        )

    def ask() -> str:
        done = openssl(
            *("ocsp", "-issuer", "licence.pem", "-cert", "leaf.pem", "-CAfile", "root.pem"),
            *("-url", f"{url}/ocsp"),
            cwd=tmp_path,
        )
        assert "Response verify OK" in done.stderr
        return done.stdout

    assert "leaf.pem: good" in ask()
    done = call("certificate", "revoke", str(founded), serial, "--reason", "keyCompromise")
    assert done.returncode == 0, done.stderr
    assert serial in done.stdout
    assert "Reason: keyCompromise" in ask()
    with urllib.request.urlopen(f"{url}/crl/licence.crl", timeout=10) as response:  # noqa: S310
        crl = response.read()
    issuer = x509.load_pem_x509_certificate((tmp_path / "licence.pem").read_bytes())
    listed = parse_crl(crl).verify(parse(_der(issuer)), suite=ES256)
    assert listed.entries[int(serial, 16)].reason is RevocationReason.KEY_COMPROMISE
    again = call("certificate", "revoke", str(founded), serial, "--reason", "superseded")
    assert "ALREADY_REVOKED" in again.stderr
    assert [entry["serial"] for entry in _listed(founded, "--authority", "licence")] != [serial]
    assert any(
        re.search("revoked", entry["state"])
        for entry in _listed(founded, "--all")
        if entry["serial"] == serial
    )


def test_what_the_root_signed_is_revoked_with_its_key(founded: Path) -> None:
    serial = _serial(founded, "root", "member-ca")
    done = call("certificate", "revoke", str(founded), serial, "--reason", "cessationOfOperation")
    assert done.returncode == 0, done.stderr


def _fetch(url: str, name: str, folder: Path) -> Path:
    with urllib.request.urlopen(f"{url}/ca/{name}.crt", timeout=10) as response:  # noqa: S310
        (folder / f"{name}.der").write_bytes(response.read())
    return folder / f"{name}.der"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
