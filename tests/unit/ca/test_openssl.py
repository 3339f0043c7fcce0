"""OpenSSL reads what we sign, and we read what OpenSSL made: lists, OCSP, time-stamps."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable
from datetime import UTC, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from support.clock import FixedClock, SeededEntropy
from support.hierarchy import Hierarchy
from support.openssl import needs_openssl, openssl
from yinxin_ca.authority import to_pem
from yinxin_ca.keystore import Purpose
from yinxin_ca.ocsp import Delegation, OcspResponder, parse_ocsp_request
from yinxin_ca.timestamp import TimestampAuthority
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_edge.clock import SystemClock
from yinxin_proto.certificate import Certificate, parse, verify_chain
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import VerificationError
from yinxin_proto.ocsp import OcspStatus, parse_ocsp
from yinxin_proto.suite import ES256
from yinxin_proto.timestamp import Imprint, parse_request
from yinxin_proto.timestamp_token import token_of, verify_token

pytestmark = needs_openssl
HOUR = timedelta(hours=1)


def _now() -> Hierarchy:
    """Return a region of today: OpenSSL's OCSP and CMS look at the machine's clock."""
    return Hierarchy(clock=FixedClock(SystemClock().now()))


def _pem(path: Path, *certificates: bytes) -> Path:
    path.write_bytes(to_pem(certificates))
    return path


# --- OpenSSL reads ours --------------------------------------------------------


def test_openssl_verifies_our_ocsp_answers(tmp_path: Path) -> None:
    region = _now()
    key = ES256.generate()
    issuer = parse(region.licences.certificate)
    delegation = Delegation(
        issuer=issuer,
        register=region.registers[Purpose.LICENCE_CA],
        responder=parse(region.responder_certificate(region.licences, key.public_key)),
        signer=key,
    )
    responder = OcspResponder(delegation=delegation.of, clock=region.clock, lifetime=HOUR)
    leaf = region.licence_certificate()
    arguments: list[str | Path] = [
        *("-issuer", _pem(tmp_path / "issuer.pem", issuer.der)),
        *("-cert", _pem(tmp_path / "leaf.pem", leaf)),
    ]
    request, answer = tmp_path / "request.der", tmp_path / "answer.der"
    openssl("ocsp", *arguments, "-reqout", request, check=True)
    anchors = _pem(tmp_path / "root.pem", region.root.certificate)

    def said() -> subprocess.CompletedProcess[str]:
        answer.write_bytes(responder.answer(request.read_bytes()).der)
        return openssl(
            *("ocsp", *arguments, "-reqin", request, "-respin", answer, "-CAfile", anchors),
            # Or it would put a second nonce into the request that it has read.
            *("-verify_other", tmp_path / "issuer.pem", "-no_nonce"),
        )

    good = said()
    assert "Response verify OK" in good.stderr
    assert "leaf.pem: good" in good.stdout
    region.licences.revoke(parse(leaf).serial_number, RevocationReason.KEY_COMPROMISE)
    revoked = said()
    assert "Response verify OK" in revoked.stderr
    assert "leaf.pem: revoked" in revoked.stdout
    assert "Reason: keyCompromise" in revoked.stdout


class Stamping:
    """A time-stamp authority of today, asked by OpenSSL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.region = _now()
        key = ES256.generate()
        own = self.region.timestamp_certificate(key.public_key)
        self.chain = self.region.timestamps.chain(own)
        self.authority = TimestampAuthority(
            chain=self.chain,
            signer=key,
            book=InMemoryTimestampBook(entropy=SeededEntropy()),
            clock=self.region.clock,
        )
        self.data = folder / "data"
        self.data.write_bytes("一份电子证照".encode())

    def ask(self, *options: str) -> Path:
        request = self.folder / "request.tsq"
        openssl("ts", "-query", "-data", self.data, *options, "-out", request, check=True)
        return request


@pytest.mark.parametrize("digest", ["-sha256", "-sha384", "-sha512"])
@pytest.mark.parametrize("enclosed", [True, False])
def test_openssl_verifies_our_time_stamps(tmp_path: Path, digest: str, enclosed: bool) -> None:
    office = Stamping(tmp_path)
    request = office.ask(digest, *(["-cert"] if enclosed else []))
    response = tmp_path / "response.tsr"
    response.write_bytes(office.authority.answer(request.read_bytes()).der)
    chain: list[str | Path] = (
        [] if enclosed else ["-untrusted", _pem(tmp_path / "chain.pem", *office.chain)]
    )
    anchors: list[str | Path] = [
        "-CAfile",
        _pem(tmp_path / "root.pem", office.region.root.certificate),
    ]

    def verify(*what: str | Path) -> subprocess.CompletedProcess[str]:
        return openssl("ts", "-verify", *what, "-in", response, *anchors, *chain)

    for what in (("-queryfile", request), ("-data", office.data)):
        good = verify(*what)
        assert good.returncode == 0, good.stderr
    office.data.write_bytes(b"forged")
    assert verify("-data", office.data).returncode != 0
    text = openssl("ts", "-reply", "-in", response, "-text", check=True).stdout
    assert "Accuracy: 0x01 seconds" in text


def test_rfc3161_client_verifies_our_time_stamps(tmp_path: Path) -> None:
    office = Stamping(tmp_path)
    data = office.data.read_bytes()
    request = rfc3161_client.TimestampRequestBuilder().data(data).nonce(nonce=True).build()
    response = rfc3161_client.decode_timestamp_response(
        office.authority.answer(request.as_bytes()).der
    )
    certificates = [x509.load_der_x509_certificate(der) for der in office.chain]
    verifier = (
        rfc3161_client.VerifierBuilder.from_request(request)
        .add_root_certificate(x509.load_der_x509_certificate(office.region.root.certificate))
        .add_intermediate_certificate(certificates[1])
        .tsa_certificate(certificates[0])
        .build()
    )
    assert verifier.verify_message(response, data)


def test_openssl_checks_a_chain_against_shards(tmp_path: Path) -> None:
    region = _now()
    region.locate_licences(shards=2)
    leaf = region.licence_certificate()
    lists = region.licences.sign_crls(lifetime=HOUR)
    own = parse(leaf).crl_urls[0].removesuffix(".crl")[-3:]

    def verify(shard: str) -> subprocess.CompletedProcess[str]:
        crls = (region.root.sign_crl(lifetime=HOUR), lists[shard])
        pem = [x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in crls]
        (tmp_path / "crl.pem").write_bytes(b"".join(pem))
        return openssl(
            *("verify", "-x509_strict", "-crl_check_all", "-extended_crl"),
            *("-CRLfile", tmp_path / "crl.pem"),
            *("-CAfile", _pem(tmp_path / "root.pem", region.root.certificate)),
            *("-untrusted", _pem(tmp_path / "ca.pem", region.licences.certificate)),
            _pem(tmp_path / "leaf.pem", leaf),
        )

    assert verify(own).returncode == 0
    other = "-s1" if own == "-s0" else "-s0"
    assert "ifferent CRL scope" in verify(other).stderr
    region.licences.revoke(parse(leaf).serial_number, RevocationReason.SUPERSEDED)
    lists = region.licences.sign_crls(lifetime=HOUR)
    assert "certificate revoked" in verify(own).stderr


# --- we read OpenSSL's ---------------------------------------------------------

_CONFIGURATION = """
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = own
[own]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = anything
crl_extensions = list
copy_extensions = none
unique_subject = no
[anything]
countryName = optional
organizationName = optional
commonName = optional
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[list]
authorityKeyIdentifier = keyid
[leaf]
keyUsage = critical, digitalSignature
extendedKeyUsage = 1.3.6.1.5.5.7.3.36
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[responder]
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = yes
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[stamper]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = stamping
[stamping]
dir = .
serial = tsaserial
crypto_device = builtin
signer_cert = stamper.pem
certs = ca.pem
signer_key = stamper.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class Foreign:
    """An authority made and run by OpenSSL alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.cnf").write_text(_CONFIGURATION)
        (folder / "index.txt").touch()
        for name in ("serial", "crlnumber", "tsaserial"):
            (folder / name).write_text("1000\n")
        self._key("ca")
        self.run(
            *("req", "-new", "-x509", "-config", "ca.cnf", "-extensions", "authority"),
            *("-key", "ca.key", "-subj", "/C=CN/O=Foreign/CN=CA", "-days", "30", "-out", "ca.pem"),
        )
        for name in ("leaf", "responder", "stamper"):
            self._key(name)
            subject = f"/C=CN/O=Foreign/CN={name}"
            self.run(
                *("req", "-new", "-config", "ca.cnf", "-key", f"{name}.key", "-subj", subject),
                *("-out", f"{name}.csr"),
            )
            self.run(
                *("ca", "-batch", "-config", "ca.cnf", "-extensions", name, "-notext"),
                *("-in", f"{name}.csr", "-out", f"{name}.pem"),
            )

    def run(self, *arguments: str | Path) -> None:
        openssl(*arguments, cwd=self.folder, check=True)

    def _key(self, name: str) -> None:
        self.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def certificate(self, name: str) -> Certificate:
        pem = (self.folder / f"{name}.pem").read_bytes()
        return parse(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))

    def revoke(self, name: str) -> None:
        self.run(
            "ca", "-config", "ca.cnf", "-revoke", f"{name}.pem", "-crl_reason", "keyCompromise"
        )


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    return Foreign(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def now() -> dt.datetime:
    return dt.datetime.fromtimestamp(SystemClock().now().timestamp() + 2, UTC)


def test_we_verify_a_chain_that_openssl_made(foreign: Foreign, now: dt.datetime) -> None:
    verify_chain([foreign.certificate("leaf")], foreign.certificate("ca"), ES256, at=now)


def test_we_verify_a_list_and_an_ocsp_answer_that_openssl_made(
    foreign: Foreign, now: dt.datetime
) -> None:
    issuer, leaf = foreign.certificate("ca"), foreign.certificate("leaf")

    def read_list() -> bool:
        foreign.run("ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem")
        crl = x509.load_pem_x509_crl((foreign.folder / "crl.pem").read_bytes())
        read = parse_crl(crl.public_bytes(Encoding.DER)).verify(issuer, suite=ES256)
        assert read.covers(leaf)
        return read.is_revoked(leaf.serial_number, now)

    def read_answer(nonce: bytes | None) -> OcspStatus:
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            x509.load_der_x509_certificate(leaf.der),
            x509.load_der_x509_certificate(issuer.der),
            hashes.SHA256(),
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build().public_bytes(Encoding.DER)
        assert parse_ocsp_request(request).nonce == nonce
        (foreign.folder / "req.der").write_bytes(request)
        foreign.run(
            *("ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "responder.pem"),
            *("-rkey", "responder.key", "-reqin", "req.der", "-respout", "resp.der"),
            *("-ndays", "1"),
        )
        answer = parse_ocsp((foreign.folder / "resp.der").read_bytes()).verify(
            leaf, issuer, suite=ES256, at=now, nonce=nonce
        )
        assert answer.is_current(now)
        return answer.status

    assert not read_list()
    assert read_answer(None) is OcspStatus.GOOD
    foreign.revoke("leaf")
    assert read_list()
    assert read_answer(b"0123456789abcdef") is OcspStatus.REVOKED


@pytest.mark.parametrize("options", [["-cert"], ["-no_nonce"], ["-sha512", "-cert"]])
def test_we_verify_a_time_stamp_that_openssl_made(foreign: Foreign, options: list[str]) -> None:
    (foreign.folder / "data").write_bytes(b"data")
    foreign.run("ts", "-query", "-data", "data", *options, "-out", "q.tsq")
    foreign.run(
        *("ts", "-reply", "-config", "ca.cnf", "-section", "stamping"),
        *("-queryfile", "q.tsq", "-out", "r.tsr"),
    )
    asked = parse_request((foreign.folder / "q.tsq").read_bytes())
    read: Callable[[Imprint], object] = lambda imprint: verify_token(  # noqa: E731
        token_of((foreign.folder / "r.tsr").read_bytes()),
        imprint,
        anchor=foreign.certificate("ca"),
        suite=ES256,
        certificates=(foreign.certificate("stamper").der,),
        nonce=asked.nonce,
    )
    said = read(asked.imprint)
    assert said is not None
    with pytest.raises(VerificationError):
        read(Imprint(asked.imprint.algorithm, bytes(len(asked.imprint.digest))))
    assert sha256(b"data").digest() == asked.imprint.digest or "-sha512" in options
